// Package guest is what an edge function in Go needs: reading a call, changing fields, answering. A
// function is a main package that calls Serve in an init function; docs/edge-functions.md has the
// rest.
package guest

// Fields of a profile, in the order of its layout.
const (
	ID = iota + 1
	Nom
	Prenom
	FullName
	Avatar
	Matricule
	Ministere
	Sexe
	UpdatedAt
	Attrs
	fields
)

// Call is a call: encoded values. Claims and Args are in the order of the description.
type Call struct {
	Fields       [][]byte
	Claims, Args [][]byte
	Locale       []byte
}

// Read reads the input of a call.
func Read(input []byte) Call {
	r := reader{input[2:]} // [1, …
	return Call{Fields: r.list(), Claims: r.list(), Args: r.list(), Locale: r.Next()}
}

type reader struct{ rest []byte }

// Pairs calls f for each attribute of an encoded map until it returns false.
func Pairs(encoded []byte, f func(key string, value []byte) bool) {
	r := reader{encoded}
	for n := r.enter(); n > 0; n -= 2 {
		key, _ := Text(r.Next())
		if !f(key, r.Next()) {
			return
		}
	}
}

// head returns the length of the head of a value, how many bytes or elements follow, and whether
// they are elements.
func (r *reader) head() (head, count int, nested bool) {
	b := r.rest
	switch c := b[0]; {
	case c < 0x80 || c == 0xc0:
		return 1, 0, false
	case c < 0x90:
		return 1, int(c&15) * 2, true
	case c < 0xa0:
		return 1, int(c & 15), true
	case c < 0xc0:
		return 1, int(c & 31), false
	case c == 0xc4 || c == 0xd9:
		return 2, int(b[1]), false
	case c == 0xc5 || c == 0xda:
		return 3, big(b[1:3]), false
	case c == 0xc6 || c == 0xdb:
		return 5, big(b[1:5]), false
	case c >= 0xcc && c <= 0xcf:
		return 1 + 1<<(c-0xcc), 0, false
	case c == 0xdc:
		return 3, big(b[1:3]), true
	case c == 0xde:
		return 3, big(b[1:3]) * 2, true
	}
	panic("a value that no call has")
}

func big(b []byte) (n int) {
	for _, c := range b {
		n = n<<8 | int(c)
	}
	return n
}

func (r *reader) enter() int {
	head, count, _ := r.head()
	r.rest = r.rest[head:]
	return count
}

// Next takes one encoded value.
func (r *reader) Next() []byte {
	from := r.rest
	for open := 1; open > 0; open-- {
		head, count, nested := r.head()
		r.rest = r.rest[head:]
		if nested {
			open += count
		} else {
			r.rest = r.rest[count:]
		}
	}
	return from[:len(from)-len(r.rest)]
}

func (r *reader) list() [][]byte {
	list := make([][]byte, r.enter())
	for i := range list {
		list[i] = r.Next()
	}
	return list
}

// Text returns the text of an encoded value; false for nil.
func Text(encoded []byte) (string, bool) {
	r := reader{encoded}
	head, count, _ := r.head()
	return string(encoded[head : head+count]), encoded[0] != 0xc0
}

// Encode returns text as an encoded value.
func Encode(text string) []byte {
	n := len(text)
	if n < 32 {
		return append([]byte{0xa0 | byte(n)}, text...)
	}
	return append([]byte{0xda, byte(n >> 8), byte(n)}, text...)
}

// Show answers with the profile as the fields are now. A function that changes nothing returns nil.
func (c Call) Show() []byte {
	out := []byte{0x90 | fields}
	for _, f := range c.Fields {
		out = append(out, f...)
	}
	return out
}

// Refuse answers that the profile is not to be shown.
func Refuse(reason string) []byte { return append([]byte{0x92, 0}, Encode(reason)...) }
