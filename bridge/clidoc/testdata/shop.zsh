#compdef corner-shop
# Completion of corner-shop for zsh.
_corner_shop() {
  local command='' prev=${words[CURRENT-1]} i
  local -a offered
  if [[ ${words[CURRENT]} == --*=* ]]; then prev=${words[CURRENT]%%=*}; compset -P '*='; fi
  for ((i = 2; i < CURRENT; i++)); do
    case "$command ${words[i]}" in
      ' open' | ' stock' | ' paint' | 'stock list' | 'stock import') command="${command:+$command }${words[i]}" ;;
    esac
  done
  case "$command $prev" in
    'open --door') compadd -- front back ;;
    'stock import --ledger') _files ;;
    'stock list --since' | 'stock list --only') ;;
    *)
      case $command in
        '')
          offered=(
            'open:Open the shop'
            'stock:Change what is in stock'
            'paint:Paint the shop'
            '--help:Show context-sensitive help'
          )
          ;;
        'open')
          offered=(
            '--help:Show context-sensitive help'
            '--door:Which door'
            '--loud:Don'\''t be quiet'
          )
          ;;
        'stock')
          offered=(
            'list:List the goods'
            'import:Read goods from a file'
            '--help:Show context-sensitive help'
          )
          ;;
        'stock list')
          offered=(
            '--help:Show context-sensitive help'
            '--since:Only goods after this time'
            '--only:Only these kinds, e.g'
          )
          ;;
        'stock import')
          offered=(
            '--help:Show context-sensitive help'
            '--ledger:File to write to'
          )
          _files
          ;;
        'paint')
          offered=(
            'red'
            'green'
            '--help:Show context-sensitive help'
          )
          ;;
      esac
      _describe 'corner-shop' offered
      ;;
  esac
}
if [[ ${funcstack[1]} == _corner_shop ]]; then _corner_shop "$@"; else compdef _corner_shop corner-shop; fi
