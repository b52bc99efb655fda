// Package outage holds the tests of the whole, from the origin's database to the answers of several
// nodes, while parts of it are dead, slow or killed. There is nothing in it but tests.
//
// Each test has a short form that every run does, and with the flag -long the form in which it
// shows what it claims. A line that begins with RESULT has what was demanded and what was measured,
// for benchmarks/record.sh.
package outage
