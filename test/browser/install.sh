#!/bin/sh
# install.sh puts the browser programs and what they need into a cache outside the checkout and prints the directory.
# It is made once for each package-lock.json; the programs themselves are copied each time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${ANCHORD_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/anchord}
key=$(cat "$here/package-lock.json" "$here/package.json" | sha256sum | cut -c1-16)
dir=$cache/browser-$key
mkdir -p "$cache"
exec 9>"$cache/browser.lock"
flock 9
if [ ! -e "$dir/.done" ]; then
    command -v npm >/dev/null || { echo "install.sh: npm is missing: apt-get install nodejs npm" >&2; exit 1; }
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$dir"
    (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    touch "$dir/.done"
fi
# Programs of two checkouts may differ, so each content has a folder of its own beside node_modules.
src=$dir/src-$(cat "$here"/*.mjs | sha256sum | cut -c1-16)
if [ ! -e "$src" ]; then
    tmp=$(mktemp -d "$dir/tmp.XXXXXX")
    cp "$here"/*.mjs "$here/package.json" "$tmp"
    chmod 755 "$tmp"
    mv "$tmp" "$src"
fi
echo "$src"
