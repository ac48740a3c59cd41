#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cross.sh: builds the stripped, fully static anchord, or a test binary, for another machine.
#
#   cross.sh ARCH OUT                ./cmd/anchord, or the package in $PKG
#   cross.sh -t ARCH ./package OUT   that package's tests (go test -c); $TAGS are more build tags
#
# ARCH is arm64, armv7 or amd64. The C libraries come from the machine's Debian archive and are
# unpacked, not installed, under ${ANCHORD_CACHE:-~/.cache/anchord}/sysroot; everything is linked
# statically because old boxes have old C libraries. Needs the packages of `install.sh cross`.
set -euo pipefail
shopt -s inherit_errexit
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/.ci/debian.sh"

# What anchord links, and what those archives need in turn (libyuv decodes JPEG by libjpeg).
libraries="libopenh264-dev libopus-dev libyuv-dev libturbojpeg0-dev libjpeg62-turbo-dev"
archives="openh264 opus yuv turbojpeg jpeg"

die() { echo "cross: $*" >&2; exit 2; }

tests=
[ "${1:-}" != -t ] || { tests=1; shift; }
[ $# = $((2 + ${tests:-0})) ] || { sed -n '3,10s/^# \{0,1\}//p' "$0"; exit 2; }
arch=$1
case $arch in
arm64) deb=arm64 goarch=arm64 triplet=aarch64-linux-gnu ;;
armv7) deb=armhf goarch=arm triplet=arm-linux-gnueabihf ;;
amd64) deb=amd64 goarch=amd64 triplet=x86_64-linux-gnu ;;
*) die "no such architecture: $arch (arm64, armv7, amd64)" ;;
esac
if [ -n "$tests" ]; then pkg=$2 out=$3; else pkg=${PKG:-./cmd/anchord} out=$2; fi
command -v $triplet-gcc >/dev/null && command -v $triplet-g++ >/dev/null || die "no $triplet-g++: run $root/.ci/install.sh cross"

# sysroot DEB: the libraries of that architecture, in a directory named after their exact versions.
sysroot() {
	local list=$anchord_cache/sysroot/$deb.list dir new f
	mkdir -p "$anchord_cache/sysroot"
	debian_list -n "$deb" "$list" $libraries
	dir=$anchord_cache/sysroot/$deb-$(cat "$list" "$0" | sha256sum | cut -c1-16)
	if [ ! -d "$dir" ]; then
		debian_fetch "$deb" "$list"
		new=$(mktemp -d "$anchord_cache/sysroot/.new-XXXXXX")
		while read -r f; do dpkg-deb -x "$debian_pool/$f" "$new"; done <"$list"
		mkdir "$new/static" # only archives: with no .so in sight the linker cannot take one
		for f in $archives; do
			[ -e "$new/usr/lib/$triplet/lib$f.a" ] || { rm -rf "$new"; die "the archive's packages have no lib$f.a for $deb"; }
			cp "$new/usr/lib/$triplet/lib$f.a" "$new/static/"
		done
		rm -rf "$anchord_cache/sysroot/$deb-"*
		mv "$new" "$dir"
	fi
	echo "$dir"
}

mkdir -p "$anchord_cache"
exec 9>"$anchord_cache/sysroot.lock"
flock 9
sys=$(sysroot)
exec 9>&-

version=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
export GOOS=linux GOARCH=$goarch GOARM=7 CGO_ENABLED=1 CC=$triplet-gcc CXX=$triplet-g++
export PKG_CONFIG_LIBDIR=$sys/usr/lib/$triplet/pkgconfig:$sys/usr/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$sys
export CGO_CFLAGS="-O2 -g0 -I$sys/usr/include -I$sys/usr/include/$triplet" CGO_CXXFLAGS="-O2 -g0 -I$sys/usr/include -I$sys/usr/include/$triplet"
export CGO_LDFLAGS="-L$sys/static"
# Without sqlite_omit_load_extension SQLite calls dlopen, which a static program cannot use.
tags=osusergo,netgo,sqlite_omit_load_extension${TAGS:+,$TAGS}
# Archives are searched in order: what OpenH264 and libyuv need themselves comes last.
flags="-s -w -linkmode external -X main.version=$version -extldflags '-static -L$sys/static -ljpeg -lstdc++ -lm -lpthread'"
out=$(realpath -m "$out")
mkdir -p "$(dirname "$out")"
cd "$root"
if [ -n "$tests" ]; then
	go test -c -trimpath -tags "$tags" -ldflags "$flags" -o "$out" "$pkg"
else
	go build -trimpath -tags "$tags" -ldflags "$flags" -o "$out" "$pkg"
fi
[ -e "$out" ] || die "$pkg has no tests"
needed=$($triplet-readelf -d "$out" | sed -n '/NEEDED/p')
[ -z "$needed" ] || die "$out is not static: $needed"
echo "$out: $arch, $(stat -c %s "$out") bytes"
