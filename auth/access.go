package auth

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Access is what a server asks of its callers beside tokens. The zero value asks nothing, and lets
// no page of another site in.
type Access struct {
	// Open are the paths that need no token where others do, such as /metrics. A path that the
	// server does not have is an error.
	Open []string
	// Hosts are the names under which a server without tokens may be asked, beside localhost and
	// addresses: a page of a stranger may have its own name point at this machine.
	Hosts []string
	// Origins are the sites whose pages may ask from a browser (CORS), such as
	// https://chat.example. "*" is not taken.
	Origins []string
	// Proxies are the networks, as CIDRs, of those whose X-Forwarded-For is believed. Default:
	// nobody's is.
	Proxies []string
	// Rate is how many requests a second one client may send, with a burst of Burst. A client is
	// who shows a token, else an address (of IPv6 its /64). Default 0: any number. Probes and
	// metrics are never limited.
	Rate float64
	// Burst is how many requests may come at once. Default: those of a second, at least 1.
	Burst int
	// Batches is how many lookups of many users one client may have under way. Default 0: any
	// number.
	Batches int
	// Conns is how many connections one address may have open; those in Proxies may have any
	// number. Default 0: any number.
	Conns int
}

// Validate names what is wrong.
func (a Access) Validate() error {
	switch {
	case !(a.Rate >= 0) || a.Rate > 1e9:
		return fmt.Errorf("auth: %g requests a second; want 0 for any number, or up to 1e9", a.Rate)
	case a.Burst < 0 || a.Batches < 0 || a.Conns < 0:
		return fmt.Errorf("auth: a burst of %d, %d batches, %d connections; want 0 or more", a.Burst, a.Batches, a.Conns)
	case a.Burst > 0 && a.Rate == 0:
		return fmt.Errorf("auth: a burst of %d without a rate", a.Burst)
	}
	for _, site := range a.Origins {
		u, err := url.Parse(site)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != site {
			return fmt.Errorf("auth: the site %q; want one such as https://chat.example, without a path", site)
		}
	}
	if i := slices.IndexFunc(a.Hosts, func(h string) bool { return h == "" || strings.ContainsAny(h, ":/ ") }); i >= 0 {
		return fmt.Errorf("auth: the host %q; want a name without a port", a.Hosts[i])
	}
	_, err := a.Networks()
	return err
}

// Networks returns Proxies, parsed.
func (a Access) Networks() ([]netip.Prefix, error) {
	all := make([]netip.Prefix, 0, len(a.Proxies))
	for _, text := range a.Proxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("auth: the network %q of proxies; want a CIDR such as 10.0.0.0/8", text)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
