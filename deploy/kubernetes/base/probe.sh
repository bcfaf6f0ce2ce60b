#!/bin/bash
# Asks the Orthanc of this container one question: probe.sh /cloud-storage/ready. Succeeds if the answer is 200.
# It starts nothing but bash, base64 and cat, because it runs every few seconds. The password comes from a file, so it
# is in no argument and no manifest. PROBE_FILE: "user:password".
set -euo pipefail

credentials=$(<"${PROBE_FILE:-/run/secrets/probe}")
encoded=$(printf %s "$credentials" | base64 -w0)
exec 3<>"/dev/tcp/127.0.0.1/${ORTHANC__HTTP_PORT:-8042}"
printf 'GET %s HTTP/1.0\r\nConnection: close\r\nAuthorization: Basic %s\r\n\r\n' "$1" "$encoded" >&3
answer=$(cat <&3)
[[ $answer =~ ^HTTP/1\.[01]\ 200 ]] && exit
printf '%s\n' "$answer" # shown among the events of the pod
exit 1
