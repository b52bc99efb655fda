package importer

import (
	"sync"

	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// aheadLines and aheadBytes bound the lines that are handed over at once, aheadParts how many
	// such parts are read before they are asked for: about what the store takes in one transaction.
	aheadLines = 512
	aheadBytes = 256 << 10
	aheadParts = 32
)

// importedLine is what a lineReader gave.
type importedLine struct {
	p    *profile.Profile
	line int64
	size int
	err  error
}

// aheadPart is some lines in a row; offset is how much of the file was read for them.
type aheadPart struct {
	lines  []importedLine
	offset int64
}

// ahead reads lines while the store is busy with those before them: half of the time of an import
// is reading.
type ahead struct {
	parts chan aheadPart
	stop  chan struct{}
	done  sync.WaitGroup

	now    aheadPart // the rest of the part in hand
	offset int64
}

func readAhead(lines lineReader, input *countingReader) *ahead {
	a := &ahead{parts: make(chan aheadPart, aheadParts), stop: make(chan struct{})}
	a.done.Go(func() {
		defer close(a.parts)
		for {
			part, more := readPart(lines)
			part.offset = input.n
			select {
			case a.parts <- part:
			case <-a.stop:
				return
			}
			if !more {
				return
			}
		}
	})
	return a
}

// readPart reads until the part is full or reading has ended, which its last line then says.
func readPart(lines lineReader) (part aheadPart, more bool) {
	for size := 0; len(part.lines) < aheadLines && size < aheadBytes; {
		p, line, n, err := lines.read()
		if err == nil {
			err = asLineError(line, checkImported(p))
		}
		part.lines = append(part.lines, importedLine{p, line, n, err})
		if err != nil && !isLineError(err) {
			return part, false
		}
		size += n
	}
	return part, true
}

// read returns the next line. Not after one that ended the reading.
func (a *ahead) read() importedLine {
	if len(a.now.lines) == 0 {
		a.now = <-a.parts
		a.offset = a.now.offset
	}
	l := a.now.lines[0]
	a.now.lines = a.now.lines[1:]
	return l
}

// close ends the reading and waits for it.
func (a *ahead) close() {
	close(a.stop)
	a.done.Wait()
}
