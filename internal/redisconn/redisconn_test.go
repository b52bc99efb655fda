package redisconn

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]struct {
		addrs   []string
		db      int
		master  string
		cluster bool
		tls     bool
		user    string
	}{
		"redis://h:1":                            {addrs: []string{"h:1"}},
		"redis://h":                              {addrs: []string{"h:6379"}},
		"redis://u:p%40@h:1/3":                   {addrs: []string{"h:1"}, db: 3, user: "u:p@"},
		"redis://:p@[::1]:7":                     {addrs: []string{"[::1]:7"}, user: ":p"},
		"rediss://h:1/0":                         {addrs: []string{"h:1"}, tls: true},
		"rediss+cluster://a:1,b:2":               {addrs: []string{"a:1", "b:2"}, cluster: true, tls: true},
		"rediss+sentinel://a:1/main?db=2":        {addrs: []string{"a:1"}, master: "main", db: 2, tls: true},
		"redis://h:1?db=2":                       {addrs: []string{"h:1"}, db: 2},
		"redis://h:1/2?db=2":                     {addrs: []string{"h:1"}, db: 2},
		"redis+cluster://a:1,b:2,c":              {addrs: []string{"a:1", "b:2", "c:6379"}, cluster: true},
		"redis+sentinel://u:p@a:1,b:2/main?db=2": {addrs: []string{"a:1", "b:2"}, master: "main", db: 2, user: "u:p"},
	} {
		o, err := parse(in)
		if err != nil {
			t.Errorf("parse(%q): %v", in, err)
			continue
		}
		user := ""
		if o.Username+o.Password != "" {
			user = o.Username + ":" + o.Password
		}
		if !slices.Equal(o.Addrs, want.addrs) || o.DB != want.db || o.MasterName != want.master ||
			o.IsClusterMode != want.cluster || (o.Dialer != nil) != want.tls || user != want.user {
			t.Errorf("parse(%q) = %+v, want %+v", in, o, want)
		}
	}
}

func TestParseNamesWhatIsWrongAndHidesThePassword(t *testing.T) {
	for in, part := range map[string]string{
		"localhost:6379": "want redis://", "http://h:1": "want redis://", "redis://": "host:port", "redis://h:x": `"h:x"`,
		"redis://h:70000": "70000", "redis://a:1,b:2": "one host:port", "redis://h:1/x": `database "x"`,
		"redis://h:1/-1": `"-1"`, "redis+cluster://a:1/2": "one database", "redis+sentinel://a:1": "name of the master",
		"redis://h:1?ca=/x": "for TLS", "redis://h:1?sslmode=no": `"sslmode"`, "rediss://h:1?ca=/nonexistent/ca": "no such file",
		"rediss://h:1?ca=a&ca=b": "each once", "redis://u:secret@h:1?password-file=/x": "one of them",
		"redis://u:secret@h:x": "h:x",
		"secret@h":             "want redis://", "redis://u:%zzsecret@h:1": "bad Redis URL",
		"redis://h:1?dbb=2": `parameter "dbb"`, "redis://h:1/1?db=2": "two databases",
		"redis://h:1?db=1&db=1": "each once", "redis://h:1?sentinel-password=secret": `"sentinel-password"`, "redis://h:1?a=%zz": "cannot be read",
		"redis+cluster://a:1?db=1": "one database", "redis+sentinel://a:1?sentinel-password=secret": "name of the master",
	} {
		_, err := Open(in)
		if !errors.Is(err, ErrURL) || !strings.Contains(err.Error(), part) {
			t.Errorf("Open(%q) = %v, want ErrURL with %q", in, err, part)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) shows the password: %v", in, err)
		}
	}
}
