package redact

import (
	"strings"
	"testing"
)

func TestNoPasswordIsShown(t *testing.T) {
	for text, want := range map[string]string{
		"http://h:1/x":                               "http://h:1/x",
		"http://u@h:1":                               "http://u@h:1",
		"postgres://u:s3cr3t@h:1/x?a=1":              "postgres://u:xxxxx@h:1/x?a=1",
		"redis://:s3cr3t@h:1":                        "redis://:xxxxx@h:1",
		"redis://u:s3cr3t%40@h@h:1":                  "redis://u:xxxxx@h:1",
		"mongodb://u:s3cr3t/@a,b/db":                 "mongodb://u:xxxxx@a,b/db",
		"postgres://h/x?user=u&password=s3cr3t&a=1":  "postgres://h/x?user=u&password=xxxxx&a=1",
		"postgres://h/x?sslpassword=s3cr3t":          "postgres://h/x?sslpassword=xxxxx",
		"host=h password=s3cr3t dbname=x":            "host=h password=xxxxx dbname=x",
		"host=h PASSWORD = 's3cr3t it\\'s s3cr3t' a": "host=h PASSWORD = xxxxx a",
		`host=h password=s3cr3t\ s3cr3t dbname=x`:    "host=h password=xxxxx dbname=x",
		"host=h password='s3cr3t":                    "host=h password=xxxxx",
		"s3cr3t@h":                                   "xxxxx@h",
		"u:s3cr3t@h:1":                               "u:xxxxx@h:1",
		"redis+cluster://u:s3cr3t@a:1,b:2":           "redis+cluster://u:xxxxx@a:1,b:2",
		"redis://u:%zzs3cr3t@h:1":                    "redis://u:xxxxx@h:1",
		"http://%zzs3cr3t:x@h:1":                     "http://xxxxx:xxxxx@h:1",
		"sqlite:/var/lib/users.db":                   "sqlite:/var/lib/users.db",
	} {
		if got := Address(text); got != want || strings.Contains(got, "s3cr3t") {
			t.Errorf("%s is shown as %s; want %s", text, got, want)
		}
	}
}
