#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# install.sh GROUP...: installs what is missing on Debian or Ubuntu, and says nothing when nothing is.
#
#   build  a C and C++ compiler, Go, and the libraries that anchord links
#   test   what the tests on this machine need: PulseAudio, Chromium, network tools
#   cross  cross compilers for arm64 and ARMv7 (the libraries: see cross.sh)
#   rig    QEMU and what builds its guest
#
# Exit status: 0 all is there, 1 installing failed, 2 cannot install here (says what to install).
set -euo pipefail
shopt -s inherit_errexit
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/.ci/debian.sh"

go_needed=1.21 # the first that fetches the toolchain that go.mod asks for
host=$(uname -m)
case $host in x86_64) other=aarch64 ;; *) other=x86_64 ;; esac

say() { echo "install: $*" >&2; }
die() { say "$*"; exit 2; }
has() { command -v "$1" >/dev/null 2>&1; }
any() { local c; for c; do ! has "$c" || return 0; done; return 1; }

# want adds packages; want_cmd COMMANDS PACKAGES only when none of the commands is there, because
# such programs often come from elsewhere.
want() { packages+=("$@"); }
want_cmd() { any $1 || packages+=($2); }

go_good() {
	local v
	v=$(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
	v=${v#go}
	new_enough "${v%%[- ]*}"
}

new_enough() { case $1 in [0-9]*) [ "$(printf '%s\n' "$go_needed" "$1" | sort -V | sed -n 1p)" = "$go_needed" ] ;; *) false ;; esac; }

group() {
	case $1 in
	build)
		want gcc g++ libc6-dev make pkg-config ca-certificates libopenh264-dev libopus-dev libyuv-dev libturbojpeg0-dev
		want_cmd git git
		go_good || want golang-go
		;;
	test)
		want pulseaudio pulseaudio-utils fonts-wqy-zenhei iproute2 nftables
		want_cmd "chromium chromium-browser google-chrome google-chrome-stable" chromium
		want_cmd node nodejs
		want_cmd npm npm
		;;
	cross)
		if [ "$host" = aarch64 ]; then want gcc-x86-64-linux-gnu g++-x86-64-linux-gnu; else want gcc-aarch64-linux-gnu g++-aarch64-linux-gnu; fi
		want gcc-arm-linux-gnueabihf g++-arm-linux-gnueabihf
		;;
	rig)
		want qemu-system-arm e2fsprogs cpio kmod xz-utils make bc gcc libc6-dev libelf1 util-linux
		[ "$host" = aarch64 ] || want gcc-aarch64-linux-gnu
		;;
	rig-amd64)
		group rig
		want qemu-system-x86
		[ "$host" = x86_64 ] || want gcc-x86-64-linux-gnu
		;;
	*) die "no such group: $1 (build, test, cross, rig)" ;;
	esac
}

# missing keeps of the packages those that are not installed.
missing() {
	local p=("${packages[@]}") have
	packages=()
	[ ${#p[@]} -gt 0 ] || return 0
	have=$(dpkg-query -W -f '${db:Status-Status}:${Package}\n' "${p[@]}" 2>/dev/null || true)
	local x
	for x in "${p[@]}"; do
		case $x,$'\n'$have$'\n' in
		golang-go,*) packages+=("$x") ;; # wanted only when there is no Go that will do, installed or not
		*$'\n'installed:"$x"$'\n'*) ;;
		*) packages+=("$x") ;;
		esac
	done
}

