// Package nodename makes up names for processes that were given none.
package nodename

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
)

// New returns host name, process id and a random part: readable, and another for each call. It has
// at most 128 of A-Z a-z 0-9 . _ - and nothing else.
func New() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%.100s-%d-%s", strings.Map(plain, host), os.Getpid(), strings.ToLower(rand.Text()[:8]))
}

func plain(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._-", r):
		return r
	}
	return '-'
}
