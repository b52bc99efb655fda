package check

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// project loads docker-compose.yml as docker compose does, with the values of the example and all
// profiles.
func project(t *testing.T) *types.Project {
	t.Helper()
	p, err := load(example(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func example(t *testing.T) map[string]string {
	t.Helper()
	values, err := dotenv.Read(filepath.Join(root, "deploy/example.env"))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// load loads docker-compose.yml, with more files if some are named.
func load(values map[string]string, more ...string) (*types.Project, error) {
	files := []string{filepath.Join(root, "docker-compose.yml")}
	for _, name := range more {
		files = append(files, filepath.Join(root, name))
	}
	var env []string
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	options, err := cli.NewProjectOptions(files, cli.WithEnv(env),
		cli.WithProfiles([]string{"*"}), cli.WithInterpolation(true), cli.WithResolvedPaths(true))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

var (
	nodes = []string{"node1", "node2", "node3"}
	ours  = append([]string{"origin"}, nodes...)
)

func TestComposeHasItsServices(t *testing.T) {
	p := project(t)
	want := append([]string{"redis", "postgres", "prometheus", "grafana"}, ours...)
	slices.Sort(want)
	if got := p.ServiceNames(); !slices.Equal(got, want) {
		t.Errorf("services %v; want %v", got, want)
	}
	for _, name := range []string{"prometheus", "grafana"} {
		if s := p.Services[name]; !slices.Equal(s.Profiles, []string{"monitoring"}) {
			t.Errorf("%s is in the profiles %v; want it only with monitoring", name, s.Profiles)
		}
	}
	for name, s := range p.Services {
		for dependency, how := range s.DependsOn {
			if how.Condition != types.ServiceConditionHealthy {
				t.Errorf("%s starts when %s is %s; want healthy", name, dependency, how.Condition)
			}
		}
	}
	for _, name := range nodes {
		if _, ok := p.Services[name].DependsOn["origin"]; !ok {
			t.Errorf("%s does not wait for the origin", name)
		}
	}
}

func TestEveryContainerIsConfined(t *testing.T) {
	for name, s := range project(t).Services {
		user, _, _ := strings.Cut(s.User, ":")
		if user == "" || user == "0" || user == "root" {
			t.Errorf("%s runs as the user %q", name, s.User)
		}
		if !s.ReadOnly {
			t.Errorf("%s may write to its root", name)
		}
		if s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s keeps privileges: %v, -%v +%v %v", name, s.Privileged, s.CapDrop, s.CapAdd, s.SecurityOpt)
		}
		if s.Deploy == nil || s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 ||
			s.Deploy.Resources.Limits.NanoCPUs == 0 || s.Deploy.Resources.Limits.Pids == 0 {
			t.Errorf("%s has no limits of memory, processors and processes", name)
		}
		if h := s.HealthCheck; h == nil || len(h.Test) < 2 || h.Interval == nil || h.Timeout == nil || h.StartPeriod == nil {
			t.Errorf("%s has no health check, or one without times: %+v", name, h)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q; want this machine alone", name, port.Published, port.HostIP)
			}
		}
	}
}

// orderlyEnd is how long an end in order may take after the drain.
const orderlyEnd = 5 * time.Second

// TestStopOutlastsTheDrain: compose kills what still runs after stop_grace_period, 10 s when it is
// not given.
func TestStopOutlastsTheDrain(t *testing.T) {
	p, err := load(example(t), "deploy/node4.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{"node4"}, ours...) {
		s := p.Services[name]
		grace := 10 * time.Second
		if s.StopGracePeriod != nil {
			grace = time.Duration(*s.StopGracePeriod)
		}
		text := s.Environment["EDGECACHE_DRAIN_DELAY"]
		if text == nil {
			t.Errorf("%s has no EDGECACHE_DRAIN_DELAY", name)
			continue
		}
		delay, err := time.ParseDuration(*text)
		if err != nil || delay <= 0 || grace < delay+orderlyEnd {
			t.Errorf("%s drains for %s, %v, and is killed after %v; want at least %v more", name, *text, err, grace, orderlyEnd)
		}
		if s.StopSignal != "" && s.StopSignal != "SIGTERM" {
			t.Errorf("%s is told to end by %s", name, s.StopSignal)
		}
	}
}

func TestNetworks(t *testing.T) {
	p := project(t)
	if !p.Networks["back"].Internal || p.Networks["front"].Internal {
		t.Error("want the network back without a way out, and front with one")
	}
	published := map[string]bool{}
	for name, s := range p.Services {
		_, front := s.Networks["front"]
		if _, back := s.Networks["back"]; !back || front != (len(s.Ports) > 0) {
			t.Errorf("%s is in the networks %v and publishes %v; want back, and front if it publishes", name, s.Networks, s.Ports)
		}
		for _, port := range s.Ports {
			if published[port.Published] {
				t.Errorf("%s publishes %s, as another does", name, port.Published)
			}
			published[port.Published] = true
		}
	}
	for _, name := range nodes {
		aliases := p.Services[name].Networks["back"].Aliases
		if !slices.Contains(aliases, "nodes") || !slices.Contains(aliases, name+".gossip") {
			t.Errorf("%s is known as %v; want nodes and %s.gossip", name, aliases, name)
		}
		text := strings.Join(p.Services[name].Command, " ")
		if strings.Contains(text, "--cluster-name") || !strings.Contains(text, "--cluster-node "+name+" ") || !strings.Contains(text, "--cluster-bind "+name+".gossip:7946") {
			t.Errorf("%s runs %s", name, text)
		}
		if join := p.Services[name].Environment["EDGECACHE_CLUSTER_JOIN"]; join == nil || *join != "nodes:7946" {
			t.Errorf("%s joins %v", name, join)
		}
	}
	var scrape struct {
		Configs []struct {
			Classic bool `yaml:"always_scrape_classic_histograms"`
			DNS     []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus.yml")), &scrape); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		name string
		port int
	}{{"nodes", 8003}, {"origin", 8001}} {
		if len(scrape.Configs) != 2 || len(scrape.Configs[i].DNS) != 1 || !slices.Equal(scrape.Configs[i].DNS[0].Names, []string{want.name}) || scrape.Configs[i].DNS[0].Port != want.port {
			t.Errorf("Prometheus asks %+v; want %+v", scrape, want)
		}
		if !scrape.Configs[i].Classic {
			t.Errorf("%s: with native histograms on, the dashboards' buckets would not be kept", want.name)
		}
	}
}

// TestOneMoreNode: the file for a fourth node changes what must differ, and nothing else.
func TestOneMoreNode(t *testing.T) {
	p, err := load(example(t), "deploy/node4.yml")
	if err != nil {
		t.Fatal(err)
	}
	third, fourth := p.Services["node3"], p.Services["node4"]
	if got := strings.Join(fourth.Command, " "); got != strings.ReplaceAll(strings.Join(third.Command, " "), "node3", "node4") {
		t.Errorf("it runs %s", got)
	}
	if len(fourth.Ports) != 1 || fourth.Ports[0].Published != "8006" || fourth.Ports[0].HostIP != "127.0.0.1" {
		t.Errorf("it publishes %v", fourth.Ports)
	}
	if got := fourth.Networks["back"].Aliases; !slices.Equal(got, []string{"nodes", "node4.gossip"}) {
		t.Errorf("it is known as %v", got)
	}
	fourth.Name, fourth.Command, fourth.Ports, fourth.Networks = third.Name, third.Command, third.Ports, third.Networks
	if !reflect.DeepEqual(third, fourth) {
		t.Errorf("it differs in more than its name:\n%+v\n%+v", third, fourth)
	}
}

func TestWhatIsMountedExists(t *testing.T) {
	p := project(t)
	used := map[string]bool{}
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume {
				used[v.Source] = true
				continue
			}
			if !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
			if rel, err := filepath.Rel(p.WorkingDir, v.Source); err != nil || rel == "deploy/secrets/cluster" {
				continue // deploy/secrets.sh makes it: TestSecrets
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
		}
	}
	for name := range p.Volumes {
		if !used[name] {
			t.Errorf("nobody uses the volume %s", name)
		}
	}
}

// TestSecretsAreFiles: what must be secret is in files that each service names by itself, and in no
// environment, no command and no file of the repository.
func TestSecretsAreFiles(t *testing.T) {
	p := project(t)
	used := map[string]bool{}
	for name, s := range p.Services {
		text := strings.Join(append(append([]string{}, s.Command...), s.HealthCheck.Test...), "\n")
		for variable, value := range s.Environment {
			text += "\n" + *value
			file := strings.HasSuffix(variable, "_FILE") && strings.HasPrefix(*value, "/")
			if secretName.MatchString(variable) && !file || strings.Contains(*value, "@") {
				t.Errorf("%s has %s in its environment", name, variable)
			}
		}
		var has, wants []string
		for _, secret := range s.Secrets {
			used[secret.Source] = true
			has = append(has, secret.Source)
		}
		for _, match := range regexp.MustCompile(`/run/secrets/([a-z-]+)`).FindAllStringSubmatch(text, -1) {
			wants = append(wants, match[1])
		}
		slices.Sort(has)
		slices.Sort(wants)
		if wants = slices.Compact(wants); !slices.Equal(has, wants) {
			t.Errorf("%s has the secrets %v and reads %v", name, has, wants)
		}
	}
	made := secretFiles(t)
	for name, secret := range p.Secrets {
		rel, err := filepath.Rel(filepath.Join(p.WorkingDir, "deploy/secrets"), secret.File)
		if err != nil || !used[name] {
			t.Errorf("the secret %s of %s: used %t, %v", name, secret.File, used[name], err)
		}
		if info, err := os.Stat(filepath.Join(made, rel)); err != nil || info.Size() < 20 {
			t.Errorf("deploy/secrets.sh makes no %s: %v", rel, err)
		}
	}
	comment := regexp.MustCompile(`(?m)^\s*#.*$`)
	inText := regexp.MustCompile(`(?i)(password|secret|requirepass)[a-z_]*["']?[ \t]*[:= ][ \t]*["']?[A-Za-z0-9]{4,}`)
	for _, file := range []string{"docker-compose.yml", "Dockerfile", "deploy/redis.conf", "deploy/prometheus.yml", "deploy/grafana/edgecache.json", "deploy/example.env"} {
		if found := inText.FindString(comment.ReplaceAllString(read(t, file), "")); found != "" {
			t.Errorf("%s has %q", file, found)
		}
	}
}

// secretName matches variables with what nobody should see.
var secretName = regexp.MustCompile(`(?i)PASSWORD|SECRET|AUTH|TOKEN|^EDGECACHE_DB(_FILE)?$`)
