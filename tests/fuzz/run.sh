#!/usr/bin/env bash
# run.sh FUZZERS SECONDS [NAME...]: fuzzes each target in turn (clang's libFuzzer with AddressSanitizer and
# UBSan) and says how many runs that was, and how much of the code they came to (edges, of the whole library).
# RESUME=1 leaves out those that have been fuzzed so long since they were built: FUZZERS/NAME.done tells.
# Wants SPARSENET_SHARED; CONVERT and MAKE_SEEDS name the programs of these names.
set -eu
fuzzers=$1 seconds=$2
shift 2
bash tests/fuzz/seeds.sh "$SPARSENET_SHARED" "$fuzzers/seeds"
failed=0

# Bytes at most: what a fuzzer adds to a small file teaches little, and reading it takes time.
max_len() {
    case $1 in
    labels | names) echo 1024 ;;
    config | corpus | search | settings | task) echo 4096 ;;
    checkpoint | circuit | tokenizer) echo 16384 ;;
    *) echo 40000 ;;
    esac
}

# fuzz NAME TARGET: prints a line, keeps it in NAME.done if nothing was found
fuzz() {
    local log=$fuzzers/$1.log status=0 runs edges line
    mkdir -p "$fuzzers/corpus/$1" "$fuzzers/seeds/$1" "tests/data/fuzz/$1"
    "$2" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len="$(max_len "$1")" \
        -print_final_stats=1 -artifact_prefix="$fuzzers/$1-" "$fuzzers/corpus/$1" "$fuzzers/seeds/$1" \
        "tests/data/fuzz/$1" > "$log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(grep -o ' cov: [0-9]*' "$log" | tail -n 1 | tr -dc 0-9)
    line="$1: ${runs:-?} runs in $seconds s, ${edges:-?} edges, status $status"
    echo "$line"
    if [ $status = 0 ]; then
        echo "$line" > "$fuzzers/$1.done"
    else
        failed=1
        grep -m 3 -E 'ERROR|runtime error|SUMMARY' "$log" || true
    fi
}

# done_before NAME TARGET
done_before() {
    [ -n "${RESUME:-}" ] && [ "$fuzzers/$1.done" -nt "$2" ] &&
        [ "$(sed -n 's/.* runs in \([0-9]*\) s.*/\1/p' "$fuzzers/$1.done")" -ge "$seconds" ]
}

for target in "$fuzzers"/fuzz_*; do
    name=${target##*/fuzz_}
    case $name in *.*) continue ;; esac
    [ -x "$target" ] && [ ! -d "$target" ] || continue
    [ $# = 0 ] || [[ " $* " = *" $name "* ]] || continue
    if done_before "$name" "$target"; then
        echo "$(cat "$fuzzers/$name.done") (before)"
    else
        fuzz "$name" "$target"
    fi
done
exit $failed
