#!/usr/bin/env bash
# Everything that only a GPU can tell, in order of worth; --help says how.
#     tests/gpu/all.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python3}" tests/gpu/everything.py "$@"
