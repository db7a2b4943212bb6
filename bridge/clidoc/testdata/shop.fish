# Completion of corner-shop for fish.
function __corner_shop_at
    set -l command ''
    for word in (commandline -opc)[2..-1]
        switch "$command $word"
            case ' open' ' stock' ' paint' 'stock list' 'stock import'
                set command (string trim -- "$command $word")
        end
    end
    test "$command" = "$argv"
end
complete -c corner-shop -f
complete -c corner-shop -n '__corner_shop_at' -a open -d 'Open the shop'
complete -c corner-shop -n '__corner_shop_at' -a stock -d 'Change what is in stock'
complete -c corner-shop -n '__corner_shop_at' -a paint -d 'Paint the shop'
complete -c corner-shop -n '__corner_shop_at' -l help -d 'Show context-sensitive help'
complete -c corner-shop -n '__corner_shop_at open' -l help -d 'Show context-sensitive help'
complete -c corner-shop -n '__corner_shop_at open' -l door -x -a 'front back' -d 'Which door'
complete -c corner-shop -n '__corner_shop_at open' -l loud -d 'Don\'t be quiet'
complete -c corner-shop -n '__corner_shop_at stock' -a list -d 'List the goods'
complete -c corner-shop -n '__corner_shop_at stock' -a import -d 'Read goods from a file'
complete -c corner-shop -n '__corner_shop_at stock' -l help -d 'Show context-sensitive help'
complete -c corner-shop -n '__corner_shop_at stock list' -l help -d 'Show context-sensitive help'
complete -c corner-shop -n '__corner_shop_at stock list' -l since -x -d 'Only goods after this time'
complete -c corner-shop -n '__corner_shop_at stock list' -l only -x -d 'Only these kinds, e.g'
complete -c corner-shop -n '__corner_shop_at stock import' -F
complete -c corner-shop -n '__corner_shop_at stock import' -l help -d 'Show context-sensitive help'
complete -c corner-shop -n '__corner_shop_at stock import' -l ledger -r -F -d 'File to write to'
complete -c corner-shop -n '__corner_shop_at paint' -a 'red green'
complete -c corner-shop -n '__corner_shop_at paint' -l help -d 'Show context-sensitive help'
