# `make` without a target lists the targets.

export CGO_ENABLED ?= 1
GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GORELEASER := github.com/goreleaser/goreleaser/v2@v2.16.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
CADDY     := github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
FUZZTIME  ?= 20000x
POPULATIONS ?= 10000
KILLS     ?= 100
BIN       := bin
VERSION   ?= $(patsubst v%,%,$(shell git describe --tags --always --dirty 2>/dev/null || echo dev))
COMMIT    ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE      ?= $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)

export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## run the whole product on this machine, without any setup
	go run ./cmd/bridge demo

screenshot: ## take deploy/demo.png of the demo (needs Chromium)
	go test -count=1 -run '^TestDemoScreenshot$$' ./cmd/bridge -screenshot $(CURDIR)/deploy/demo.png

test: ## run the tests that need only Go
	go test ./...

# Two lanes run at the same time: tests that wait for browsers and databases, and work for the processor.
check: ## run all checks of CI
	$(MAKE) -j2 --output-sync=target tests others

.PHONY: tests others
tests: ; $(MAKE) race && $(MAKE) long
others: ; for target in format lint vulnerabilities fuzz schemas deploy-test; do $(MAKE) $$target; done

format: ## fail if gofmt would change a file, or go.mod is not tidy
	@files=$$(git ls-files '*.go'); test -n "$$files"; \
	ugly=$$(gofmt -l $$files); test -z "$$ugly" || { echo "$$ugly"; exit 1; }
	go mod verify
	@# Only go.mod is compared: go.sum also lists modules for tests of dependencies, which some proxies do not serve.
	@! { go mod tidy -e -diff 2>/dev/null || true; } | sed -n '/^diff .*go\.mod$$/,/^diff .*go\.sum$$/p' | grep '^[-+]'

vet: ## run go vet
	go vet ./...
	cd tools && go vet ./...
	cd tools/goreleaser && go vet ./...

lint: $(BIN)/golangci-lint ## run golangci-lint with .golangci.yml
	$(BIN)/golangci-lint run ./...
	cd tools && ../$(BIN)/golangci-lint run --config ../.golangci.yml ./...
	cd tools/goreleaser && ../../$(BIN)/golangci-lint run --config ../../.golangci.yml ./...

$(BIN)/golangci-lint:
	GOBIN=$(CURDIR)/$(BIN) CGO_ENABLED=0 go install $(GOLANGCI)

vulnerabilities: ## look for known vulnerabilities in the code that is used, if the database of Go can be reached
	@if curl --silent --fail --max-time 10 --output /dev/null https://vuln.go.dev/index/db.json; then \
	  test -x $(BIN)/govulncheck || GOBIN=$(CURDIR)/$(BIN) CGO_ENABLED=0 go install $(GOVULNCHECK); \
	  $(BIN)/govulncheck ./...; \
	else echo 'vulnerabilities: skipped, because https://vuln.go.dev cannot be reached from here'; fi

# The race detector skips SQLite itself, which is C translated to Go: it has its own locks, and
# checking it would take most of the time. The driver and our own code are checked.
RACE_FLAGS := -race $(foreach package,sqlite/lib libc/... memory,-gcflags=modernc.org/$(package)=-race=false)

race: ## run all tests with the race detector, shuffled; long loops are shortened
	go test $(RACE_FLAGS) -vet=off -short -shuffle=on -timeout 20m ./...

long: ## test presses and page scripts in real browsers, the accessibility of every page in four views, POPULATIONS random populations, a thousand agents who wait, and KILLS kills
	BRIDGE_TEST_BROWSERS=webkit,firefox,chromium BRIDGE_TEST_VIEWS=all BRIDGE_TEST_POPULATIONS=$(POPULATIONS) BRIDGE_TEST_AGENTS=1000 BRIDGE_TEST_KILLS=$(KILLS) go test -count=1 -timeout 20m \
	  -run '^(TestInEveryEngine|TestHostilePagesInEveryEngine|TestDemoInEveryEngine|TestPromise7NoWrongScreenInRandomPopulations|TestWaitingAgentsAreToldInTimeWithFewCalls|TestPromise4AcknowledgedDeliveriesSurviveKill9|TestEveryPageIsAccessible.*)$$' ./bridge ./cmd/bridge ./connectors/chatvisor ./connectors/rocketchat ./templates

soak: ## run the bridge for 20 minutes with load, failures, locks, restarts and kills
	BRIDGE_TEST_SOAK=20m go test -count=1 -v -timeout 40m -run '^TestSoak$$' ./cmd/bridge

# FUZZTIME is a number of runs: before Go 1.27 the end of a time limit sometimes counts as a
# failure (go.dev/issue/75804). `go test -fuzz` instruments every package. These flags instrument
# only ours: with SQLite instrumented, fuzzing is 50 times slower.
FUZZ_FLAGS := -vet=off -gcflags=cobrowse-bridge/...=-d=libfuzzer

fuzz: ## run every fuzz target, FUZZTIME each
	@built=$$(mktemp -d); trap 'rm -rf "$$built"' EXIT; \
	packages=$$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n 1 dirname | sort -u); \
	for package in $$packages; do \
	  go test -c $(FUZZ_FLAGS) -o "$$built/fuzz.test" "./$$package"; \
	  targets=$$(cd "$$package" && "$$built/fuzz.test" -test.list '^Fuzz'); \
	  for target in $$targets; do \
	    echo "fuzz $$package $$target"; \
	    (cd "$$package" && "$$built/fuzz.test" -test.run '^$$' -test.fuzz "^$$target$$" -test.fuzztime $(FUZZTIME) \
	      -test.fuzzminimizetime 1x -test.fuzzcachedir "$$(go env GOCACHE)/fuzz/$$package") 2>&1 | { grep -v '^fuzz: elapsed' || true; }; \
	  done; \
	done

