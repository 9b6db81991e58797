#!/usr/bin/env bash
# What runs every night, through LSF: cron.sh [--print] [REPORT...]
# With --print it shows the command without running it.
set -euo pipefail

# --- the site ---------------------------------------------------------------
LURGE=${LURGE:-/software/lurge}                        # the checkout, with its .venv
export LURGE_CONFIG=${LURGE_CONFIG:-$LURGE/lurge.toml} # the configuration
LOGS=${LOGS:-$LURGE/logs}                              # a log for each night and job
QUEUE=${QUEUE:-normal}
CORES=${CORES:-4}
MEMORY_MB=${MEMORY_MB:-4000}
DEFAULT_REPORTS=(reporter)
# ----------------------------------------------------------------------------

print=
if [ "${1:-}" = --print ]; then
    print=yes
    shift
fi
[ $# -gt 0 ] || set -- "${DEFAULT_REPORTS[@]}"

command=(
    bsub -J lurge -q "$QUEUE" -n "$CORES"
    -M "$MEMORY_MB" -R "select[mem>$MEMORY_MB] rusage[mem=$MEMORY_MB] span[hosts=1]"
    -o "$LOGS/$(date -u +%Y-%m-%d).lurge.%J.log"
    "$LURGE/.venv/bin/python" "$LURGE/manager.py" "$@"
)
if [ -n "$print" ]; then
    printf '%q ' "${command[@]}"
    echo
else
    mkdir -p "$LOGS"
    "${command[@]}"
fi
