package redistest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	// Ports are taken from below the range that systems hand to outgoing connections: a killed
	// server must find its port free when it comes back. The cluster bus is 10,000 above.
	lowestPort, portCount, busOffset = 10_000, 12_000, 10_000

	portProbes = 200
)

var errNoPort = errors.New("redistest: no free port between 10000 and 22000")

// freePort finds a port on which, and on whose bus port, nobody listens just now.
func freePort() (int, error) {
	for range portProbes {
		port := lowestPort + rand.IntN(portCount)
		if free(port) && free(port+busOffset) {
			return port, nil
		}
	}
	return 0, errNoPort
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
