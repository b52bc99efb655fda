package mongodb

import (
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// idFields are where a participant that is a document may have its user's id, the likeliest first.
// A "_id" comes last: mongoose gives every embedded document one of its own.
var idFields = [...]string{"userId", "id", "_id"}

// yield passes on the participants of one conversation, and returns false when no more are wanted.
// What is no conversation or no participant is counted.
func (s *Source) yield(conversation bson.Raw, yield func(prewarm.User, error) bool) bool {
	at, participants, err := decode(conversation)
	if err != nil {
		s.refused.Add(err)
		return true
	}
	for i, p := range participants {
		id, err := userID(p)
		if err != nil {
			s.refused.Add(fmt.Errorf("%s: participant %d: %w", name(conversation), i+1, err))
			continue
		}
		if !yield(prewarm.User{ID: id, LastActive: at}, nil) {
			return false
		}
	}
	return true
}

// decode returns when a conversation was updated, and its participants.
func decode(conversation bson.Raw) (time.Time, []bson.RawValue, error) {
	if err := conversation.Validate(); err != nil {
		return time.Time{}, nil, fmt.Errorf("%w: a conversation is no BSON: %w", prewarm.ErrMalformed, err)
	}
	updated := conversation.Lookup("updatedAt")
	at, ok := updated.DateTimeOK()
	if !ok {
		return time.Time{}, nil, fmt.Errorf("%w: %s: updatedAt is %s; want a date", prewarm.ErrMalformed, name(conversation), kind(updated))
	}
	list := conversation.Lookup("participants")
	array, ok := list.ArrayOK()
	if !ok {
		return time.Time{}, nil, fmt.Errorf("%w: %s: participants is %s; want an array", prewarm.ErrMalformed, name(conversation), kind(list))
	}
	participants, err := array.Values()
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("%w: %s: participants: %w", prewarm.ErrMalformed, name(conversation), err)
	}
	return time.UnixMilli(at), participants, nil
}

// userID returns the id of a participant: a text, a whole number, an ObjectID, or a document that
// has one of these.
func userID(participant bson.RawValue) (string, error) {
	if document, ok := participant.DocumentOK(); ok {
		for _, field := range idFields {
			if v := document.Lookup(field); v.Type != 0 && v.Type != bson.TypeNull {
				return scalarID(v)
			}
		}
		return "", fmt.Errorf("%w: a document without userId, id or _id", prewarm.ErrMalformed)
	}
	return scalarID(participant)
}

func scalarID(v bson.RawValue) (string, error) {
	switch v.Type {
	case bson.TypeString:
		return v.StringValue(), nil
	case bson.TypeInt32, bson.TypeInt64:
		return strconv.FormatInt(v.AsInt64(), 10), nil
	case bson.TypeObjectID:
		return v.ObjectID().Hex(), nil
	case bson.TypeDouble:
		if id, ok := profile.NumberID(v.Double()); ok {
			return id, nil
		}
		return "", fmt.Errorf("%w: the number %v; want a whole one of at most 2^53", prewarm.ErrMalformed, v.Double())
	}
	return "", fmt.Errorf("%w: %s; want a text, a whole number, an ObjectID, or a document with one of these", prewarm.ErrMalformed, kind(v))
}

// kind names the type of a value.
func kind(v bson.RawValue) string {
	if v.Type == 0 {
		return "missing"
	}
	return "of type " + v.Type.String()
}

// name tells a conversation from others.
func name(conversation bson.Raw) string {
	id := conversation.Lookup("_id")
	if key, err := scalarID(id); err == nil {
		return fmt.Sprintf("conversation %.40q", key)
	}
	return "conversation with an _id " + kind(id)
}