schemas: ## check requests to Rocket.Chat and Slack against the vendors' schemas (needs npm)
	bash connectors/rocketchat/testdata/schemas/run.sh
	bash connectors/slack/testdata/types/run.sh

# -v prints why a test was skipped, for example because a program is not installed.
deploy-test: ## check deploy/ and releases with systemd-analyze, nginx, Caddy, promtool and the libraries of Compose, Kubernetes, Prometheus and goreleaser
	cd tools && go test -v ./... | { grep -Ev '^(=== | *--- PASS)' || true; }
	cd tools/goreleaser && go test ./...

caddy: ## build the Caddy that the tests of deploy/Caddyfile need, in bin/ (takes minutes)
	GOBIN=$(CURDIR)/$(BIN) CGO_ENABLED=0 go install $(CADDY)

image-test: image-files ## build the image with buildah and run it with a read-only root (needs root)
	bash tools/image-test.sh

bench: build ## measure the program (size, start, memory), then run the benchmarks, each compared with a baseline of the same run
	go run ./bridge/benchtest/program $(BIN)/bridge
	go test -run '^$$' -bench . -benchtime 5x -p 1 -timeout 30m ./bridge ./bridge/match ./bridge/store | go run ./bridge/benchtest/table

simulate: $(if $(BRIDGE),,build) ## measure the program under the load of a support team, in ten minutes: SIMULATE='-only desks -scale 0.2', BRIDGE=another program
	go run ./bridge/benchtest/simulate -bridge $(or $(BRIDGE),$(BIN)/bridge) $(SIMULATE)

# Equal sources give equal programs, in any folder. COMMIT and DATE (of the commit) are set here because
# the go command leaves them out with -buildvcs=false.
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

build: ## build a static binary in bin/
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN)/bridge ./cmd/bridge

rename: ## change the path of the module: make rename MODULE=example.org/team/cobrowse-bridge
	@test -n "$(MODULE)" || { echo 'make rename needs MODULE=, such as example.org/team/cobrowse-bridge'; exit 2; }
	@before=$$(go list -m); change() { xargs -0 sed -E -i.before "$$1"; }; \
	git ls-files -z '*.go' | change "s|\"$$before/|\"$(MODULE)/|g"; \
	git ls-files -z '*go.mod' | change "s#^(module|require|replace) $$before(/| |\$$)#\1 $(MODULE)\2#"; \
	git ls-files -z .golangci.yml Makefile | change "s#(pkg: |-gcflags=)$$before/#\1$(MODULE)/#"; \
	git ls-files -z | sed -z 's/$$/.before/' | xargs -0 rm -f

licenses: ## write THIRD_PARTY_LICENSES after a module was added or updated
	cd tools && go run ./licenses

# The unit and bridge-admin name the program as packages install it: iproute2 has a program called bridge.
PACKAGED := $(BIN)/package

package-files: build ## put what .goreleaser.yaml packs besides the program in bin/package/
	@rm -rf $(PACKAGED); mkdir -p $(PACKAGED)
	@for name in bridge cobrowse-bridge; do \
	  $(BIN)/bridge man --name $$name > $(PACKAGED)/$$name.1; \
	  for shell in bash zsh fish; do $(BIN)/bridge completion $$shell --name $$name > $(PACKAGED)/$$name.$$shell; done; \
	done
	gzip -9 -n $(PACKAGED)/cobrowse-bridge.1
	sed -e 1d -e 's|/usr/local/bin/bridge|/usr/bin/cobrowse-bridge|' deploy/bridge.service > $(PACKAGED)/bridge.service
	sed 's|/usr/local/bin/bridge|/usr/bin/cobrowse-bridge|' deploy/bridge-admin > $(PACKAGED)/bridge-admin
	@! grep -r /usr/local $(PACKAGED)

$(BIN)/goreleaser:
	GOBIN=$(CURDIR)/$(BIN) CGO_ENABLED=0 go install $(GORELEASER)

# CI does not run this: it builds a thousand packages for goreleaser and the bridge for four platforms, which
# takes ten minutes and more on a small machine. The tests in tools/ check the file and what it names.
# goreleaser needs a clone: it reads the address of the remote.
release-snapshot: $(BIN)/goreleaser ## build archives, packages and checksums in dist/, and publish nothing (the first time it takes long)
	$(BIN)/goreleaser check
	$(BIN)/goreleaser release --snapshot --clean

image-arguments: ## print the arguments with which docker build tells the program its version
	@echo --build-arg VERSION=$(VERSION) --build-arg REVISION=$(COMMIT) --build-arg DATE=$(DATE)

image-files: build ## put what deploy/Dockerfile copies with --target prebuilt in bin/image/
	@rm -rf $(BIN)/image; mkdir -p $(BIN)/image/data
	cp $(BIN)/bridge $(BIN)/image/bridge
	cp /etc/ssl/certs/ca-certificates.crt $(BIN)/image/

.PHONY: help demo screenshot test check format vet lint vulnerabilities race long soak fuzz schemas deploy-test caddy image-test bench simulate build rename licenses package-files release-snapshot image-arguments image-files
