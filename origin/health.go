package origin

// Health is the answer of GET /health.
type Health struct {
	// Status is "ok".
	Status string `json:"status"`
	// Users is the number of users; this and what follows is 0 for who has no token and needs one.
	Users int64 `json:"users"`
	// Backlog is the number of changes that are committed and not yet announced.
	Backlog int64 `json:"backlog"`
	// BacklogAge is how long the oldest of them has waited, in milliseconds.
	BacklogAge int64 `json:"backlogAgeMs"`
	// Relay is what the relay did, nil without one.
	Relay *RelayStats `json:"relay,omitempty"`
}

// RelayStats is a snapshot of what a relay did since Start.
type RelayStats struct {
	// Announced counts the changes that were announced.
	Announced int64 `json:"announced"`
	// Failures counts attempts that failed.
	Failures int64 `json:"failures"`
	// Blocked is the number of stuck users: those who wait after a failure of their own.
	Blocked int64 `json:"blocked"`
	// Down tells whether nobody can be announced at present.
	Down bool `json:"down"`
}
