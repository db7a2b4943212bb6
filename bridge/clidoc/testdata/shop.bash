# Completion of corner-shop for bash.
_corner_shop() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' words='' files='' i
  if [[ $cur == = ]]; then cur=''; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command ${COMP_WORDS[i]}" in
      ' open' | ' stock' | ' paint' | 'stock list' | 'stock import') command="${command:+$command }${COMP_WORDS[i]}" ;;
    esac
  done
  case "$command $prev" in
    'open --door') words='front back' ;;
    'stock import --ledger') files=yes ;;
    'stock list --since' | 'stock list --only') ;;
    *)
      case $command in
        '') words='open stock paint --help' ;;
        'open') words='--help --door --loud' ;;
        'stock') words='list import --help' ;;
        'stock list') words='--help --since --only' ;;
        'stock import') words='--help --ledger'; files=yes ;;
        'paint') words='red green --help' ;;
      esac
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [[ -n $files && $cur != -* ]]; then COMPREPLY=(); compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$cur")); fi
}
complete -F _corner_shop corner-shop
