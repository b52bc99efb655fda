package node

import (
	"slices"
)

// shadow knows of one node's tail what a perfect observer knows: which entries it was given, which
// it can never be given any more, and so how often it must have flushed.
//
// Two losses cannot be seen by anyone who has Redis's counters only, and docs/adr/0003 says so: a
// stream that took the place of another and has lost, to trimming, as many entries as make the sums
// equal, and one that came and went unseen. The steps of the model keep from both.
type shadow struct {
	flushes int
	reasons string // of the flushes, for the reader of a failure
	runID   string // of the server that it met last
	born    int    // the stream that it read last; 0 when there was none
	upTo    int    // the serial of the last entry that it has been given or has flushed for
}

// met is what a state said of the stream when no read came before it.
type met struct{ born, serial int }

// stage takes a state of the stream: after a read, what the node must make of both; else where it
// will begin if the server is another one. It holds once the reply has arrived.
func (l *line) stage(s *modelRedis, now *log) {
	sh := l.wire.shadow
	if sh == nil {
		return
	}
	if !l.hasRead {
		l.met = met{serial: s.serial}
		if now != nil {
			l.met.born = now.born
		}
		return
	}
	next := *sh
	next.account(s.serial, now, l.read)
	l.read, l.hasRead = nil, false
	l.stageAs(s, next)
}

// stageIdentity takes the server's answer to who it is.
func (l *line) stageIdentity(s *modelRedis) {
	sh := l.wire.shadow
	if sh == nil || sh.runID == s.runID {
		return
	}
	next := shadow{flushes: sh.flushes, reasons: sh.reasons, runID: s.runID, born: l.met.born, upTo: l.met.serial}
	if sh.runID != "" {
		next.flush("failover")
	}
	l.stageAs(s, next)
}

func (l *line) stageAs(s *modelRedis, next shadow) {
	l.staged = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		*l.wire.shadow = next
	}
}

// account takes what was read and then the stream as it stood, when serial was the last entry ever
// added.
func (sh *shadow) account(serial int, now *log, read []streamEntry) {
	switch {
	case now == nil && sh.born == 0:
		return
	case now == nil || sh.born != 0 && now.born != sh.born:
		sh.flush("another stream")
		sh.born, sh.upTo = 0, serial
		if now != nil {
			sh.born = now.born
		}
		return
	}
	sh.born = now.born
	missed := false
	for _, e := range read {
		missed = missed || e.serial > sh.upTo+1
		sh.upTo = max(sh.upTo, e.serial)
	}
	// Entries leave from the front only, so that all before the first that is left, or up to the
	// last ever added, are gone.
	gone := serial
	for _, e := range slices.Backward(now.entries) {
		if e.serial > sh.upTo {
			gone = e.serial - 1
		}
	}
	if gone > sh.upTo {
		missed, sh.upTo = true, gone
	}
	if missed {
		sh.flush("entries gone")
	}
}

func (sh *shadow) flush(reason string) {
	sh.flushes++
	sh.reasons += " " + reason + ","
}
