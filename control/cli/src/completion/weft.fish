# Completion of weft commands in fish.
function __weft_complete
    set -l line (commandline --current-process --cut-at-cursor)
    set -l program (string match --regex --groups-only '(?:^|\s)(\S*weft)\s' -- "$line")[1]
    test -n "$program"; or set program weft
    $program complete fish "$line" 2>/dev/null
end
complete --command weft --no-files --arguments '(__weft_complete)'
