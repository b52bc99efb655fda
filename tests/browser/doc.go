// Package browser tests the dashboard in a real Chromium. It is a module of its own, so that nobody
// who embeds a node gets the driver of a browser.
package browser
