#!/bin/sh
# Installs orthanc-cloud-storage from this folder, or removes it again. It says each file that it writes or removes.
#   ./install.sh              install, or replace an older version
#   ./install.sh --uninstall  remove exactly what was installed. The sample configuration stays when it was changed
#   ./install.sh --dry-run    only say what would be done
# DESTDIR=/some/tree does it in another tree than /.
set -eu
cd "$(dirname "$0")"
list=usr/lib/orthanc-cloud-storage/installed.txt
sample=etc/orthanc/cloud-storage.json
root=${DESTDIR:-}
dry=
action=install
for option in "$@"; do
  case $option in
    --uninstall) action=uninstall ;;
    --dry-run) dry=1 ;;
    *) sed -n '2,6s/^# \{0,1\}//p' install.sh; exit 2 ;;
  esac
done

do_it() {
  echo "$*"
  [ -n "$dry" ] || "$@"
}

if [ -z "$dry" ] && [ ! -w "${root:-/}" ]; then
  echo "This needs the rights to write below ${root:-/}: run it as root, or with sudo." >&2
  exit 1
fi

if [ $action = install ]; then
  find usr etc -type f | sort | while read -r file; do
    if [ "$file" = "$sample" ] && [ -e "$root/$file" ]; then
      echo "keep $root/$file"
      continue
    fi
    case $file in */node | */cli.mjs | usr/bin/*) mode=755 ;; *) mode=644 ;; esac
    # A running Orthanc keeps the old file until it ends.
    do_it install -D -m $mode "$file" "$root/$file.new"
    do_it mv -f "$root/$file.new" "$root/$file"
  done
  [ -n "$dry" ] || find usr etc -type f | sort > "$root/$list"
  echo "Installed. Name one provider in Orthanc's configuration (see $root/$sample) and restart Orthanc."
else
  if [ ! -e "$root/$list" ]; then
    echo "Nothing is installed: there is no $root/$list." >&2
    exit 1
  fi
  while read -r file; do
    if [ "$file" = "$sample" ] && ! cmp -s "$file" "$root/$file"; then
      echo "keep $root/$file, which was changed"
      continue
    fi
    do_it rm -f "$root/$file"
  done < "$root/$list"
  do_it rm -f "$root/$list"
  [ -n "$dry" ] || rmdir "$root/usr/lib/orthanc-cloud-storage" 2> /dev/null || true
  echo 'Removed. Nothing in the object storage was touched.'
fi
