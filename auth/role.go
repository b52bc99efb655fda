package auth

// Role is what a token lets its bearer do. Each includes those before it.
type Role uint8

const (
	// RoleNone may do nothing.
	RoleNone Role = iota
	// RoleRead may look users up.
	RoleRead
	// RoleInvalidate may make the caches forget users.
	RoleInvalidate
	// RoleWrite may create and change them.
	RoleWrite
	// RoleAdmin may delete them, and begin and end what concerns the whole cluster.
	RoleAdmin
)

// RoleNames are the roles that a token may have, for messages.
const RoleNames = "read, invalidate, write or admin"

// String returns "read", "invalidate", "write", "admin", or "none" for everything else.
func (r Role) String() string {
	switch r {
	case RoleRead:
		return "read"
	case RoleInvalidate:
		return "invalidate"
	case RoleWrite:
		return "write"
	case RoleAdmin:
		return "admin"
	default:
		return "none"
	}
}

// ParseRole is the reverse of String; ok is false for any other text and for "none".
func ParseRole(text string) (r Role, ok bool) {
	for r := RoleRead; r <= RoleAdmin; r++ {
		if text == r.String() {
			return r, true
		}
	}
	return RoleNone, false
}
