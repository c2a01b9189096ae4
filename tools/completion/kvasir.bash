# SPDX-License-Identifier: GPL-2.0-or-later
# bash: completes kvasir's verbs, options and names of machines; kvasir itself knows them.
# bash takes words apart at ":" and "=", so the line is looked at as a whole.
_kvasir()
{
    local line=${COMP_LINE:0:COMP_POINT} words=() options=() i=1
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local last=${words[-1]}
    while ((i < ${#words[@]} - 1)); do
        case ${words[i]} in
        -c | -e | -k | -K | -l | -o | -d) options+=("${words[@]:i:2}") && i=$((i + 2)) ;;
        -q | -r | -t) options+=("${words[i]}") && i=$((i + 1)) ;;
        *) break ;;
        esac
    done
    ((i < ${#words[@]})) || return
    mapfile -t COMPREPLY < <(kvasir "${options[@]}" complete -- "${words[@]:i}" 2>/dev/null)
    [ "${#COMPREPLY[@]}" = 0 ] && return
    if [ "${COMPREPLY[-1]}" = "<files>" ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$last")
        compopt -o filenames
    fi
    local kept=${last%"${last##*[:=]}"} # stays on the line, bash replaces what is behind it
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
complete -F _kvasir kvasir
