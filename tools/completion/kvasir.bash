# SPDX-License-Identifier: GPL-2.0-or-later
# bash: completes kvasir's verbs, options and names of machines; kvasir itself knows them.
_kvasir()
{
    local words=() options=() i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | -e | -k | -K | -l | -o | -d) [ "${#words[@]}" = 0 ] && options+=("${COMP_WORDS[i]}" "${COMP_WORDS[++i]}") ;;
        -q | -r | -t) [ "${#words[@]}" = 0 ] && options+=("${COMP_WORDS[i]}") ;;
        *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done
    mapfile -t COMPREPLY < <(kvasir "${options[@]}" complete -- "${words[@]}" "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null)
    if [ "${COMPREPLY[-1]}" = "<files>" ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
        compopt -o filenames
    fi
}
complete -F _kvasir kvasir
