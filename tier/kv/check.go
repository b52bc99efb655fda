package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"
)

// The pages of a file are checked before bbolt sees them: a page that leads back to itself would
// end the process, keys out of order would hide an entry from its deletion, and a page that is both
// used and free would be written over. The check reads each page once: 65 MiB take some 50 ms.

// The layout of a page of bbolt, in the byte order of the machine that wrote it; we read little
// endian, which all machines have that we know of:
//
//	0   id                 8  flags, 2 bytes     10  count, 2 bytes     12  overflow, 4 bytes
//	16  of a branch, for each: position, size of the key, page (4, 4, 8)
//	16  of a leaf, for each: flags, position, sizes of key and value (4, 4, 4, 4)
const (
	pageHead    = 16
	elementSize = 16
	branchFlag  = 0x01
	leafFlag    = 0x02
	metaFlag    = 0x04
	freeFlag    = 0x10

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSum     = 56
	metaSize    = 64

	// maxDepth is more than any tree of the largest file has.
	maxDepth = 64
	// bucketHead is the size of what a bucket begins with: its root, 0 for a page that follows.
	bucketHead = 16
)

// contents is what a check has found.
type contents struct {
	entries int   // users
	used    int64 // bytes of pages in use
}

// checker walks the pages of a file.
type checker struct {
	file io.ReaderAt
	high uint64   // pages from here on are not in use
	seen []uint64 // a bit for each page
	used int
	room []byte // the pages from first on that were read last
	// first and next are the numbers of the first of them and of the page after the one taken last;
	// ahead is how many are read at once, more the longer pages follow each other.
	first, next, ahead uint64
	// entry is called for each entry of the bucket of users, if it is not nil.
	entry func(id string, value []byte) error
	users int
}

// checkPath checks the file at path, if there is one. entry is called for each user, unless it is
// nil. Errors wrap ErrDamaged, or are those of the file system, or of entry.
func checkPath(path string, entry func(id string, value []byte) error) (contents, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return contents{}, nil
	}
	if err != nil {
		return contents{}, fmt.Errorf("kv: open the store: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return contents{}, err // bbolt makes a store of an empty file
	}
	return check(f, info.Size(), entry)
}

