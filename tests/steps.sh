# shellcheck shell=bash
# Sourced by check.sh and check_full.sh: runs named steps, counts them, tells the sum.
n_passed=0 n_failed=0 n_skipped=0 failed_steps=

# step NAME COMMAND...: silent when it passes (but for the last line of a Check run).
step() {
    local name=$1 start=$SECONDS log=$BUILD/tests/step.log status=0
    shift
    "$@" > "$log" 2>&1 || status=$?
    if [ $status = 77 ]; then
        n_skipped=$((n_skipped + 1))
        printf 'skip  %s: %s\n' "$name" "$(tail -n 1 "$log")"
    elif [ $status = 0 ]; then
        n_passed=$((n_passed + 1))
        grep -hE '^[0-9]+%: Checks: ' "$log" || true
        printf 'ok    %s (%d s)\n' "$name" $((SECONDS - start))
    else
        n_failed=$((n_failed + 1))
        failed_steps="$failed_steps  $name"
        tail -n 200 "$log"
        printf 'FAIL  %s (status %d)\n' "$name" $status
    fi
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

# The last line is what CI and people read: "12 passed, 0 failed".
finish() {
    [ -z "$failed_steps" ] || printf 'failed:%s\n' "$failed_steps"
    if [ $n_skipped = 0 ]; then
        printf '%d passed, %d failed\n' $n_passed $n_failed
    else
        printf '%d passed, %d failed, %d skipped\n' $n_passed $n_failed $n_skipped
    fi
    [ $n_failed = 0 ] && [ $n_passed != 0 ]
}
