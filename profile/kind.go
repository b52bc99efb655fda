package profile

import "fmt"

// Kind is what happened to a profile. The numbers are kept in databases: a new kind gets the next.
type Kind uint8

const (
	// Created means that the user is new.
	Created Kind = iota + 1
	// Updated means that some of the profile changed.
	Updated
	// Deleted means that the user is gone.
	Deleted
	// Imported means that a bulk load added users; no event tells of it.
	Imported
	// Invalidated means that no copy of the profile can be trusted; what is true is not said.
	Invalidated
)

// String returns "created", "updated", "deleted", "imported", "invalidated", and "kind(n)" for a
// value that is none of them.
func (k Kind) String() string {
	names := [...]string{"created", "updated", "deleted", "imported", "invalidated"}
	if k > 0 && int(k) <= len(names) {
		return names[k-1]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Names of the kinds that an event tells of.
const (
	eventCreated     = "user.profile.created"
	eventUpdated     = "user.profile.updated"
	eventDeleted     = "user.profile.deleted"
	eventInvalidated = "user.profile.invalidated"
)

// Event returns the name of the kind in an event, such as "user.profile.updated"; "" for a kind
// that no event tells of.
func (k Kind) Event() string {
	switch k {
	case Created:
		return eventCreated
	case Updated:
		return eventUpdated
	case Deleted:
		return eventDeleted
	case Invalidated:
		return eventInvalidated
	}
	return ""
}

// KindOf returns the kind that has this name in an event, or 0.
func KindOf(event string) Kind {
	switch event {
	case eventCreated:
		return Created
	case eventUpdated:
		return Updated
	case eventDeleted:
		return Deleted
	case eventInvalidated:
		return Invalidated
	}
	return 0
}
