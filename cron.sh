#!/usr/bin/env bash
# What runs every night, through LSF. `cron.sh --help` tells how; docs/cron.md tells more.
set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# --- the site: edit here, or set in the environment ----------------------------------------------
# The checkout, its Python, and the configuration.
LURGE=${LURGE:-$HERE}
PYTHON=${PYTHON:-$LURGE/.venv/bin/python}
LURGE_CONFIG=${LURGE_CONFIG:-$LURGE/lurge.toml}
# Where each job leaves its log: a folder that every host sees.
LOGS=${LOGS:-$LURGE/logs}
# The reports of a night, and the only ones that may be named as arguments.
REPORTS=${REPORTS:-reporter inspector puppeteer users splitter candidates}
# no: one job makes all, so that each scan is read once.
# yes: inspector gets a job under mpirun, candidates one behind it, the others one with threads.
SPLIT=${SPLIT:-no}
# With SPLIT=yes candidates starts when the others are: done, all went well; ended, well or not.
AFTER=${AFTER:-done}
# The queue, and whatever else bsub is to be given: -G group -P project -W 10:00
QUEUE=${QUEUE:-normal}
BSUB_OPTIONS=${BSUB_OPTIONS:-}
# What starts the ranks, of the MPI that mpi4py finds, and its options. Nothing: threads instead.
MPIRUN=${MPIRUN-$LURGE/.venv/bin/mpirun}
MPIRUN_OPTIONS=${MPIRUN_OPTIONS:-}
# Ranks are 1 + volumes + volumes x workers, or RANKS where that is given. Volumes are those asked
# for, else the [[volume]] tables that have not retired, but at least so many:
VOLUMES=${VOLUMES:-1}
WORKERS_PER_VOLUME=${WORKERS_PER_VOLUME:-2}
RANKS=${RANKS:-}
# How LSF lays out ranks: hosts=1, or ptile=16 for 16 a host (needs an MPI that knows of LSF).
SPAN=${SPAN:-hosts=1}
# Cores of a job with threads.
CORES=${CORES:-4}
# Memory of a rank, or of a core where there are threads. An LSF older than 10.1.0.2 takes no unit
# behind its figures: set MEMORY_UNIT to nothing, if its LSF_UNIT_FOR_LIMITS is MB.
MEMORY_MB=${MEMORY_MB:-2000}
MEMORY_UNIT=${MEMORY_UNIT-MB}
# What LSF reserves memory for: host, or slot where its RESOURCE_RESERVE_PER_TASK is Y.
RESERVED_BY=${RESERVED_BY:-host}
# --- end of the site ------------------------------------------------------------------------------

usage() {
    cat <<'END'
cron.sh [--print] [REPORT...] [OPTION...]
cron.sh [--print] --fill FROM TO [REPORT...] [OPTION...]

Submits a night's run to LSF with bsub: all reports of the newest scans, or only the REPORTs named.

  cron.sh                          the night; in a crontab:
                                   30 6 * * * . /path/to/lsf/conf/profile.lsf && /path/to/cron.sh
  cron.sh --print                  show the very commands; submit nothing, make nothing
  cron.sh inspector                only this report
  cron.sh reporter --volume s1 --date 2026-01-31
                                   OPTIONs, before or behind the names, are those of `lurge reporter`
  cron.sh --fill 2026-01-01 2026-01-31
                                   old days, oldest first, in one job

A job's log is LOGS/DATE.JOB.ID.log: the day of submission (UTC), the job's name, its number in LSF.
Exit status: 0 submitted; 1 LSF did not take a job; 2 wrong arguments or settings, nothing was
submitted. A job's own status is that of manager.py.

Settings, for the environment or to be edited in cron.sh:

END
    sed -n '/^# --- the site/,/^# --- end/p' "${BASH_SOURCE[0]}" | sed '1d; $d; s/^/  /'
}

wrong() {
    printf 'cron.sh: %s\n' "$*" >&2
    exit 2
}

