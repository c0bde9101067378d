#!/usr/bin/env bash
# The ladder: a file in lib/ includes only its own folder or a lower floor (docs/architecture.md).
#   check_ladder.sh [TREE]       prints every violation, fails if there is one
#   check_ladder.sh --self-test  shows that violations of each kind are found
set -eu

check_tree() {
    find "$1/lib" "$1/examples" "$1/include" -name '*.[ch]' 2>/dev/null | LC_ALL=C sort |
        while read -r file; do printf '%s\t%s\n' "$file" "${file#"$1"/}"; done |
        awk -F '\t' '
    BEGIN {
        n = split("base 0 kernels 1 matrix 2 format 3 text 3 optim 3 model 4 train 5 circuit 5 " \
                  "report 6 python 6", word, " ")
        for (i = 1; i < n; i += 2)
            floor_of[word[i]] = word[i + 1]
    }
    function complain(line, why) {
        printf "%s:%d: %s\n", name, line, why
        bad = 1
    }
    function check_library(line, header, quoted,    parts, to) {
        if (header ~ /^libxsmm/ && from != "kernels")
            complain(line, "libxsmm belongs to lib/kernels")
        split(header, parts, "/")
        to = parts[1]
        if (!quoted && !(header ~ /\// && to in floor_of))
            return
        if (header == "sparsenet.h")
            return
        if (header !~ /\// || !(to in floor_of) || header ~ /\.\./)
            complain(line, "\"" header "\" is not written as folder/file.h of lib/")
        else if (to == from)
            return
        else if (floor_of[from] == 6 && to != "base")
            complain(line, "lib/" from " stands on the public header and base only, not on \"" header "\"")
        else if (floor_of[to] == floor_of[from])
            complain(line, "lib/" from " and lib/" to " are siblings: \"" header "\"")
        else if (floor_of[to] > floor_of[from])
            complain(line, "lib/" from " includes the higher floor lib/" to ": \"" header "\"")
    }
    {
        path = $1
        name = $2
        split(name, place, "/")
        from = place[2]
        if (place[1] == "lib" && !(from in floor_of)) {
            complain(0, "lib/" from " has no floor in the ladder")
            next
        }
        for (line = 1; (getline text < path) > 0; line++) {
            if (text !~ /^[ \t]*#[ \t]*include[ \t]*["<]/)
                continue
            header = text
            sub(/^[^"<]*["<]/, "", header)
            sub(/[">].*$/, "", header)
            quoted = text ~ /include[ \t]*"/
            if (place[1] == "lib")
                check_library(line, header, quoted)
            else if (place[1] == "include" && header !~ /^std(def|int)\.h$/)
                complain(line, "the public header includes only <stddef.h> and <stdint.h>")
            else if (place[1] == "examples" && header ~ /\// && header !~ /^sys\//)
                complain(line, "examples see the public header only, not \"" header "\"")
        }
        close(path)
    }
    END { exit bad }'
}

# Each line: a file and one include in it. The first group must pass, the second must fail.
allowed='lib/model/a.c "model/b.h"
lib/model/a.c "format/b.h"
lib/model/a.c "optim/b.h"
lib/circuit/a.c "base/b.h"
lib/report/a.c "sparsenet.h"
lib/python/a.h "base/b.h"
lib/kernels/a.c <libxsmm.h>
lib/base/a.c <sys/stat.h>
examples/a.c "sparsenet.h"'
refused='lib/base/a.c "kernels/b.h"
lib/matrix/a.h "model/b.h"
lib/train/a.c "circuit/b.h"
lib/circuit/a.c "train/b.h"
lib/format/a.c "text/b.h"
lib/optim/a.c "format/b.h"
lib/report/a.c "python/b.h"
lib/report/a.c "model/b.h"
lib/python/a.c "text/b.h"
lib/model/a.c <circuit/b.h>
lib/model/a.c "b.h"
lib/model/a.c "../circuit/b.h"
lib/model/a.c "model/../circuit/b.h"
lib/matrix/a.c <libxsmm.h>
lib/unknown/a.c <stdio.h>
examples/a.c "base/memory.h"
include/sparsenet.h <stdio.h>'

self_test() {
    local failures=0 file header
    while read -r file header; do
        rm -rf "$scratch/tree"
        mkdir -p "$scratch/tree/$(dirname "$file")"
        printf '/* comment */\n#include %s\n' "$header" > "$scratch/tree/$file"
        if check_tree "$scratch/tree" > "$scratch/out"; then echo pass; else echo fail; fi > "$scratch/verdict"
        if [ "$(cat "$scratch/verdict")" != "$1" ]; then
            echo "ladder self-test: $file with $header should $1"
            failures=1
        fi
    done
    return $failures
}

if [ "${1:-}" = --self-test ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    self_test pass <<< "$allowed"
    self_test fail <<< "$refused"
else
    check_tree "${1:-.}"
fi
