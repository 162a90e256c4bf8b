# Completion of weft commands in bash 4.4 and later.
_weft() {
    mapfile -t COMPREPLY < <("$1" complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    # More follows behind a directory or a flag with its value.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace
    fi
}
complete -F _weft weft