func check(f io.ReaderAt, size int64, entry func(string, []byte) error) (contents, error) {
	root, free, high, err := newestMeta(f)
	if err != nil {
		return contents{}, err
	}
	if high < 2 || high > uint64(size/pageSize) {
		return contents{}, damaged("it ends at byte %d, before page %d", size, high)
	}
	c := &checker{file: f, high: high, seen: make([]uint64, high/64+1), entry: entry, used: 2}
	c.seen[0] = 3 // the two metas
	if err := c.bucket(root, "", 0); err != nil {
		return contents{}, err
	}
	if err := c.freelist(free); err != nil {
		return contents{}, err
	}
	for id := range high {
		if c.seen[id/64]&(1<<(id%64)) == 0 {
			return contents{}, damaged("page %d is neither used nor free", id)
		}
	}
	return contents{c.users, int64(c.used) * pageSize}, nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// newestMeta returns the root, the list of free pages, and the end of the last transaction.
func newestMeta(f io.ReaderAt) (root, free, high uint64, err error) {
	newest, found := uint64(0), false
	for i := range int64(2) {
		var b [pageHead + metaSize]byte
		if _, err := f.ReadAt(b[:], i*pageSize); err != nil {
			if errors.Is(err, io.EOF) {
				continue
			}
			return 0, 0, 0, fmt.Errorf("kv: read the store: %w", err)
		}
		m := b[pageHead:]
		h := fnv.New64a()
		_, _ = h.Write(m[:metaSum])
		good := le32(m) == metaMagic && le32(m[4:]) == metaVersion && le32(m[8:]) == pageSize &&
			le64(m[metaSum:]) == h.Sum64()
		if tx := le64(m[48:]); good && (!found || tx > newest) {
			newest, found = tx, true
			root, free, high = le64(m[16:]), le64(m[32:]), le64(m[40:])
		}
	}
	if !found {
		return 0, 0, 0, damaged("neither of its two headers is whole")
	}
	return root, free, high, nil
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// take reads a page with what overflows from it, and marks its pages; a page is taken once. It is
// there until the next is taken.
func (c *checker) take(id uint64) (page []byte, err error) {
	if id < 2 || id >= c.high {
		return nil, damaged("page %d of %d", id, c.high)
	}
	if page, err = c.read(id); err != nil {
		return nil, err
	}
	more := uint64(le32(page[12:]))
	if le64(page) != id || id+more >= c.high {
		return nil, damaged("page %d says that it is %d, and %d more", id, le64(page), more)
	}
	for i := id; i <= id+more; i++ {
		if c.seen[i/64]&(1<<(i%64)) != 0 {
			return nil, damaged("page %d is used twice", i)
		}
		c.seen[i/64] |= 1 << (i % 64)
	}
	if more > 0 {
		page = make([]byte, (1+more)*pageSize)
		if _, err := c.file.ReadAt(page, int64(id)*pageSize); err != nil {
			return nil, fmt.Errorf("kv: read the store: %w", err)
		}
	}
	c.used += 1 + int(more)
	return page, nil
}

// maxAhead is how many pages are read at once, at most.
const maxAhead = 64

// read returns a page.
func (c *checker) read(id uint64) ([]byte, error) {
	if id == c.next {
		c.ahead = min(2*c.ahead, maxAhead)
	} else {
		c.ahead = 1
	}
	c.next = id + 1
	if at := id - c.first; id >= c.first && (at+1)*pageSize <= uint64(len(c.room)) {
		return c.room[at*pageSize : (at+1)*pageSize], nil
	}
	if c.room == nil {
		c.room = make([]byte, maxAhead*pageSize)
	}
	n := min(c.ahead, c.high-id)
	c.first, c.room = id, c.room[:n*pageSize]
	if _, err := c.file.ReadAt(c.room, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("kv: read the store: %w", err)
	}
	return c.room[:pageSize], nil
}

// bucket walks the tree of a bucket from its root.
func (c *checker) bucket(root uint64, name string, depth int) error {
	return c.tree(root, tree{name: name, depth: depth})
}

// tree says which part of which bucket's tree a page is: keys from least on, and below the limit.
type tree struct {
	name         string
	depth        int
	least, limit []byte
}

func (c *checker) tree(id uint64, t tree) error {
	if t.depth > maxDepth {
		return damaged("its tree has more than %d levels", maxDepth)
	}
	page, err := c.take(id)
	if err != nil {
		return err
	}
	switch flags := le16(page[8:]); flags {
	case branchFlag:
		return c.branch(id, bytes.Clone(page), t)
	case leafFlag:
		if t.name == "" {
			page = bytes.Clone(page) // its buckets are walked while it is looked at
		}
		return c.leaf(id, page, t)
	default:
		return damaged("page %d is of kind %#x", id, flags)
	}
}

// key returns what an element at offset at of a page points to, size bytes after skip.
func part(page []byte, at int, pos, skip, size uint32) ([]byte, bool) {
	from := uint64(at) + uint64(pos) + uint64(skip)
	if from+uint64(size) > uint64(len(page)) {
		return nil, false
	}
	return page[from : from+uint64(size)], true
}

// elements calls f with the offset of each element of a page.
func elements(id uint64, page []byte, f func(at int) error) error {
	count := int(le16(page[10:]))
	if pageHead+count*elementSize > len(page) {
		return damaged("page %d has %d elements", id, count)
	}
	for i := range count {
		if err := f(pageHead + i*elementSize); err != nil {
			return err
		}
	}
	return nil
}

// inOrder checks that a key follows the one before it, within its part of the tree.
func (t tree) inOrder(id uint64, before, key []byte) error {
	if before != nil && bytes.Compare(before, key) >= 0 || bytes.Compare(key, t.least) < 0 ||
		t.limit != nil && bytes.Compare(key, t.limit) >= 0 {
		return damaged("page %d: its keys are not in order", id)
	}
	return nil
}

func (c *checker) branch(id uint64, page []byte, t tree) error {
	var keys [][]byte
	var children []uint64
	err := elements(id, page, func(at int) error {
		e := page[at:]
		key, ok := part(page, at, le32(e), 0, le32(e[4:]))
		if !ok {
			return damaged("page %d: a key is beyond its end", id)
		}
		if len(keys) > 0 {
			if err := t.inOrder(id, keys[len(keys)-1], key); err != nil {
				return err
			}
		} else if err := t.inOrder(id, nil, key); err != nil {
			return err
		}
		keys, children = append(keys, key), append(children, le64(e[8:]))
		return nil
	})
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return damaged("page %d is a branch without leaves", id)
	}
	for i, child := range children {
		below := tree{name: t.name, depth: t.depth + 1, least: keys[i], limit: t.limit}
		if i+1 < len(keys) {
			below.limit = keys[i+1]
		}
		if err := c.tree(child, below); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) leaf(id uint64, page []byte, t tree) error {
	var before []byte
	return elements(id, page, func(at int) error {
		e := page[at:]
		key, ok := part(page, at, le32(e[4:]), 0, le32(e[8:]))
		value, whole := part(page, at, le32(e[4:]), le32(e[8:]), le32(e[12:]))
		if !ok || !whole || len(key) == 0 {
			return damaged("page %d: an entry is beyond its end", id)
		}
		if err := t.inOrder(id, before, key); err != nil {
			return err
		}
		before = key
		switch flags := le32(e); {
		case flags == 1 && t.name == "":
			return c.nested(id, string(key), value, t.depth)
		case flags != 0 || t.name == "":
			return damaged("page %d: an entry of kind %#x in bucket %q", id, flags, t.name)
		}
		return c.found(t.name, key, value)
	})
}

// found takes an entry of a bucket.
func (c *checker) found(bucket string, key, value []byte) error {
	if bucket != string(usersBucket) {
		return nil
	}
	c.users++
	if c.entry == nil {
		return nil
	}
	return c.entry(string(key), value)
}

// nested walks a bucket that is the value of an entry.
func (c *checker) nested(id uint64, name string, value []byte, depth int) error {
	if len(value) < bucketHead {
		return damaged("page %d: bucket %q has %d bytes", id, name, len(value))
	}
	if root := le64(value); root != 0 {
		return c.bucket(root, name, depth+1)
	}
	page := value[bucketHead:]
	if len(page) < pageHead || le16(page[8:]) != leafFlag {
		return damaged("page %d: bucket %q has no page", id, name)
	}
	return c.leaf(id, page, tree{name: name, depth: depth + 1})
}

// freelist checks the list of free pages.
func (c *checker) freelist(id uint64) error {
	page, err := c.take(id)
	if err != nil {
		return err
	}
	count, ids := uint64(le16(page[10:])), page[pageHead:]
	if count == math.MaxUint16 {
		count, ids = le64(ids), ids[8:]
	}
	if le16(page[8:]) != freeFlag || count > uint64(len(ids)/8) {
		return damaged("page %d is no list of %d free pages", id, count)
	}
	for i := range count {
		free := le64(ids[8*i:])
		if free < 2 || free >= c.high || c.seen[free/64]&(1<<(free%64)) != 0 {
			return damaged("page %d is free, and is used or not there", free)
		}
		c.seen[free/64] |= 1 << (free % 64)
	}
	return nil
}
