#!/bin/bash
# The quick checks: format, vet, staticcheck, unit tests with the race detector.
set -euo pipefail
cd "$(dirname "$0")/.."
unformatted=$(gofmt -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || { echo "not formatted (gofmt -w): $unformatted" >&2; exit 1; }
go vet ./...
go vet -tags rig,e2e ./...
go tool staticcheck ./...
# Built side by side, run one after another: tests of sound and time need the machine for themselves.
packages=$(go list ./... | grep -v '/test/')
go test -race -run '^$' $packages >/dev/null
go test -race -p 1 -timeout 10m $packages
