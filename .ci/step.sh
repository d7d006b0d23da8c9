# shellcheck shell=bash
# Sourced: `step COMMAND...` shows a command, runs it, and says how long it took; the script ends where it fails.
step() {
    printf '\n==> %s\n' "$*"
    local begun=$SECONDS
    "$@"
    printf '==> %d s for %s\n' $((SECONDS - begun)) "$*"
}
