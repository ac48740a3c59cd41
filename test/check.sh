#!/bin/bash
# The quick checks: format, vet, staticcheck, unit tests with the race detector.
set -euo pipefail
cd "$(dirname "$0")/.."
unformatted=$(gofmt -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || { echo "not formatted (gofmt -w): $unformatted" >&2; exit 1; }
go vet ./...
go vet -tags rig,e2e ./...
go tool staticcheck ./...
go test -race -timeout 10m $(go list ./... | grep -v '/test/')
