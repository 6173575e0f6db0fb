#!/usr/bin/env bash
set -euo pipefail

folder=/
while IFS='=' read -r name value; do
  [[ $name == folder ]] && folder=$value
done

# Values may come in quotes.
folder=${folder#[\"\']}
folder=${folder%[\"\']}

df -h -- "$folder"