# The words as any shell reads them.
quoted() {
    local word line='' quote="'" escaped="'\\''"
    for word; do
        [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="'${word//$quote/$escaped}'"
        line+=" $word"
    done
    printf '%s' "${line# }"
}

among() {
    local word wanted=$1
    shift
    for word; do [[ $word != "$wanted" ]] || return 0; done
    return 1
}

# --- arguments ------------------------------------------------------------------------------------

print=no job=lurge from='' to=''
modules=() options=() volumes=()

while (($#)); do
    case $1 in
    -h | --help)
        usage
        exit
        ;;
    --print) print=yes ;;
    --fill)
        (($# >= 3)) || wrong "--fill needs two days: --fill 2026-01-01 2026-01-31"
        job=lurge-fill from=$2 to=$3
        shift 2
        ;;
    --config | --date | --from | --to | --scan | --volume)
        (($# >= 2)) || wrong "$1 needs a value"
        set -- "$1=$2" "${@:3}"
        continue
        ;;
    --config=*) LURGE_CONFIG=${1#*=} ;;
    --defaults) wrong "--defaults: a night needs a configuration, LURGE_CONFIG or --config FILE" ;;
    --volume=*)
        among "${1#*=}" "${volumes[@]}" || volumes+=("${1#*=}")
        options+=("$1")
        ;;
    -*) options+=("$1") ;;
    *) modules+=("$1") ;;
    esac
    shift
done

read -ra reports <<<"$REPORTS"
read -ra bsub_options <<<"$BSUB_OPTIONS"
read -ra mpirun_options <<<"$MPIRUN_OPTIONS"
for module in "${modules[@]}"; do
    among "$module" "${reports[@]}" || wrong "$module: no such report; REPORTS are ${reports[*]}"
