package origin

// ClientStats is a snapshot of what a client did.
type ClientStats struct {
	// Breaker is "closed" (calls go through), "open" (refused) or "half-open" (one is finding out).
	Breaker string `json:"breaker"`
	// Opened counts how often the breaker opened.
	Opened int64 `json:"opened"`
	// Requests counts requests sent, retries and hedges included.
	Requests int64 `json:"requests"`
	// Failures counts those that the breaker took as failures.
	Failures int64 `json:"failures"`
	// Retries counts the requests that repeated one.
	Retries int64 `json:"retries"`
	// Refused counts calls that were not sent: the breaker was open, or the service had asked for
	// time.
	Refused int64 `json:"refused"`
	// Hedges counts second requests for lookups that were slow, HedgesWon those that answered
	// before the first.
	Hedges    int64 `json:"hedges"`
	HedgesWon int64 `json:"hedgesWon"`
	// Malformed counts answers about a user, or to a bulk lookup, that were no profile.
	Malformed int64 `json:"malformed"`
	// Shed counts fields that were left out because no profile has room for them.
	Shed int64 `json:"shed"`
}
