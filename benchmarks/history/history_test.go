package history

import (
	"strings"
	"testing"
)

const version = `{"commit":"0123456789","date":"2026-01-02T03:04:05Z","tables":[{"title":"L1","rows":[
 {"name":"bare","rounds":[10,10,20,10]},{"name":"edgecache <x>","goal":1.2,"rounds":[11,12,22,14]},
 {"name":"edgecache","limit":600,"rounds":[500]}]}]}`

func TestRatiosAreOfTheSameRound(t *testing.T) {
	runs, err := addText(nil, version)
	if err != nil {
		t.Fatal(err)
	}
	if runs, err = addText(runs, version); err != nil || len(runs) != 1 {
		t.Fatalf("the same run again: %d runs, %v", len(runs), err)
	}
	got := runs[0].ratios("L1", "edgecache <x>")
	if len(got) != 4 || got[0] != 1.1 || got[2] != 1.1 || got[3] != 1.4 {
		t.Errorf("ratios are %v; want 1.1, 1.2, 1.1, 1.4", got)
	}
	if got := runs[0].ratios("L1", "edgecache"); len(got) != 1 || got[0] != 500 {
		t.Errorf("a figure with a limit is %v; want itself", got)
	}
	text, err := page(runs)
	if err != nil || strings.Count(string(text), "<svg ") != 2 || !strings.Contains(string(text), "26-01-02 0123456") || strings.Contains(string(text), "<x>") {
		t.Errorf("%v: %.300s", err, text)
	}
}
