package outage

const childEnv = "EDGECACHE_OUTAGE_CHILD"

func child() {}
