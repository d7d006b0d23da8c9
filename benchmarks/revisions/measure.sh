#!/usr/bin/env bash
# On a GPU, beside revisions.bundle: today's `latency` against its revision of before, and against a twin of itself, in 200
# gates of one process and in one gate each of 60 processes. Usage: measure.sh FOLDER [before|one|many]...
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
[ -d .git ] || [ -f .git ] || git init -q
git fetch -q revisions.bundle '+refs/kgate/*:refs/kgate/*'
shift
gates() { KGATE_GATES=$1 python -m pytest -q benchmarks/revisions/gates_of_latency.py -p no:cacheprovider "${@:2}" || true; }
for part in "${@:-before}"; do
    case $part in
    before) gates 5 --kgate-against=refs/kgate/before --kgate-json="$out/before.json" ;;
    one) gates 200 --kgate-against=refs/kgate/twin --kgate-json="$out/one-process.json" ;;
    many) for process in $(seq 60); do
        gates 1 --kgate-against=refs/kgate/twin --kgate-json="$out/process-$process.json"
    done ;;
    esac
done
python benchmarks/revisions/read.py "$out"/*.json
