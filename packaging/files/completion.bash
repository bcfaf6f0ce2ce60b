# Completion of orthanc-cloud-storage for bash: commands, their options, and files.
_orthanc_cloud_storage() {
  local word=${COMP_WORDS[COMP_CWORD]}
  local -a shown
  if [[ $COMP_CWORD -gt 1 && $word != -* ]]; then
    compopt -o default
    COMPREPLY=()
    return
  fi
  if [[ $COMP_CWORD -eq 1 ]]; then
    shown=($(orthanc-cloud-storage --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p') --help --version)
  else
    shown=($(orthanc-cloud-storage "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u))
  fi
  COMPREPLY=($(compgen -W "${shown[*]}" -- "$word"))
}
complete -F _orthanc_cloud_storage orthanc-cloud-storage
