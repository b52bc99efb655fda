package stream

import (
	"errors"
	"testing"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// An event with text that is no Unicode, in its payload or in the whole profile, is no event: it
// would be shown as other text than was sent.
func TestEventWithTextThatIsNoUnicode(t *testing.T) {
	for _, text := range []string{"\xff", "\xed\xa0\x80", `\ud800`, `\udc00x`, `\ud800\u0041`} {
		for _, field := range []string{"fullName", "avatar", "matricule", "userId", "event"} {
			payload := `{"event":"user.profile.updated","userId":"7","timestamp":5,"` + field + `":"` + text + `"}`
			if e, err := Decode(map[string]any{"payload": payload}); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownKind) {
				t.Errorf("%q: %+v, %v; want it refused", payload, e, err)
			}
		}
	}
	whole := profile.AppendMsgpack(nil, &profile.Profile{ID: "7", Nom: "\xff", UpdatedAt: 5})
	good := `{"event":"user.profile.updated","userId":"7","timestamp":5,"fullName":"\ud83d\ude00 \\ud800"}`
	e, err := Decode(map[string]any{"payload": good, "profile": string(whole)})
	if !errors.Is(err, ErrMalformed) || e.UserID != "7" || e.Profile != nil {
		t.Errorf("with such a profile: %+v, %v", e, err)
	}
	e, err = Decode(map[string]any{"payload": good})
	if err != nil || e.Patch == nil || *e.Patch.FullName != `😀 \ud800` {
		t.Errorf("a whole pair of surrogates: %+v, %v", e, err)
	}
}
