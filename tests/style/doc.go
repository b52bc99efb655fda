// Package style keeps what the house style can count: the width of comments, the length of
// functions, how many names a room shows.
package style
