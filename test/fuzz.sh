#!/bin/bash
# fuzz.sh TIME: runs each fuzz target for TIME.
set -euo pipefail
cd "$(dirname "$0")/.."
for pkg in $(go list ./...); do
	for f in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "fuzz: $pkg $f"
		go test -run '^$' -fuzz "^$f\$" -fuzztime "$1" -fuzzminimizetime 1s "$pkg" | grep -E 'FAIL|panic|^ok' || exit 1
	done
done
