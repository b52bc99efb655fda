// Package traces checks what nodes and origins tell a collector of OpenTelemetry. It is a module of
// its own, so that nobody else gets the definitions of its protocol.
package traces
