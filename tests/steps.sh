# shellcheck shell=bash
# Sourced by check.sh, check_full.sh and .ci/run: runs named steps, JOBS of them at a time (as many as there are
# processors), and tells of each in the order in which they were asked for; the sum is last. Wants BUILD.
step_jobs=${JOBS:-$(nproc)}
build_jobs=$(((step_jobs + 1) / 2)) # of a step that builds, beside which others run
steps_begin=$SECONDS
steps_folder=$BUILD/tests/steps/$(basename "$0" .sh)${1:+_$1}
rm -rf "$steps_folder"
mkdir -p "$steps_folder"
n_steps=0 n_told=0 n_passed=0 n_failed=0 n_skipped=0 failed_steps= cpu_milliseconds=0
step_names=() step_processes=()

# step NAME COMMAND...: silent when it passes, but for the last line of Check runs.
step() { start_step '' "$@"; }

# step_after EARLIER NAME COMMAND...: one that needs what the step EARLIER, or those before it, leave; '' for none.
step_after() {
    local i
    [ -n "$1" ] || { start_step '' "${@:2}" && return; }
    for ((i = 0; i < n_steps; i++)); do
        [ "${step_names[i]}" != "$1" ] || { start_step $i "${@:2}" && return; }
    done
    echo "there is no step '$1' before '$2'"
    exit 1
}

# step_alone NAME COMMAND...: one that measures, beside which nothing runs.
step_alone() {
    wait_for_steps 0
    step "$@"
    wait_for_steps 0
}

start_step() {
    wait_for_steps $((step_jobs - 1))
    step_names[n_steps]=$2
    # -m: each in a process group of its own, by which stop_steps finds all that it has started.
    set -m
    run_step $n_steps "$1" "${@:3}" < /dev/null &
    set +m
    step_processes[n_steps]=$!
    n_steps=$((n_steps + 1))
}

# NUMBER EARLIER COMMAND...: leaves NUMBER.log, NUMBER.time (real, user and system seconds) and NUMBER.status.
run_step() {
    local base=$steps_folder/$1 i status=0
    for ((i = 0; i <= ${2:--1}; i++)); do
        while [ ! -e "$steps_folder/$i.status" ]; do sleep 0.1; done
    done
    (
        TIMEFORMAT='%3R %3U %3S'
        { time "${@:3}" > "$base.log" 2>&1; } 2> "$base.time"
    ) || status=$?
    echo $status > "$base.new"
    mv "$base.new" "$base.status"
}

# Until at most N still run.
wait_for_steps() {
    tell_steps
    while [ "$(jobs -rp | wc -l)" -gt "$1" ]; do
        wait -n || true
        tell_steps
    done
}

# Of those that have ended, as far as all before them have.
tell_steps() {
    while [ $n_told -lt $n_steps ] && [ -e "$steps_folder/$n_told.status" ]; do
        tell_step "${step_names[n_told]}" "$steps_folder/$n_told"
        n_told=$((n_told + 1))
    done
}

tell_step() {
    local name=$1 log=$2.log status real=0.000 user=0 system=0
    status=$(< "$2.status")
    read -r real user system < <(tail -n 1 "$2.time") || true
    cpu_milliseconds=$((cpu_milliseconds + 10#${user/./} + 10#${system/./}))
    if [ "$status" = 77 ]; then
        n_skipped=$((n_skipped + 1))
        printf 'skip  %s: %s\n' "$name" "$(tail -n 1 "$log")"
    elif [ "$status" = 0 ]; then
        n_passed=$((n_passed + 1))
        grep -hE '^[0-9]+%: Checks: |^      ' "$log" || true
        printf 'ok    %s (%s s)\n' "$name" "${real%??}"
    else
        n_failed=$((n_failed + 1))
        failed_steps="$failed_steps  $name"
        tail -n 200 "$log"
        printf 'FAIL  %s (status %s)\n' "$name" "$status"
    fi
}

stop_steps() {
    trap - INT TERM
    local process
    for process in $(jobs -rp); do
        kill -- "-$process"
    done
    exit 130
}
trap stop_steps INT TERM

# part I N: the I-th of N lists of suites that take about as long.
part() {
    local file n=0
    for file in tests/test_*.c; do
        file=${file#tests/test_}
        [ $((n++ % $2 + 1)) != "$1" ] || echo "${file%.c}"
    done
}

# all_suites N EARLIER NAME COMMAND...: COMMAND is given the suites' names, in N steps after the step EARLIER.
all_suites() {
    local i
    for ((i = 1; i <= $1; i++)); do
        # shellcheck disable=SC2046 # words are meant
        step_after "$2" "$3, part $i of $1" "${@:4}" $(part "$i" "$1")
    done
}

# golden FOLDER [--pt]: the golden cases through FOLDER/tests/golden_check, from whatever weights they have,
# or those with a final_model.pt from that.
golden() {
    local cases=() directory file files=(model.safetensors ops.safetensors final_model.pt)
    [ $# = 1 ] || files=(final_model.pt)
    for directory in "$SPARSENET_SHARED/goldens"/*/; do
        for file in "${files[@]}"; do
            [ -f "$directory/$file" ] && cases+=("$directory") && break
        done
    done
    if [ ${#cases[@]} = 0 ]; then
        echo "no golden cases in $SPARSENET_SHARED/goldens"
        return 77
    fi
    "$1/tests/golden_check" "${@:2}" "${cases[@]}"
}

# finish [SECONDS]: the last line is what CI and people read: "12 passed, 0 failed". The one before tells the time, and
# whether it was more than is meant; that decides nothing.
finish() {
    local seconds too_long=
    wait_for_steps 0
    seconds=$((SECONDS - steps_begin))
    [ $seconds -le "${1:-$seconds}" ] || too_long=": longer than the $1 s it is meant to take"
    printf '%d s, of processors %d s%s\n' $seconds $((cpu_milliseconds / 1000)) "$too_long"
    [ -z "$failed_steps" ] || printf 'failed:%s\n' "$failed_steps"
    if [ $n_skipped = 0 ]; then
        printf '%d passed, %d failed\n' $n_passed $n_failed
    else
        printf '%d passed, %d failed, %d skipped\n' $n_passed $n_failed $n_skipped
    fi
    [ $n_failed = 0 ] && [ $n_passed != 0 ] && [ $n_told = $n_steps ]
}