collect() {
	local g
	packages=()
	for g; do group "$g"; done
	[ ${#packages[@]} = 0 ] || mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
	! has dpkg-query || missing
}

# elsewhere is for systems without apt-get: whatever can be found out without a package manager.
elsewhere() {
	local g lacks=()
	for g in "$@"; do
		case $g in
		build)
			for c in gcc g++ make pkg-config; do has $c || lacks+=($c); done
			go_good || lacks+=("go>=$go_needed")
			for l in openh264 opus libturbojpeg; do pkg-config --exists $l 2>/dev/null || lacks+=($l); done
			echo '#include <libyuv.h>' | ${CXX:-g++} -E -x c++ - >/dev/null 2>&1 || lacks+=(libyuv)
			;;
		test) for c in pulseaudio pactl node npm ip nft; do has $c || lacks+=($c); done
			any chromium chromium-browser google-chrome || lacks+=(chromium) ;;
		cross) for c in $other-linux-gnu-g++ arm-linux-gnueabihf-g++; do has $c || lacks+=($c); done ;;
		rig | rig-amd64) lacks+=("Debian: the rig is made of its packages") ;;
		esac
	done
	[ ${#lacks[@]} = 0 ] || die "no apt-get here; please install: ${lacks[*]} (on Debian the packages are: ${packages[*]})"
	exit 0
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# may_install ends the script where nobody can become root.
may_install() {
	local why
	if [ "$(id -u)" = 0 ]; then return; fi
	if ! has sudo; then why="there is no sudo"; elif ! sudo true; then why="sudo does not let you"; else return 0; fi
	say "missing packages: ${packages[*]}"
	die "installing them needs root, and $why; as root run: $root/.ci/install.sh ${groups[*]}"
}

apt() { # quiet, patient with other users of the package system, output shown on failure
	local try
	for try in 1 2 3 4 5 6 7 8 9 10 11 12; do
		if as_root env DEBIAN_FRONTEND=noninteractive "${proxies[@]}" apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -q -y "$@" >"$log" 2>&1; then return 0; fi
		grep -q 'Could not get lock' "$log" || return 1
		sleep 5
	done
	return 1
}

# golang prints what to install for Go. Where the distribution's is too old, Debian's backports, from
# the same archive as the machine's own suite, have a newer one.
golang() {
	local v code f=/etc/apt/sources.list.d/anchord-backports.sources
	v=$(apt-cache policy golang-go | sed -n 's/^  Candidate: \([0-9]*:\)\{0,1\}//p')
	if new_enough "$v"; then echo golang-go; return; fi
	code=$(. /etc/os-release && echo "$VERSION_CODENAME")
	debian_sources "$code" | awk -v RS= -v ORS='\n\n' 'NR == 1' | sed "s/^Suites:.*/Suites: $code-backports/" >"$log.sources"
	say "Go here is older than $go_needed: adding $code-backports in $f"
	as_root cp "$log.sources" "$f"
	as_root chmod 644 "$f"
	if apt update; then
		v=$(apt-cache policy golang-go)
		case $v in *~bpo*) echo "golang-go/$code-backports golang-src/$code-backports"; return ;; esac
	fi
	as_root rm -f "$f"
	die "Go $go_needed or newer is needed, and this distribution has none; install it from the Go project's downloads page, then try again"
}

[ $# -gt 0 ] || { sed -n '3,11s/^# \{0,1\}//p' "$0"; exit 2; }
groups=("$@")
collect "$@"
[ ${#packages[@]} -gt 0 ] || exit 0
has apt-get || elsewhere "$@"

mkdir -p "$anchord_cache"
exec 9>"$anchord_cache/install.lock"
flock 9
collect "$@"
[ ${#packages[@]} -gt 0 ] || exit 0
log=$(mktemp)
trap 'rm -f "$log" "$log.sources"' EXIT
may_install
proxies=() # sudo leaves them out
for v in http_proxy https_proxy no_proxy; do [ -z "${!v:-}" ] || proxies+=("$v=${!v}"); done
say "installing ${packages[*]}"
apt update || { say "some package lists could not be fetched, going on: $(grep -m1 "^Err:" "$log")"; }
final=()
for p in "${packages[@]}"; do
	if [ "$p" = golang-go ]; then
		g=$(golang) || exit $?
		final+=($g)
	else final+=("$p"); fi
done
apt install --no-install-recommends "${final[@]}" || { tail -n 15 "$log" >&2; say "could not install ${final[*]}"; exit 1; }
collect "$@"
if [ "${packages[*]}" = golang-go ]; then
	say "$(command -v go) is older than Go $go_needed: remove it, or put /usr/bin before it in PATH"
	exit 1
fi
[ ${#packages[@]} = 0 ] || { say "still missing: ${packages[*]}"; exit 1; }
