#!/usr/bin/env bash
# run.sh FUZZERS SECONDS [NAME...]: fuzzes each target in turn (clang's libFuzzer with AddressSanitizer and
# UBSan) and says how many runs that was. Wants SPARSENET_SHARED; CONVERT names the example of that name.
set -eu
fuzzers=$1 seconds=$2
shift 2
bash tests/fuzz/seeds.sh "$SPARSENET_SHARED" "$fuzzers/seeds"
failed=0
for target in "$fuzzers"/fuzz_*; do
    name=${target##*/fuzz_}
    case $name in *.*) continue ;; esac
    [ -x "$target" ] && [ ! -d "$target" ] || continue
    [ $# = 0 ] || [[ " $* " = *" $name "* ]] || continue
    mkdir -p "$fuzzers/corpus/$name" "$fuzzers/seeds/$name" "tests/data/fuzz/$name"
    status=0
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=200000 -print_final_stats=1 \
        -artifact_prefix="$fuzzers/$name-" "$fuzzers/corpus/$name" "$fuzzers/seeds/$name" \
        "tests/data/fuzz/$name" > "$fuzzers/$name.log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$fuzzers/$name.log")
    echo "$name: ${runs:-?} runs in $seconds s, status $status"
    [ $status = 0 ] || { failed=1; grep -m 3 -E 'ERROR|runtime error|SUMMARY' "$fuzzers/$name.log" || true; }
done
exit $failed
