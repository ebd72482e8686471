# The README's second command is `make test`. Everything else here is for those who change the program.

GO            ?= go
GOLANGCI      := $(shell $(GO) env GOPATH)/bin/golangci-lint
GOLANGCI_VER  := v2.15.0
FUZZTIME      ?= 10m

.PHONY: test build tools peers fmt vet lint unit fuzz bench

# test installs what the tests need, then formatting, vet, lint with the import floors, and every test with the race detector.
test: peers tools fmt vet lint unit

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
	$(GO) test -race -timeout 12m ./...

# Each fuzz target for FUZZTIME; results belong in docs/fuzzing.md.
fuzz:
	scripts/fuzz-all $(FUZZTIME)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...
