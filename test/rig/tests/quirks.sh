#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each parameter of vh264 does what the README says. Arguments are those of a Go test: -test.run, -test.v.
set -eu
. /rig/lib.sh
/rig/quirks.test -test.failfast=false -test.timeout 10m "$@"
# Nothing of it is left in the kernel's log.
! dmesg | grep -E 'WARNING|BUG|Oops|refcount' || die "the kernel complains"
