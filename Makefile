# The README's second command is `make test`. Everything else here is for those who change the program.

GO            ?= go
GOLANGCI      := $(shell $(GO) env GOPATH)/bin/golangci-lint
GOLANGCI_VER  := v2.15.0
FUZZTIME      ?= 10m

CUTS          ?= 100
KILLS         ?= 200
HOURS         ?= 1000
LIVES         ?= 20
MESSAGES      ?= 100000
SOAK          ?= 1h

.PHONY: verify vuln licences powercut crash cluster soak sim test build tools peers fmt vet lint unit fuzz bench deb release test-release test-deb test-container

# test installs what the tests need, then formatting, vet, lint with the import floors, and every test with the race detector.
test: peers tools fmt vet lint verify unit

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o backbone ./cmd/backbone

# The programs that the integration tests talk to. A missing one is an error, never a skipped test.
peers:
	scripts/install-peers

tools: $(GOLANGCI)
$(GOLANGCI):
	$(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VER)

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt-clean:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

lint: tools
	$(GOLANGCI) run ./...

unit:
	@scripts/can-cut-power ext4 || true
	$(GO) test -race -timeout 12m ./...
	cd tools && $(GO) vet ./... && $(GO) test ./...

# What lies in the module cache is what go.sum says.
verify:
	$(GO) mod verify
	cd tools && $(GO) mod verify

# Known faults in what the program calls, after the Go project's database (vuln.go.dev, which must be reachable).
vuln:
	$(GO) tool -modfile=tools/go.mod govulncheck ./...

# docs/licences.md anew, after a module came, went or changed.
licences:
	mkdir -p dist && (cd tools && $(GO) build -o ../dist/components ./components) && dist/components licences >docs/licences.md

# Each fuzz target for FUZZTIME; results belong in docs/fuzzing.md.
fuzz:
	scripts/fuzz-all $(FUZZTIME)

# The campaigns; what they showed is in docs/crash.md. powercut needs root and loop devices, and says so where they are missing.
powercut:
	CUTS=$(CUTS) $(GO) test -count=1 -timeout 3h -v -run TestPowerCut ./integration

# kill -9 of the whole program, KILLS times, under load on all sources at once; then of a queue's PostgreSQL.
crash:
	KILLS=$(KILLS) $(GO) test -count=1 -timeout 3h -v -run 'TestKilledWith9' ./integration
	$(GO) test -count=1 -timeout 3h -v -run TestAServerThatDies ./queue/pgqueue -kills $(KILLS)

# Two sites under load for SOAK: kills, outages, then what they take early and late. For the nightly run.
soak:
	SOAK=$(SOAK) $(GO) test -count=1 -timeout 24h -v -run 'TestSoak$$' ./integration

# Three gateways on one queue in PostgreSQL, with MESSAGES messages: one dies, one stops and wakes up, the primary fails.
cluster:
	MESSAGES=$(MESSAGES) $(GO) test -count=1 -timeout 3h -v -run TestThreeGatewaysOnOneQueue ./integration

# LIVES lives of HOURS virtual hours each.
sim:
	$(GO) test -count=1 -timeout 6h -v -run TestSimulatedLives ./gateway -sim.runs $(LIVES) -sim.hours $(HOURS)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# The Debian package for this machine; programs, archives and packages for every architecture. Both in dist/.
deb:
	ARCHES=$$(dpkg --print-architecture) scripts/release dist
release:
	scripts/release dist

# Two releases of one commit must not differ in a single octet.
test-release:
	rm -rf dist/first dist/second
	scripts/release dist/first && cd / && "$(CURDIR)/scripts/release" "$(CURDIR)/dist/second"
	cmp dist/first/SHA256SUMS dist/second/SHA256SUMS

# Installs, upgrades, removes and purges the package on this machine, as root.
test-deb:
	scripts/test-deb

# The Containerfile's steps without an engine, and the image's root at work, as root.
test-container:
	scripts/test-container
