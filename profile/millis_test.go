package profile

import (
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"
)

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", time.Millisecond: "1", 1500 * time.Microsecond: "1.5", -2 * time.Second: "-2000",
		1234567 * time.Nanosecond: "1.234567", 7 * 24 * time.Hour: "604800000", 89: "0.000089",
	} {
		text, err := json.Marshal(struct {
			Took Millis `json:"tookMs"`
		}{Millis(d)})
		if string(text) != `{"tookMs":`+want+`}` || err != nil {
			t.Errorf("%v is %s, %v; want %s", d, text, err, want)
		}
		var back Millis
		if err := json.Unmarshal([]byte(want), &back); err != nil || back.Duration() != d {
			t.Errorf("%s is %v, %v; want %v", want, back, err, d)
		}
	}
	for _, text := range []string{"1e300", "-1e13", `"1s"`, "true", "{}"} {
		m := Millis(7)
		if err := json.Unmarshal([]byte(text), &m); err == nil || m != 7 {
			t.Errorf("%s is taken as %v", text, m)
		}
	}
	m := Millis(7)
	if err := json.Unmarshal([]byte("null"), &m); err != nil || m != 7 {
		t.Errorf("null: %v, %v", m, err)
	}
	if err := m.UnmarshalJSON([]byte("1e300")); !errors.Is(err, strconv.ErrRange) {
		t.Errorf("too much: %v", err)
	}
}
