package bare

import (
	"io"
	"net/http"
	"testing"
)

func TestServe(t *testing.T) {
	addr, stop, err := Serve(t.Context(), map[string][]byte{"7": []byte(`{"id":"7"}`)})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{"7": http.StatusOK, "8": http.StatusNotFound} {
		a, err := http.Get("http://" + addr + "/v1/users/" + id)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		if _ = a.Body.Close(); err != nil || a.StatusCode != want || want == http.StatusOK && string(body) != `{"id":"7"}` {
			t.Errorf("%s: %d %s, %v", id, a.StatusCode, body, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
}