done
((${#modules[@]})) || modules=("${reports[@]}")
((${#modules[@]})) || wrong "REPORTS is empty"

# --- settings -------------------------------------------------------------------------------------

for setting in VOLUMES CORES MEMORY_MB; do
    [[ ${!setting} =~ ^[1-9][0-9]*$ ]] || wrong "$setting=${!setting}: must be a whole number, 1 or more"
done
[[ $WORKERS_PER_VOLUME =~ ^(0|[1-9][0-9]*)$ ]] ||
    wrong "WORKERS_PER_VOLUME=$WORKERS_PER_VOLUME: must be a whole number"
[[ $RANKS =~ ^([1-9][0-9]*)?$ ]] || wrong "RANKS=$RANKS: must be a whole number, 1 or more, or nothing"
[[ $SPLIT =~ ^(yes|no)$ ]] || wrong "SPLIT=$SPLIT: must be yes or no"
[[ $AFTER =~ ^(done|ended)$ ]] || wrong "AFTER=$AFTER: must be done or ended"
[[ $RESERVED_BY =~ ^(host|slot)$ ]] || wrong "RESERVED_BY=$RESERVED_BY: must be host or slot"
[[ $SPAN =~ ^(hosts=1|ptile=[1-9][0-9]*)$ ]] || wrong "SPAN=$SPAN: must be hosts=1 or ptile=NUMBER"

# A job starts elsewhere, or in another folder.
for setting in LURGE PYTHON LURGE_CONFIG LOGS; do
    [[ ${!setting} == /* ]] || printf -v "$setting" '%s/%s' "$PWD" "${!setting}"
done
[[ -f $LURGE/manager.py ]] || wrong "LURGE=$LURGE: there is no manager.py"
[[ -x $PYTHON ]] || wrong "PYTHON=$PYTHON: no such program; \`make setup\` makes the checkout's"
[[ $MPIRUN != */* || -x $MPIRUN ]] ||
    wrong "MPIRUN=$MPIRUN: no such program; name the site's, \`pip install -e '.[mpi]'\`, or set it to nothing"
[[ -f $LURGE_CONFIG ]] || wrong "LURGE_CONFIG=$LURGE_CONFIG: no such file; \`lurge init\` writes one"

if [[ $job == lurge-fill ]]; then
    for day in "$from" "$to"; do
        if ! [[ $day =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || ! date -u -d "$day" &>/dev/null; then
            wrong "--fill: $day is no day; days look like 2026-01-31"
        fi
    done
    [[ ! $from > $to ]] || wrong "--fill: $from is later than $to; the older day goes first"
    for option in "${options[@]}"; do
        [[ ! $option =~ ^--(date|from|to|scan)= ]] ||
            wrong "--fill and ${option%%=*} exclude each other: --fill says which days"
    done
    options+=("--from=$from" "--to=$to")
fi

# --- jobs -----------------------------------------------------------------------------------------

ranks() {
    local volumes_there=${#volumes[@]}
    if [[ -n $RANKS ]]; then
        echo "$RANKS"
        return
    fi
    if ((volumes_there == 0)); then
        volumes_there=$("$PYTHON" -I - "$LURGE_CONFIG" <<'END'
import sys
import tomllib
from datetime import UTC, date, datetime

today = datetime.now(UTC).date()
try:
    with open(sys.argv[1], "rb") as file:
        volumes = tomllib.load(file).get("volume", [])
    print(sum(volume.get("retired", date.max) > today for volume in volumes))
except (OSError, ValueError, TypeError, AttributeError) as error:
    sys.exit(f"cron.sh: {sys.argv[1]}: {error}")
END
        ) || exit 2
        ((volumes_there >= VOLUMES)) || volumes_there=$VOLUMES
    fi
    echo $((1 + volumes_there + volumes_there * WORKERS_PER_VOLUME))
}

# Whether these modules run under mpirun.
by_ranks() {
    [[ -n $MPIRUN ]] && { [[ $SPLIT == no ]] || among inspector "$@"; }
}

# What a job of these modules asks of LSF, into `resources`.
ask() {
    local slots=$CORES span=hosts=1 on_a_host memory reserved
    if by_ranks "$@"; then
        slots=$number_of_ranks span=$SPAN
    fi
    on_a_host=$slots
    if [[ $span == ptile=* ]] && ((${span#*=} < slots)); then
        on_a_host=${span#*=}
    fi
    memory=$((on_a_host * MEMORY_MB))$MEMORY_UNIT # LSF limits a job's memory by host
    reserved=$memory
    [[ $RESERVED_BY == host ]] || reserved=$MEMORY_MB$MEMORY_UNIT
    resources=(
        -q "$QUEUE" -n "$slots" -M "$memory"
        -R "select[mem>$memory] rusage[mem=$reserved] span[$span]" "${bsub_options[@]}"
    )
}

# The command of a job, in one word: LSF gives it to a shell.
work() {
    local words=("$PYTHON")
    if by_ranks "$@"; then
        words=("$MPIRUN" "${mpirun_options[@]}" -n "$number_of_ranks" "$PYTHON" -m mpi4py)
    fi
    quoted "${words[@]}" "$LURGE/manager.py" "$@" "${options[@]}" --config "$LURGE_CONFIG"
}

# Submit a job, or print how; its number into `number`.
# $1: its name. $2: what it waits for, such as done(12), or nothing. The rest is for bsub.
submit() {
    local words=(bsub -J "$1") waits=$2 said
    shift 2
    number=
    if [[ $print == yes ]]; then
        printf '%s\n' "$(quoted "${words[@]}")${waits:+" -w \"$waits\" -ti"} $(quoted "$@")"
        return
    fi
    [[ -z $waits ]] || words+=(-w "$waits" -ti) # with -ti, LSF drops what can never start
    if ! said=$("${words[@]}" "$@"); then
        echo "cron.sh: LSF did not take ${words[2]}" >&2
        return 1
    fi
    printf '%s\n' "$said"
    [[ ! $said =~ Job\ \<([0-9]+)\> ]] || number=${BASH_REMATCH[1]}
}

# Submit these modules as a job. $1: its name. $2: what it waits for.
job() {
    local name=$1 waits=$2
    shift 2
    ask "$@"
    submit "$name" "$waits" "${resources[@]}" -o "$LOGS/$today.$name.%J.log" "$(work "$@")"
}

one_job() {
    job "$job" '' "${modules[@]}" || failed=1
}

# A job that candidates waits for. $1: its short name; the rest are its modules.
awaited_job() {
    local name=$1
    shift
    if [[ $print == yes ]] && among candidates "${modules[@]}"; then
        printf '%s\n' "$name=\$($(job "lurge-$name" '' "$@") | tee /dev/stderr | sed -n 's/.*Job <\([0-9]*\)>.*/\1/p')"
        number=\$$name
    else
        job "lurge-$name" '' "$@" || failed=1
    fi
    dependency+="${dependency:+ && }$AFTER($number)"
}

two_or_three_jobs() {
    local module others=() dependency=''
    for module in "${modules[@]}"; do
        [[ $module == inspector || $module == candidates ]] || others+=("$module")
    done
    ((${#others[@]} == 0)) || awaited_job reports "${others[@]}"
    if among inspector "${modules[@]}"; then
        awaited_job inspector inspector
    fi
    if among candidates "${modules[@]}"; then
        if ((failed)) || [[ $dependency == *'()'* ]]; then
            echo "cron.sh: lurge-candidates is not submitted: it is not known what it must wait for" >&2
            failed=1
            return
        fi
        job lurge-candidates "$dependency" candidates || failed=1
    fi
}

failed=0
today=$(date -u +%Y-%m-%d)
number_of_ranks=1
if by_ranks "${modules[@]}"; then
    number_of_ranks=$(ranks)
fi
unset BSUB_QUIET # bsub must tell a job's number
if [[ $print == yes ]]; then
    echo "mkdir -p $(quoted "$LOGS")"
else
    mkdir -p "$LOGS"
fi

if [[ $SPLIT == yes && $job == lurge ]]; then
    two_or_three_jobs
else
    one_job
fi
exit "$failed"
