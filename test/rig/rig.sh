#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rig.sh: a virtual hardware rig. Builds a QEMU guest from Debian packages, boots it without KVM and
# runs a command in it, printing its output; the exit status is the command's own (125: the guest
# ended without giving one, 124: time was up, 2: the rig itself cannot run).
#
#   rig.sh build [-a ARCH]                          everything up to the images; quick when nothing changed
#   rig.sh run   [-a ARCH] [options] -- COMMAND...  (a shell command line)
#   rig.sh clean
#
#   -a ARCH   arm64 (default) or amd64
#   -S        boot a complete system (systemd as init) instead of a bare shell
#   -s DIR    directory of this machine that is /host in the guest, read and write (default: an empty one
#             that is thrown away)
#   -t SEC    time limit of the guest (default 120)
#   -m MB     memory (default 1024)      -c N   CPUs (default 2)
#   -C SOCK   second serial port (guest /dev/ttyS1 on amd64, /dev/ttyS0 on arm64) on this unix
#             socket, QEMU listening
#   -f SPEC   forward a port, for instance tcp:127.0.0.1:8554-:554 (may be repeated)
#   -w        an i6300esb watchdog; QEMU ends (status 125) when it bites
#   -M SOCK   QEMU's monitor (QMP) on this unix socket
#   -k ARGS   more kernel command line
#   -q ARGS   more QEMU arguments
#
# In the guest /rig has the tools (vusb, vh264-helper), lib.sh with shell functions for tests, and tests/.
# The guest's disk is thrown away after each run. Runs may go side by side.
# Everything built is kept under ${ANCHORD_CACHE:-~/.cache/anchord}/rig.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../.ci/debian.sh"
. "$here/build.sh"
case $(uname -m) in x86_64) host=amd64 ;; aarch64) host=arm64 ;; *) host=$(uname -m) ;; esac
arch=arm64 init=run share= limit=120 mem=1024 cpus=2 ctl= wd= qmp= kargs= qargs= fwd=

say() { echo "rig: $*" >&2; }
die() { say "$*"; exit 2; }

# cleanup ends what this run started, whatever ended it.
cleanup() {
	trap - EXIT
	[ -z "${qemu:-}" ] || kill "$qemu" 2>/dev/null || true
	[ -z "${tail:-}" ] || kill "$tail" 2>/dev/null || true
	wait
	rm -rf "$D"
}

run() {
	local I Q con rc=0 d
	[ -e "$C/current/root.ext4" ] && [ -x "$C/tools/vusb" ] || die "no images for $arch: run '$0 build -a $arch' first"
	exec 8>>"$C/use.lock" # QEMU inherits it: a later build leaves these images alone
	flock -s 8
	I=$(readlink -f "$C/current")
	mkdir -p "$C/run"
	for d in "$C/run"/*; do # what a killed run could not remove
		[ ! -d "$d" ] || [ -d "/proc/${d##*/}" ] || rm -rf "$d"
	done
	D=$C/run/$$
	mkdir "$D"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	cp -r "$here"/guest/{run-init,run-systemd,lib.sh} "$here/tests" "$D/"
	cp -l "$C/tools"/* "$D/"
	mkdir "$D/host"
	[ -n "$share" ] || share=$D/host
	printf '%s\n' "$*" >"$D/cmd"
	: >"$D/out"
	case $arch in
	arm64) Q="qemu-system-aarch64 -M virt -cpu cortex-a72" con=ttyAMA0 ;;
	amd64) Q="qemu-system-x86_64 -M q35 -cpu max" con=ttyS0 ;;
	esac
	command -v "${Q%% *}" >/dev/null || die "no ${Q%% *}: run $(cd "$here/../.." && pwd)/.ci/install.sh rig"
	set -- -accel tcg,thread=multi -smp "$cpus" -m "$mem" -display none -monitor none -no-reboot
	set -- "$@" -kernel "$I/vmlinuz" -initrd "$I/initrd.img"
	case $init in
	run) set -- "$@" -append "console=$con quiet loglevel=5 $kargs" ;;
	systemd) set -- "$@" -append "console=$con quiet loglevel=5 rig.init=/lib/systemd/systemd $kargs" ;;
	esac
	# The output port is a file, not stdio: a chardev whose stdin ends counts as unplugged and blocks the guest.
	set -- "$@" -serial "file:$D/console" -device virtio-serial-pci -chardev "file,id=out,path=$D/out" -device virtserialport,chardev=out,name=rig.out \
		-drive "if=none,id=root,file=$I/root.ext4,format=raw,snapshot=on" -device virtio-blk-pci,drive=root \
		-virtfs "local,path=$share,mount_tag=host,security_model=none,multidevs=remap" \
		-virtfs "local,path=$D,mount_tag=rig,security_model=none,multidevs=remap" \
		-netdev "user,id=n0$fwd" -device virtio-net-pci,netdev=n0,romfile= -device virtio-rng-pci
	if [ -n "$ctl" ]; then
		set -- "$@" -chardev "socket,id=ctl,path=$ctl,server=on,wait=off"
		if [ "$arch" = arm64 ]; then set -- "$@" -device pci-serial,chardev=ctl; else set -- "$@" -serial chardev:ctl; fi
	fi
	[ -z "$wd" ] || set -- "$@" -device i6300esb -watchdog-action reset
	[ -z "$qmp" ] || set -- "$@" -qmp "unix:$qmp,server=on,wait=off"
	# Each dies with its parent, so that even SIGKILL to this script leaves nothing running.
	setpriv --pdeathsig TERM timeout -k 20 "$limit" setpriv --pdeathsig KILL $Q "$@" $qargs </dev/null >"$D/qemu.log" 2>&1 &
	qemu=$!
	setpriv --pdeathsig KILL tail -n +1 -f -s 0.1 --pid=$qemu "$D/out" 8>&- &
	tail=$!
	wait $qemu || rc=$?
	qemu=
	[ $rc != 137 ] || rc=124 # it did not even end when asked to
	wait $tail || true
	tail=
	if [ -s "$D/status" ]; then exit "$(cat "$D/status")"; fi
	[ $rc != 124 ] || say "time was up after $limit s"
	[ $rc = 124 ] || say "the guest ended without a status (qemu $rc); its last words:"
	tail -n 15 "$D/console" "$D/qemu.log" >&2 || true
	[ $rc != 124 ] || exit 124
	exit 125
}

what=${1:-}
[ $# = 0 ] || shift
while getopts a:Ss:t:m:c:C:f:wM:k:q: o; do
	case $o in
	a) arch=$OPTARG ;; S) init=systemd ;; s) share=$(readlink -e "$OPTARG") || die "no directory $OPTARG" ;; t) limit=$OPTARG ;; m) mem=$OPTARG ;;
	c) cpus=$OPTARG ;; C) ctl=$OPTARG ;; f) fwd=$fwd,hostfwd=$OPTARG ;; w) wd=1 ;; M) qmp=$OPTARG ;; k) kargs=$OPTARG ;; q) qargs=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
case $arch in arm64 | amd64) ;; *) die "no such architecture: $arch (arm64 or amd64)" ;; esac
C=$anchord_cache/rig/$arch
case $what in
build) build ;;
run) run "$@" ;;
clean) rm -rf "$anchord_cache/rig" ;;
*) sed -n '3,29s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
