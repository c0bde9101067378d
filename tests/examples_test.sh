#!/usr/bin/env bash
# The examples as a person runs them: help, errors, and results against a golden model where there is one.
# Wants BUILD, SPARSENET_SHARED.
set -eu
bin=$BUILD/examples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fails() { # fails STATUS PATTERN COMMAND...: exactly that status, and a line that says why
    local status=0
    "${@:3}" > "$work/said" 2>&1 || status=$?
    [ "$status" = "$1" ] && grep -q -- "$2" "$work/said" && return
    echo "not status $1 with '$2' but $status: ${*:3}"
    cat "$work/said"
    return 1
}

for example in inspect evaluate convert generate task evidence; do
    "$bin/$example" --help | grep -q "^usage: $example "
    fails 2 "^usage: $example " "$bin/$example"
    [ "$(wc -l < "examples/$example.c")" -lt 150 ]
done
fails 2 "^usage: fold " "$bin/fold"
fails 1 "/nonexistent" "$bin/fold" /nonexistent tests/data/tokenizer "$work/out" "$work/none.json"
fails 2 "^usage: view " "$bin/view"
fails 2 "^usage: view " "$bin/view" model circuit out --corpus folder
fails 2 "^usage: view " "$bin/view" model circuit out --nothing x
fails 1 "/nonexistent" "$bin/view" /nonexistent "$work/none.json" "$work/out"
fails 1 "/nonexistent" "$bin/inspect" /nonexistent
fails 1 "/nonexistent" "$bin/convert" /nonexistent "$work/out"
[ ! -e "$work/out" ]

# pairs of prompts: generated, written, read; as text, as ids
[ "$("$bin/task" --list | wc -l)" = 20 ]
"$bin/task" for_while --split fresh --pairs 5 > "$work/printed"
[ "$(grep -c '^--- for_while, pair ., prompt [AB]$' "$work/printed")" = 10 ]
[ "$(grep -c '<<< in>>>$' "$work/printed")" = 5 ]
"$bin/task" bracket_brace --pairs 3 --out "$work/pairs.jsonl"
[ "$(grep -c '"target": ":"' "$work/pairs.jsonl")" = 3 ]
"$bin/task" "$work/pairs.jsonl" --tokenizer tests/data/tokenizer --out "$work/again.jsonl"
cmp "$work/pairs.jsonl" "$work/again.jsonl"
[ "$("$bin/task" "$work/pairs.jsonl" --tokenizer tests/data/tokenizer | grep -c '<<<,>>>$')" = 3 ]
echo '{"prompt": [1, 2], "alternative": [3], "target": 4, "alternative_target": 5}' > "$work/ids.jsonl"
"$bin/task" "$work/ids.jsonl" | grep -q '^1 2<<<4>>>$'
fails 1 "line 1: holds text" "$bin/task" "$work/pairs.jsonl"
fails 1 "task bracket_counting: target " "$bin/task" bracket_counting --tokenizer tests/data/tokenizer
fails 1 "no_such_task" "$bin/task" no_such_task
fails 1 "split" "$bin/task" for_while --split other
fails 2 "^usage: task " "$bin/task" for_while --pairs many

model=$SPARSENET_SHARED/goldens/p02_rms_afrac_bigram
if [ ! -d "$model" ]; then
    echo "no $model"
    exit 77
fi
run() { "$bin/evaluate" "$1" --tokens "$model/tokens.i32" --shape 2,13 --targets "$model/targets.i32" "${@:2}"; }

"$bin/inspect" "$model" > "$work/said"
grep -q '"d_model": *25' "$work/said"
grep -Eq '^bigram_table +37 x 37 +[0-9]+ +[0-9.]+%' "$work/said"
grep -Eq '^all +20979 ' "$work/said"

run "$model" --sites '' --out "$work/got.safetensors" | grep -q '^loss 7.77308'
"$BUILD/tests/tensors_compare" "$model/expected.safetensors" "$work/got.safetensors" 1e-5 'logits|loss|hook.*'
fails 1 "does not hold exactly" "$bin/evaluate" "$model" --tokens "$model/tokens.i32" --shape 2,14
fails 2 "regular expression" run "$model" --sites '('
fails 1 "/nonexistent" run "$model" --out /nonexistent/file

# there and back: the same logits, bit by bit
"$bin/convert" "$model" "$work/native.safetensors"
"$bin/convert" --dense "$work/native.safetensors" "$work/dense"
for form in native.safetensors dense; do
    run "$work/$form" --sites '' --out "$work/again.safetensors" > /dev/null
    cmp "$work/got.safetensors" "$work/again.safetensors"
done

# the mid-size model, which comes as .pt alone
model=$SPARSENET_SHARED/goldens/p12_mid_csp_ratio
go() { "$bin/generate" "$model" --tokenizer tests/data/tokenizer --prompt 'for i in' "$@"; }
go --tokens 8 --temperature 0 > "$work/greedy"
go --tokens 8 --temperature 0 --seed 5 | cmp - "$work/greedy"
go --tokens 8 --top-k 1 --seed 5 | cmp - "$work/greedy"
[ "$(head -c 8 "$work/greedy")" = 'for i in' ]
[ "$(wc -c < "$work/greedy")" -gt 12 ]
go --tokens 8 --seed 1 > "$work/one"
go --tokens 8 --seed 1 | cmp - "$work/one"
! go --tokens 8 --seed 2 | cmp -s - "$work/one"
go --tokens 100000 > /dev/null # ends where the context is full
fails 1 "encoder.json" "$bin/generate" "$model" --prompt x
fails 2 "^usage: generate " go --temperature -1
fails 2 "^usage: generate " go --tokens many

# cards of the nodes of a circuit written by hand
circuit() {
    printf '{"format": "sparsenet circuit", "version": 1, "task": "t", "model": '
    "$bin/inspect" "$model" | sed '/^$/,$d'
    printf ', "nodes": [{"name": "0.attn.act_in.3", "label": "reads \\u00e9"}, {"name": "%s"}], "edges": []}' "$1"
}
card() { "$bin/evidence" "$model" tests/data/tokenizer "$work/circuit.json" "$1"; }
circuit 0.mlp.post_act.9 > "$work/circuit.json"
card tests > "$work/said"
[ "$(grep -c '^== ' "$work/said")" = 2 ]
grep -q '^== 0.attn.act_in.3: reads é$' "$work/said"
grep -Eq '^  values at [0-9]+ tokens: [0-9.]+ % exactly 0, ' "$work/said"
[ "$(grep -Ec '^  top +[0-9.]+  [0-9]+:[0-9]+  .*\[\[.+\]\]' "$work/said")" = 16 ]
grep -q '^  unembedding: ' "$work/said"
grep -Eq '^  from +-?[0-9.]+ 0\.mlp\.act_in\.' "$work/said"
fails 1 "the corpus is empty" card docs
# the same as a page
"$bin/view" "$model" "$work/circuit.json" "$work/page.html" --tokenizer tests/data/tokenizer --corpus tests \
    --tokens 2000 --other "$work/circuit.json" --labels "$work/circuit.json"
grep -q '^<!doctype html>$' "$work/page.html"
grep -q '"label":"reads é"' "$work/page.html"
grep -q '"evidence":{"0.attn.act_in.3":{"n_tokens":' "$work/page.html"
circuit 0.mlp.post_act.9999 > "$work/circuit.json"
fails 1 "the model has no node" "$bin/view" "$model" "$work/circuit.json" "$work/none.html"
[ ! -e "$work/none.html" ]
fails 1 "the model has no node" card tests
