#!/bin/bash
# All tests but soak and benchmarks, a line a step with its time. One after another: guests and
# browsers need the machine for themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

step() {
	local name=$1 begun=$SECONDS
	shift
	echo "== $name"
	"$@"
	echo "== $name: $((SECONDS - begun)) s"
}

kernel() { # the conformance suites on kernel devices, in the guest
	local p
	for p in v4l2 accel; do TAGS=rig .ci/cross.sh -t arm64 ./hal/$p "$scratch/$p.test"; done
	cp -r hal/accel/testdata "$scratch/"
	test/rig/rig.sh run -t 900 -s "$scratch" -- 'cd /host && ./v4l2.test && ./accel.test'
}

step 'checks and unit tests (race detector)' test/check.sh
step 'the whole and its rules' go test -count=1 ./test
step 'viewer page in Chromium' go test -count=1 -timeout 10m ./test/browser
step 'daemon, PulseAudio, Chromium, receiver' go test -count=1 -v -timeout 15m ./test/e2e
step 'guest: build' test/rig/rig.sh build
step 'guest: kernel devices' kernel
step 'guest: daemon on arm64 and ARMv7' go test -count=1 -v -tags e2e -timeout 20m ./test/guest
echo "all passed in $SECONDS s"
