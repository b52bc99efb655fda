package check

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// dashboard is what is checked of Grafana's.
type dashboard struct {
	Title  string
	UID    string
	Panels []struct {
		ID         int
		Title      string
		Datasource struct{ UID string }
		GridPos    struct{ X, Y, W, H int }
		Targets    []struct{ Expr string }
	}
}

func theDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/edgecache.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// metricPattern leaves out process_…, which a node exports only where there is a /proc: not in the empty root of the test.
var metricPattern = regexp.MustCompile(`\b(edgecache|go)_[a-z0-9_]+`)

// checkDashboard compares the dashboard with what a node exports: it shows what exists, and all that edgecache counts itself.
func checkDashboard(t *testing.T, metrics string) {
	t.Helper()
	exported, shown := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(metrics) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			exported[name] = true
		}
	}
	for _, p := range theDashboard(t).Panels {
		for _, target := range p.Targets {
			for _, name := range metricPattern.FindAllString(target.Expr, -1) {
				shown[name] = true
				if !exported[name] {
					t.Errorf("%s shows %s, which no node exports", p.Title, name)
				}
			}
		}
	}
	for name := range exported {
		if strings.HasPrefix(name, "edgecache_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestTheDashboardIsWhole(t *testing.T) {
	d := theDashboard(t)
	seen := map[int]bool{}
	for _, p := range d.Panels {
		if p.Title == "" || seen[p.ID] || len(p.Targets) == 0 || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: no title, an id used twice, no target, or a place outside of the grid %+v", p.ID, p.Title, p.GridPos)
		}
		seen[p.ID] = true
	}
	var sources struct {
		Datasources []struct{ UID, URL string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/grafana/provisioning/datasources/prometheus.yml")), &sources); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		if len(sources.Datasources) != 1 || p.Datasource.UID != sources.Datasources[0].UID {
			t.Errorf("%s wants the data source %q; provisioned are %v", p.Title, p.Datasource.UID, sources.Datasources)
		}
	}
}
