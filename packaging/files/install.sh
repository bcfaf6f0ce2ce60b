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

# $1: the file here, $2: its mode. A running Orthanc keeps the old file until it ends.
put() {
  echo "write $root/$1"
  [ -z "$dry" ] || return 0
  install -D -m "$2" "$1" "$root/$1.new"
  mv -f "$root/$1.new" "$root/$1"
}

remove() {
  echo "remove $root/$1"
  [ -n "$dry" ] || rm -f "$root/$1"
}

# What is installed: files, and folders (with a "/" at the end) that were not there before.
content() {
  find usr etc -type f
  find usr etc -type d | while read -r folder; do
    if [ ! -d "$root/$folder" ] || grep -qsx "$folder/" "$root/$list"; then echo "$folder/"; fi
  done
}

if [ -z "$dry" ] && [ ! -w "${root:-/}" ]; then
  echo "This needs the rights to write below ${root:-/}: run it as root, or with sudo." >&2
  exit 1
fi

if [ $action = install ]; then
  if [ -z "$root" ] && dpkg-query -W -f '${db:Status-Status}' orthanc-cloud-storage 2> /dev/null | grep -qx installed; then
    echo 'The Debian package orthanc-cloud-storage is installed. Update that one, or remove it first.' >&2
    exit 1
  fi
  new=$(content | sort)
  old=$(cat "$root/$list" 2> /dev/null || true)
  find usr etc -type f | sort | while read -r file; do
    if [ "$file" = "$sample" ] && [ -e "$root/$file" ]; then
      echo "keep $root/$file"
      continue
    fi
    case $file in */node | */cli.mjs | usr/bin/*) mode=755 ;; *) mode=644 ;; esac
    put "$file" $mode
    # Keys will be in it: it is for Orthanc alone.
    if [ "$file" = "$sample" ] && [ -z "$root$dry" ] && getent group orthanc > /dev/null; then
      chgrp orthanc "/$file"
      chmod 640 "/$file"
    fi
  done
  # What only the older version had.
  echo "$old" | while read -r file; do
    case $file in '' | */ | "$sample") continue ;; esac
    [ -e "$file" ] || remove "$file"
  done
  [ -n "$dry" ] || echo "$new" > "$root/$list"
  if [ -n "$dry" ]; then
    echo 'Nothing was done.'
  elif [ -n "$old" ]; then
    echo 'Updated. Restart Orthanc: until then it runs the version before.'
  else
    echo "Installed. Name one provider in Orthanc's configuration (see $root/$sample) and restart Orthanc."
  fi
else
  if [ ! -e "$root/$list" ]; then
    echo "Nothing is installed: there is no $root/$list." >&2
    exit 1
  fi
  old=$(cat "$root/$list")
  echo "$old" | while read -r file; do
    case $file in */) continue ;; esac
    if [ "$file" = "$sample" ] && [ -e "$root/$file" ] && ! cmp -s "$file" "$root/$file"; then
      echo "keep $root/$file, which was changed"
      continue
    fi
    remove "$file"
  done
  remove "$list"
  echo "$old" | grep '/$' | sort -r | while read -r folder; do
    [ -n "$dry" ] || rmdir "$root/$folder" 2> /dev/null || true # others may have files there
  done
  if [ -n "$dry" ]; then
    echo 'Nothing was done.'
  else
    echo 'Removed. Nothing in the object storage was touched. An Orthanc that runs goes on with it until it is restarted.'
  fi
fi
