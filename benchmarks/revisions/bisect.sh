#!/usr/bin/env bash
# A slow-down is planted in a chain of 12 commits, and `kgate bisect` has to find it in at most 5 steps, without being told
# more than the two ends. On a GPU 2 % in a copy of `latency`, on the host 50 % in one of `host`: chain.py says how. The
# commits are in a repository of their own: no other is read or changed. What was printed is kept in FOLDER/bisect.txt.
# Usage: bisect.sh FOLDER [cuda|host] [CULPRIT]; the culprit is drawn from 1 to 12 where it is not given. Exit status 0 where
# the culprit was found.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
device=${2:-cuda}
culprit=${3:-$((RANDOM % 12 + 1))}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
planted=$(python benchmarks/revisions/chain.py "$work" "$device" "$culprit")
start=$SECONDS
(cd "$work" && python -m pytest_kgate.cli bisect test_chain.py::test_kernel --good HEAD~12 --budget 5m --pytest=--kgate-device="$device") |
    tee "$out/bisect.txt" || true
{
    echo "planted: $planted, the ${culprit}th of 12; $((SECONDS - start)) s on $(python -c "$(cat <<'PYTHON'
import torch
print(torch.cuda.get_device_name() if torch.cuda.is_available() else "the host")
PYTHON
)")"
} | tee -a "$out/bisect.txt"
grep -qE "^The first slower commit, after [0-5] steps?: $planted" "$out/bisect.txt"
