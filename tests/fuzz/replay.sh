#!/usr/bin/env bash
# replay.sh: every target over the kept corpora in tests/data/fuzz and over seeds made from the shared
# models. Wants BUILD, SPARSENET_SHARED.
set -eu
seeds=$BUILD/tests/fuzz/seeds
rm -rf "$seeds"
CONVERT=$BUILD/examples/convert MAKE_SEEDS=$BUILD/tests/fuzz/make_seeds bash tests/fuzz/seeds.sh "$SPARSENET_SHARED" "$seeds"
for source in tests/fuzz/fuzz_*.c; do
    name=${source#tests/fuzz/fuzz_}
    name=${name%.c}
    target=$BUILD/tests/fuzz/fuzz_$name
    "$target" "tests/data/fuzz/$name" "$seeds/$name" > "$target.log" 2>&1 || {
        tail -n 5 "$target.log"
        echo "$target failed"
        exit 1
    }
    echo "$name: $(tail -n 1 "$target.log")"
done
