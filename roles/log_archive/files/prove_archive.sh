#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# prove_archive.sh WARM HOST WORD: logs WORD here on HOST, has HOST's file moved to the store, and reads it from there.
set -euo pipefail
warm=$1 host=$2 word=$3
archive=(/opt/stronghold/objects/bin/python -B /usr/local/lib/stronghold/logs/archive_logs.py)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

logger --tag stronghold-proof "$word"
for _ in {1..20}; do
    [ -z "$(journalctl -q --directory="$warm/$host" --output=cat MESSAGE="$word")" ] || break
    sleep 1
done
key=$("${archive[@]}" run --now "$host" | sed -n 's/ is in the store: .*//p' | tail -n 1)
file=$("${archive[@]}" fetch "$key" "$folder")
left=false
[ ! -e "$warm/$host/$(basename "$file")" ] || left=true
journalctl -q --file="$file" --output=json --output-fields=MESSAGE MESSAGE="$word" |
    python3 -c '
import json, sys
lines = [json.loads(line)["MESSAGE"] for line in sys.stdin]
print(json.dumps({"key": sys.argv[1], "still_on_warm": sys.argv[2] == "true", "lines": lines}))
' "$key" "$left"
