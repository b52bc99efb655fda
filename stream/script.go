package stream

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/retire.lua
	retireSource string
	//go:embed scripts/measure.lua
	measureSource string

	retireScript  = redis.NewScript(retireSource)
	measureScript = redis.NewScript(measureSource)
)
