#!/usr/bin/env bash
# seeds.sh SHARED FOLDER: seeds for every fuzz target below FOLDER, from the project's own models and, where they
# are there, from the golden and the malformed ones.
# What the targets expect in one file, fuzz_*.c say.
set -eu
shared=$1 to=$2
mkdir -p "$to"/{tensors,native,config,folder,pt,tokenizer,viz,checkpoint,search,exported}
[ -z "${MAKE_SEEDS:-}" ] || "$MAKE_SEEDS" "$to"

joined() { # joined FIRST SECOND OUT: both with a NUL between
    { cat "$1"; printf '\0'; cat "$2"; } > "$3"
}

for model in "$shared"/goldens/*/ "$shared"/bad/*/; do
    name=$(basename "$model")
    config=
    for file in "$model/beeg_config.json" "$model/config.json"; do [ ! -f "$file" ] || config=$file; done
    # large ones make a fuzzer slow and teach it nothing
    small() { [ -f "$1" ] && [ "$(stat -c %s "$1")" -lt 40000 ]; }
    [ -z "$config" ] || cp "$config" "$to/config/$name"
    ! small "$model/model.safetensors" || cp "$model/model.safetensors" "$to/tensors/$name"
    ! small "$model/ops.safetensors" || cp "$model/ops.safetensors" "$to/tensors/$name"
    [ -z "$config" ] && continue
    ! small "$model/model.safetensors" || joined "$config" "$model/model.safetensors" "$to/folder/$name"
    ! small "$model/final_model.pt" || joined "$config" "$model/final_model.pt" "$to/pt/$name"
    if small "$model/model.safetensors" && [ -n "${CONVERT:-}" ]; then
        "$CONVERT" "$model" "$to/native/$name" 2> /dev/null || true
    fi
done
own=tests/data/released
cp "$own/beeg_config.json" "$to/config/own"
joined "$own/beeg_config.json" "$own/final_model.pt" "$to/pt/own"
for file in tests/data/torch/*.pt; do
    joined tests/data/torch/config.json "$file" "$to/pt/own_$(basename "$file" .pt)"
done
if [ -n "${CONVERT:-}" ]; then
    "$CONVERT" "$own" "$to/native/own"
    cp "$to/native/own" "$to/tensors/own"
    joined "$own/beeg_config.json" "$to/native/own" "$to/folder/own"
fi
for model in "$to"/exported/*/; do
    [ -f "$model/model.safetensors" ] || continue
    name=$(basename "$model")
    cp "$model/config.json" "$to/config/$name"
    cp "$model/model.safetensors" "$to/tensors/$name"
    joined "$model/config.json" "$model/model.safetensors" "$to/folder/$name"
done
for form in tests/data/tokenizer*/; do
    [ -d "$form" ] || continue
    name=$(basename "$form")
    if [ -f "$form/encoder.json" ]; then joined "$form/encoder.json" "$form/vocab.bpe" "$to/tokenizer/$name"; fi
    if [ -f "$form/tokenizer.json" ]; then cp "$form/tokenizer.json" "$to/tokenizer/$name.json"; fi
done
cp tests/data/released/{viz_data,lists,mask,same_answer}.pt tests/data/released/bad/*.pt "$to/viz/"
chmod -R u+w "$to"
