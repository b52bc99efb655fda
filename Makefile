# Every target works on a fresh clone. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help run test check lint guests bench fuzz soak seeded deps

FUZZTIME ?= 10s

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve with everything embedded, on 127.0.0.1:8003
	go run ./cmd/edgecache serve

test: deps ## run all tests with the race detector, against private servers
	@scripts/test.sh

check: ## what CI runs: test, lint, guests
	@.ci/run

lint: ## format, vet, staticcheck, module files, known bad versions, known vulnerabilities
	@scripts/lint.sh

guests: ## build the examples of edge functions anew, and compare with those that are committed
	@scripts/deps.sh guests
	edge/guests/build.sh --check

bench: ## measure against the bare libraries; writes benchmarks/results/latest.md and .json, README's table and history.html
	go run -C benchmarks . compare -out results
	go run -C benchmarks . history
	go test -count=1 ./tests/contracts -run README -write

fuzz: ## fuzz every decoder for FUZZTIME each (default 10s)
	@scripts/fuzz.sh $(FUZZTIME)


seeded: ## remove one safeguard at a time and see that the oracle or the model notices
	go test -count=1 -timeout 20m -v -run TestEachSeededBugIsSeen ./tests/seeded -all

soak: ## the long forms of the storm and of every fault, about 40 minutes; writes benchmarks/results/faults.md and rehearsal.md
	go test -timeout 20m -run TestStorm -v ./tier -storm 60s
	go test -timeout 5m -run TestRedisAwayInAFewLines -v ./cmd/edgecache -away 16s
	go test -timeout 20m -run TestNoNodeIsOlderThanTheBound -v ./node -puts 10000
	benchmarks/record.sh faults
	benchmarks/record.sh rehearsal

deps: ## find what the tests need, or install it (Debian, as root)
	@scripts/deps.sh
