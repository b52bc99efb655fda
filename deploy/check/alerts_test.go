package check

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alert is one of deploy/alerts.yml.
type alert struct {
	Alert, Expr string
	Annotations map[string]string
}

func theAlerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// promtool runs Prometheus's own check, and returns what it said.
func promtool(t *testing.T, stdin string, args ...string) (said string, err error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not installed: run `make deps`, or `apt-get install prometheus` on Debian")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin, cmd.Dir = strings.NewReader(stdin), filepath.Join(root, "deploy")
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// TestEachAlertFires has promtool fire each alert, and none in a calm cluster.
func TestEachAlertFires(t *testing.T) {
	if said, err := promtool(t, "", "check", "rules", "alerts.yml"); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	if said, err := promtool(t, "", "test", "rules", "alerts_test.yml"); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	var tests struct {
		Tests []struct {
			Name  string
			Cases []struct {
				Alertname string
				Expected  []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/alerts_test.yml")), &tests); err != nil {
		t.Fatal(err)
	}
	fires, calm := map[string]bool{}, map[string]bool{}
	for _, one := range tests.Tests {
		for _, c := range one.Cases {
			if len(c.Expected) > 0 {
				fires[c.Alertname] = true
			} else if one.Name == "a calm cluster" {
				calm[c.Alertname] = true
			}
		}
	}
	for _, a := range theAlerts(t) {
		if !fires[a.Alert] || !calm[a.Alert] {
			t.Errorf("%s: a test fires it %v, one has it silent in a calm cluster %v", a.Alert, fires[a.Alert], calm[a.Alert])
		}
	}
}

// TestEachAlertHasItsParagraph follows the links of the alerts into docs/operations.md.
func TestEachAlertHasItsParagraph(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	paragraphs := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		paragraphs[strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")] = true
	}
	for _, a := range theAlerts(t) {
		page, anchor, _ := strings.Cut(a.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(page, "/docs/operations.md") || !paragraphs[anchor] || a.Annotations["summary"] == "" {
			t.Errorf("%s leads to %q, where there is no such paragraph, or has no summary", a.Alert, a.Annotations["runbook_url"])
		}
	}
}

// fromElsewhere are the metrics of alerts that a node does not export: those of Prometheus itself,
// of the origin and of edgecache verify.
var fromElsewhere = regexp.MustCompile(`^edgecache_(outbox|database|verify)_`)

// checkAlerts compares the alerts with what a node exports.
func checkAlerts(t *testing.T, metrics string) {
	t.Helper()
	exported := exportedNames(metrics)
	for _, a := range theAlerts(t) {
		for _, name := range metricsIn(a.Expr, exported) {
			if _, ok := exported[name]; !ok && !fromElsewhere.MatchString(name) {
				t.Errorf("%s reads %s, which no node exports", a.Alert, name)
			}
		}
	}
}

// lint has promtool look at the names and the help of metrics.
func lint(t *testing.T, metrics string) {
	t.Helper()
	if said, err := promtool(t, metrics, "check", "metrics"); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
