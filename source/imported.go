package source

import (
	"fmt"
	"strings"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// ImportedIDs is the number of users that share the outbox row of a bulk load.
const ImportedIDs = 500

// ImportedRow is the change that announces users of a bulk load. Its id has a space, so it is no
// user's.
func ImportedRow(ids []string, now int64) Change {
	return Change{Kind: profile.Imported, ID: "import from " + ids[0], Version: now, Added: ids}
}

// Packed is what the outbox keeps of a change beside its columns, nil for nothing.
func (c *Change) Packed() []byte {
	switch {
	case c.Kind == profile.Imported:
		return []byte(strings.Join(c.Added, "\n"))
	case c.Profile != nil:
		return profile.AppendMsgpack(nil, c.Profile)
	}
	return nil
}

// Unpack is the reverse. What cannot be read is the change's fault.
func (c *Change) Unpack(packed []byte) {
	switch {
	case packed == nil:
	case c.Kind == profile.Imported:
		c.Added = strings.Split(string(packed), "\n")
	default:
		p, err := profile.DecodeMsgpack(packed)
		if err == nil {
			err = p.Check()
		}
		if err != nil {
			c.Fault = fmt.Errorf("outbox row %d: %w", c.Seq, err)
			return
		}
		c.Profile = p
	}
}
