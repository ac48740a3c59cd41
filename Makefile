# anchord: make run, make test; the others are for developers. Each installs what it needs
# (Debian, Ubuntu).

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
export ANCHORD_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/anchord
OUT     := $(ANCHORD_CACHE)/bin
LDFLAGS := -s -w -X main.version=$(VERSION)
PKGS    := ./...

.PHONY: run build check test bench fuzz rig cross clean

run: build ## build all and show the live picture in a browser
	@exec $(OUT)/anchord -config configs/demo.toml

build: ## the daemon and anchorctl, for this machine, into $(OUT)
	@.ci/install.sh build
	@mkdir -p $(OUT)
	@go build -trimpath -ldflags '$(LDFLAGS)' -o $(OUT)/anchord ./cmd/anchord
	@ln -sf anchord $(OUT)/anchorctl

check: ## the quick one: format, vet, staticcheck, unit tests with the race detector
	@.ci/install.sh build test
	@test/check.sh

test: ## all tests but benchmarks
	@.ci/install.sh build test cross rig
	@test/all.sh

bench: ## speed, compared with peers in the same run
	@.ci/install.sh build test
	@go test -run '^$$' -bench . -benchmem ./internal/... ./capture ./encoder ./hal/... ./rtc/... ./cmd/... ./test/...

fuzz: ## each fuzz target for FUZZTIME (default 60s)
	@.ci/install.sh build
	@test/fuzz.sh $(or $(FUZZTIME),60s)

rig: ## the guest with virtual hardware
	@.ci/install.sh build cross rig
	@test/rig/rig.sh build

cross: ## static arm64 and ARMv7 daemons, into $(OUT)
	@.ci/install.sh build cross
	@mkdir -p $(OUT)
	@.ci/cross.sh arm64 $(OUT)/anchord-arm64
	@.ci/cross.sh armv7 $(OUT)/anchord-armv7

clean: ## what was built; downloads stay
	@rm -rf $(OUT)
