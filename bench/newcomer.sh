#!/usr/bin/env bash
# How long it takes from nothing to the first order answered, by README alone: a fresh clone, its first command, its first order. Nothing that this
# checkout has built or downloaded is used. Prints one JSON object (seconds); what the machine has installed already (git, Java, ...) is not taken away.
#
#   bench/newcomer.sh
set -euo pipefail
from=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
folder=$(mktemp -d)
finish() { (cd "$folder/holdfast" && .venv/bin/holdfast down --wipe) >/dev/null 2>&1 || true; rm -rf "$folder"; }
trap finish EXIT
unset HOLDFAST_HOME HOLDFAST_CACHE
export PIP_NO_CACHE_DIR=1
now() { date +%s.%N; }
since() { printf '%.1f' "$(echo "$(now) - $1" | bc -l)"; }

began=$(now)
git clone -q "$from" "$folder/holdfast"
cd "$folder/holdfast"
make venv >&2
installed=$(since "$began")
make demo >&2
demonstrated=$(since "$began")
# README's own lines, as they stand there.
awk '/^## Place, follow/ {section = 1} section && /^```/ {if (open) exit; open = 1; next} open' README.md > place.sh
bash -c '. .venv/bin/activate; . ./place.sh' > answer.txt
answered=$(since "$began")
status=$(grep -Po '"status": ?"\K(confirmed|rejected)' answer.txt | tail -1)
[ -n "$status" ] || { echo "no answer to the order: $(cat answer.txt)" >&2; exit 1; }
echo "{\"installed_s\": $installed, \"demo_s\": $demonstrated, \"answered_s\": $answered, \"status\": \"$status\"}"
