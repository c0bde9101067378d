#!/usr/bin/env bash
# `make reproduce` from one end to the other with next to no training: it writes its report; stopped on the way, it
# goes on where it was and comes to the same numbers; called again, it makes nothing anew. Wants BUILD.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=$BUILD/examples/reproduce/reproduce
little=(--quick --scale 0.001 --threads 2)

"$program" "$work/whole" "${little[@]}" > "$work/said"
[ "$(grep -c ': done in' "$work/said")" = 3 ]
grep -q '^# ' "$work/whole/report.md"
for table in models tasks circuits; do
    [ "$(wc -l < "$work/whole/$table.csv")" -gt 3 ]
done

# Stopped after the first stage of some model.
"$program" "$work/stopped" "${little[@]}" > "$work/said" 2>&1 &
pid=$!
until ls "$work/stopped/models/"*.stage*.safetensors > "$work/seen" 2> /dev/null; do
    kill -0 $pid
    sleep 0.1
done
kill $pid
wait $pid || true
[ ! -e "$work/stopped/report.md" ]
"$program" "$work/stopped" "${little[@]}" > "$work/said"
cmp "$work/whole/models.csv" "$work/stopped/models.csv"
cmp "$work/whole/tasks.csv" "$work/stopped/tasks.csv"

rm "$work/stopped/report.md"
"$program" "$work/stopped" "${little[@]}" > "$work/said"
grep -q '^# ' "$work/stopped/report.md"
if grep -q ': done in\|circuits in' "$work/said"; then
    echo "the last call trained or searched again:"
    cat "$work/said"
    exit 1
fi

# The report of what is there, should a model be missing.
rm "$work/stopped/report.md" "$work/stopped/models/dense_d128_s1.csv"
"$program" "$work/stopped" "${little[@]}" --report > "$work/said"
grep -q '^| narrow_d16_s1' "$work/stopped/report.md"
if grep -q '^| dense_d128_s1\|: done in' "$work/stopped/report.md" "$work/said"; then
    echo "--report made a model, or wrote of one that is not there"
    exit 1
fi
