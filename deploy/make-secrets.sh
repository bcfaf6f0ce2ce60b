#!/bin/bash
# Makes the passwords of compose.yaml in the folder "secrets" beside this file. Existing ones stay.
set -euo pipefail
umask 077
cd "$(dirname "$0")"
# The containers have other users, who must read the files. Nobody else on this machine can enter the folder.
mkdir -p secrets
random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
kept=()
keep() { # FILE CONTENT
  if [[ -e secrets/$1 ]]; then kept+=("$1"); else printf %s "$2" >"secrets/$1"; fi
  chmod 444 "secrets/$1"
}
keep postgres-password "$(random)"
keep s3-access-key orthanc
keep s3-secret-key "$(random)"
keep probe "probe:$(random)"
admin=$(random)
made=$([[ -e secrets/registered-users ]] || echo yes)
probe=$(<secrets/probe)
keep registered-users "{\"admin\": \"$admin\", \"probe\": \"${probe#*:}\"}"
if [[ $made ]]; then echo "Orthanc's user is admin, the password is $admin"; fi
if ((${#kept[@]})); then
  echo "Kept as they are, in $PWD/secrets: ${kept[*]}"
  [[ $made ]] || echo "The password of Orthanc's user admin is in registered-users."
fi
