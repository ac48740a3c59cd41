# SPDX-License-Identifier: Apache-2.0
# debian.sh: packages of the machine's own Debian (or Ubuntu) archive, for any architecture, without
# touching the machine: apt runs with a state directory of its own, so that nothing is installed, no
# foreign architecture is added, no root is needed and third-party suites have no say.
# To be sourced by bash scripts.
#
#   debian_sources [SUITE...]       the machine's sources of those suites, as deb822 stanzas
#   debian_list ARCH OUT PKG...     write the file names of the packages and all they depend on to OUT
#   debian_list -n ARCH OUT PKG...  the same without what they depend on
#   debian_fetch ARCH LIST          download such a list into $debian_pool
#
# The lists of packages are fetched once a week, when DEBIAN_FRESH=1, and after a download that failed.
# DEBIAN_SOURCES names a sources file to use instead of the machine's own.
# Scripts may use it side by side; whoever makes files from the packages holds a lock of their own.

export LC_ALL=C # what apt says is read by programs here

anchord_cache=${ANCHORD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/anchord}
debian_pool=$anchord_cache/debs

# debian_sources prints the stanzas of every sources file that name the archive's suites and its
# component main. Third-party archives name either other suites or other components.
debian_sources() {
	local code files=()
	code=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	[ $# -gt 0 ] || set -- "$code" "$code-updates" "$code-security"
	if [ -n "${DEBIAN_SOURCES:-}" ]; then files=("$DEBIAN_SOURCES"); else
		shopt -s nullglob
		files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources)
		shopt -u nullglob
	fi
	local f
	for f in "${files[@]}"; do
		[ -r "$f" ] || continue
		awk -v wanted="$*" -v deb822="$([ "${f%.sources}" = "$f" ] || echo 1)" '
			function emit(uri, suites, comps, key,   n, a, i, s, main, c) {
				n = split(suites, a, " "); s = ""
				for (i = 1; i <= n; i++) if (a[i] in want) s = s " " a[i]
				n = split(comps, a, " "); main = 0; c = ""
				for (i = 1; i <= n; i++) if (a[i] == "main" || a[i] == "universe") { c = c " " a[i]; if (a[i] == "main") main = 1 }
				if (uri == "" || s == "" || !main) return
				printf "Types: deb\nURIs:%s\nSuites:%s\nComponents:%s\n", uri, s, c
				if (key != "") printf "Signed-By:%s\n", key
				print ""
			}
			function flush() { if (f["enabled"] !~ /no/ && " " f["types"] " " ~ / deb /) emit(f["uris"], f["suites"], f["components"], f["signed-by"]); delete f; last = "" }
			BEGIN { n = split(wanted, w, " "); for (i = 1; i <= n; i++) want[w[i]] = 1 }
			/^[ \t]*#/ { next }
			deb822 && /^[ \t]*$/ { flush(); next }
			deb822 && /^[ \t]/ { f[last] = f[last] "\n" $0; next }
			deb822 { k = tolower($1); sub(/:.*/, "", k); v = $0; sub(/^[^:]*:[ \t]*/, "", v); f[k] = " " v; last = k; next }
			$1 == "deb" {
				key = ""; line = $0
				if (match(line, /\[[^]]*\]/)) {
					o = substr(line, RSTART + 1, RLENGTH - 2); line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
					if (match(o, /signed-by=[^ ]*/)) key = " " substr(o, RSTART + 10, RLENGTH - 10)
				}
				n = split(line, a, " "); comps = ""
				for (i = 4; i <= n; i++) comps = comps " " a[i]
				emit(" " a[2], a[3], comps, key)
			}
			END { if (deb822) flush() }' "$f"
	done
}

# debian_apt ARCH TOOL ARGS...: apt-get or apt-cache with the private state.
debian_apt() {
	local a=$1 tool=$2 d=$anchord_cache/apt-$1
	shift 2
	"$tool" -o Dir::State="$d" -o Dir::State::status="$d/status" -o Dir::Cache="$d" -o Dir::Cache::archives="$debian_pool" \
		-o Dir::Etc::sourcelist="$d/debian.sources" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null -o APT::Architecture="$a" -o APT::Architectures="$a" -o APT::Sandbox::User=root \
		-o APT::Install-Recommends=false -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o Acquire::Retries=3 -o Debug::NoLocking=true "$@"
}

