# Everything a contributor needs. `make` alone says what there is.

export CGO_ENABLED ?= 1
GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME  ?= 20000x
BIN       := bin
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.DEFAULT_GOAL := help
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole product on this machine, nothing to set up
	go run ./cmd/bridge demo

test: ## the tests that need nothing but Go
	go test ./...

check: format vet lint race long fuzz schemas ## everything CI checks

format: ## files that gofmt would change, or modules that are out of order
	@files=$$(git ls-files '*.go'); test -n "$$files"; \
	ugly=$$(gofmt -l $$files); test -z "$$ugly" || { echo "$$ugly"; exit 1; }
	go mod verify
	@# Of go.sum, what the tests of a dependency need is not served everywhere.
	@! { go mod tidy -e -diff 2>/dev/null || true; } | sed -n '/^diff .*go\.mod$$/,/^diff .*go\.sum$$/p' | grep '^[-+]'

vet: ## go vet
	go vet ./...

lint: $(BIN)/golangci-lint ## golangci-lint, as .golangci.yml says
	$(BIN)/golangci-lint run ./...

$(BIN)/golangci-lint:
	GOBIN=$(CURDIR)/$(BIN) CGO_ENABLED=0 go install $(GOLANGCI)

# SQLite is C that was translated to Go: it has locks of its own, and watching each of
# its instructions would be most of the run. Its driver and all that is ours is watched.
UNWATCHED := $(foreach package,sqlite/lib libc/... memory,-gcflags=modernc.org/$(package)=-race=false)

race: ## all tests, shuffled, with the race detector; the long loops are those of `make test`
	go test -race -vet=off $(UNWATCHED) -short -shuffle=on -timeout 20m ./...

long: ## presses in real browsers, and ten thousand random populations
	BRIDGE_TEST_BROWSERS=webkit,firefox,chromium BRIDGE_TEST_POPULATIONS=10000 go test -count=1 -timeout 20m \
	  -run '^(TestInEveryEngine|TestDemoInEveryEngine|TestPromise7NoWrongScreenInRandomPopulations)$$' ./bridge ./cmd/bridge

# A number of tries, since Go before 1.27 now and then calls the end of a time limit a
# failure (go.dev/issue/75804). What `go test -fuzz` has the compiler watch in every
# package it does so in ours alone: with all of SQLite watched, tries are 50 times fewer.
FUZZED := -vet=off -gcflags=cobrowse-bridge/...=-d=libfuzzer

fuzz: ## every fuzz target, FUZZTIME each
	@built=$$(mktemp -d); trap 'rm -rf "$$built"' EXIT; \
	packages=$$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n 1 dirname | sort -u); \
	for package in $$packages; do \
	  go test -c $(FUZZED) -o "$$built/fuzz.test" "./$$package"; \
	  targets=$$(cd "$$package" && "$$built/fuzz.test" -test.list '^Fuzz'); \
	  for target in $$targets; do \
	    echo "fuzz $$package $$target"; \
	    (cd "$$package" && "$$built/fuzz.test" -test.run '^$$' -test.fuzz "^$$target$$" -test.fuzztime $(FUZZTIME) \
	      -test.fuzzminimizetime 1x -test.fuzzcachedir "$$(go env GOCACHE)/fuzz/$$package") 2>&1 | { grep -v '^fuzz: elapsed' || true; }; \
	  done; \
	done

schemas: ## what we send Rocket.Chat and Slack against the vendors' own schemas (needs npm)
	bash connectors/rocketchat/testdata/schemas/run.sh
	bash connectors/slack/testdata/types/run.sh

bench: ## the benchmarks, each as a ratio to a floor measured in the same run
	go test -run '^$$' -bench . -benchtime 5x -p 1 -timeout 30m ./bridge ./bridge/store | go run ./bridge/benchtest/table

build: ## a static binary in bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/bridge ./cmd/bridge

.PHONY: help demo test check format vet lint race long fuzz schemas bench build
