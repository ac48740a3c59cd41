# Completion of anchorctl for bash: eval "$(anchorctl completion bash)"
_anchorctl() {
	local i w head quoted join words=()
	# Bash parts words at = and : (COMP_WORDBREAKS), which anchorctl does not.
	for ((i = 1; i <= COMP_CWORD; i++)); do
		w=${COMP_WORDS[i]}
		if ((${#words[@]})) && [[ $join || $w == [=:]* ]]; then
			words[-1]+=$w
		else
			words+=("$w")
		fi
		[[ $w == *[=:] ]] && join=1 || join=
	done
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	-o | -socket | -token-file)
		compopt -o default
		return
		;;
	esac
	w=${words[-1]}
	[[ $w == *[\"\']* ]] && quoted=1
	head=${w%"${w##*[=:]}"}
	head=${head//[\"\'\\]/}
	words=("${words[@]//[\"\'\\]/}")
	mapfile -t COMPREPLY < <("$1" __complete -- "${words[@]}" 2>/dev/null)
	for i in "${!COMPREPLY[@]}"; do
		# What stands before the last = or : is no part of what bash replaces, unless in quotes.
		w=${COMPREPLY[i]}
		[[ $quoted ]] || w=${w#"$head"}
		[[ $quoted ]] || printf -v w %q "$w"
		COMPREPLY[i]=$w
	done
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _anchorctl anchorctl
