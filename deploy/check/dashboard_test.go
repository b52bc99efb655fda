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
	Title       string
	UID         string
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Panels []struct {
		ID         int
		Title      string
		Datasource struct{ UID string }
		GridPos    struct{ X, Y, W, H int }
		Targets    []struct{ Expr string }
	}
}

// nodesDashboard and originDashboard are the files of the two.
const (
	nodesDashboard  = "deploy/grafana/edgecache.json"
	originDashboard = "deploy/grafana/edgecache-origin.json"
)

func theDashboard(t *testing.T, file string) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, file)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// metricPattern leaves out process_…, which a node exports only where there is a /proc: not in the
// empty root of the test.
var metricPattern = regexp.MustCompile(`\b(edgecache|go)_[a-z0-9_]+`)

// exportedNames are the metrics of a page, and true for those that are histograms.
func exportedNames(metrics string) map[string]bool {
	exported := map[string]bool{}
	for line := range strings.Lines(metrics) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(rest), " ")
			exported[name] = kind == "histogram"
		}
	}
	return exported
}

// metricsIn are the metrics that an expression reads: of a histogram its name, not those of its
// series.
func metricsIn(expr string, exported map[string]bool) (names []string) {
	for _, name := range metricPattern.FindAllString(expr, -1) {
		for _, series := range []string{"_bucket", "_sum", "_count"} {
			if of, ok := strings.CutSuffix(name, series); ok && exported[of] {
				name = of
			}
		}
		names = append(names, name)
	}
	return names
}

// checkDashboard compares a dashboard with what is exported: it shows what exists, and all that
// edgecache counts itself.
func checkDashboard(t *testing.T, file, metrics string) {
	t.Helper()
	exported, shown := exportedNames(metrics), map[string]bool{}
	d := theDashboard(t, file)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			for _, name := range metricsIn(target.Expr, exported) {
				shown[name] = true
				if _, ok := exported[name]; !ok {
					t.Errorf("%s shows %s, which is not exported", p.Title, name)
				}
			}
		}
	}
	for _, a := range d.Annotations.List {
		for _, name := range metricsIn(a.Expr, exported) {
			if _, ok := exported[name]; !ok {
				t.Errorf("the annotation %s reads %s, which is not exported", a.Name, name)
			}
		}
	}
	for name := range exported {
		if strings.HasPrefix(name, "edgecache_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestTheDashboardsAreWhole(t *testing.T) {
	for _, file := range []string{nodesDashboard, originDashboard} {
		t.Run(file, func(t *testing.T) { checkWhole(t, theDashboard(t, file)) })
	}
}

func checkWhole(t *testing.T, d dashboard) {
	if len(d.Annotations.List) == 0 {
		t.Error("it has no annotations")
	}
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