# debian_locked ARCH COMMAND...: one at a time for that architecture's state.
debian_locked() {
	mkdir -p "$anchord_cache/apt-$1/lists/partial" "$debian_pool/partial"
	(
		flock 7
		"${@:2}"
	) 7>"$anchord_cache/apt-$1/lock"
}

# debian_update ARCH brings the lists up to date.
debian_update() {
	local d=$anchord_cache/apt-$1 log try
	command -v apt-get >/dev/null || { echo "${0##*/}: this needs Debian or Ubuntu (no apt-get here)" >&2; return 2; }
	if [ "${DEBIAN_FRESH:-}" != 1 ] && [ -n "$(find "$d/fetched" -mtime -7 2>/dev/null)" ]; then return 0; fi
	: >"$d/status"
	debian_sources >"$d/debian.sources"
	[ -s "$d/debian.sources" ] || { echo "${0##*/}: the apt sources of this machine name no Debian suite; give a sources file in DEBIAN_SOURCES" >&2; return 2; }
	log=$d/update.log
	for try in 1 2 3; do # a mirror in the middle of its own update gives sums that do not match
		if debian_apt "$1" apt-get -q update >"$log" 2>&1 && ! grep -q '^E:' "$log" && compgen -G "$d/lists/*Packages*" >/dev/null; then
			touch "$d/fetched"
			return 0
		fi
	done
	if compgen -G "$d/lists/*Packages*" >/dev/null; then # enough to try with; what is really missing shows later
		echo "${0##*/}: not all package lists for $1 could be fetched: $(grep -m1 '^Err:' "$log")" >&2
		touch "$d/fetched"
		return 0
	fi
	tail -n 5 "$log" >&2
	echo "${0##*/}: cannot fetch the package lists for $1" >&2
	return 1
}

# debian_list [-n] ARCH OUT PKG... : the file names, which carry the versions, are the whole identity.
debian_list() {
	local how=install
	[ "$1" != -n ] || { how=download; shift; }
	local arch=$1 out=$2 none=$anchord_cache/apt-$1/none
	shift 2
	debian_locked "$arch" debian_update "$arch" || return
	if [ "$out" -nt "$anchord_cache/apt-$arch/fetched" ] && [ "$(cat "$out.for" 2>/dev/null)" = "$how $*" ]; then return 0; fi
	mkdir -p "$none/partial" # apt leaves out what it finds in its archive directory, so show it an empty one
	if ! { debian_apt "$arch" apt-get -o Dir::Cache::archives="$none" -q -y "$how" --print-uris "$@" |
		sed -n "s/^'[^']*' \([^ ]*\) .*/\1/p" | sort >"$out.new"; } 2>"$out.err" || [ ! -s "$out.new" ]; then
		tail -n 5 "$out.err" >&2
		rm -f "$out.new" "$out.err"
		echo "${0##*/}: the archive has no installable $*" >&2
		return 1
	fi
	rm -f "$out.err"
	mv "$out.new" "$out"
	echo "$how $*" >"$out.for"
}

# debian_fetch ARCH LIST: the files of LIST, made by debian_list, are in the pool afterwards.
debian_fetch() {
	local arch=$1 list=$2 log=$anchord_cache/apt-$1/fetch.log f n want=()
	while read -r f; do
		[ ! -s "$debian_pool/$f" ] || continue
		n=${f%_*} # NAME_VERSION, with the epoch's colon escaped
		n=${n#*_}
		want+=("${f%%_*}=${n//%3a/:}")
	done <"$list"
	[ ${#want[@]} -gt 0 ] || return 0
	if (cd "$debian_pool" && debian_locked "$arch" debian_apt "$arch" apt-get -q -y download "${want[@]}") >"$log" 2>&1; then return 0; fi
	tail -n 5 "$log" >&2
	rm -f "$anchord_cache/apt-$arch/fetched" # perhaps the lists are out of date: the next call fetches them
	echo "${0##*/}: cannot download packages for $arch; try again" >&2
	return 1
}
