#!/usr/bin/env bash
# What `make check` runs; `make` has built everything. Wants BUILD, CC, CXX, NM, SPARSENET_SHARED, MAKE.
set -u
. tests/steps.sh
runner=$BUILD/tests/check_all

# Suites whose results hang on the instruction set run once more for each other one that this machine has;
# the suites kernels* run every table by themselves.
isa_suites="matrix session session_rows generate"

# All but the best of this machine, on which everything runs anyway.
other_isas() {
    local isa best
    best=$("$runner" base 2> /dev/null | sed -n 's/^kernels: //p')
    for isa in portable avx2 avx512; do
        [ $isa = "$best" ] && continue
        SPARSENET_ISA=$isa "$runner" base > /dev/null 2>&1
        [ $? = 77 ] || echo $isa
    done
}

on_isa() { SPARSENET_ISA=$1 "${@:2}"; }

have() { command -v "${1%% *}" > /dev/null; }

# By the compilers of this run, and by gcc and clang where they are.
header() {
    local compiler standard failed=0
    for compiler in "$CC" gcc clang; do
        for standard in c89 c99 c11 c17; do
            ! have "$compiler" || $compiler -std=$standard -pedantic -Wall -Wextra -Wconversion \
                -Wstrict-prototypes -Wundef -Werror -Iinclude -fsyntax-only tests/header_test.c || failed=1
        done
    done
    for compiler in "$CXX" g++ clang++; do
        for standard in c++98 c++03 c++11 c++14 c++17 c++20; do
            ! have "$compiler" || $compiler -std=$standard -pedantic -Wall -Wextra -Wconversion -Wundef -Werror \
                -Iinclude -fsyntax-only -x c++ tests/header_test.c || failed=1
        done
    done
    return $failed
}

# Exactly the names of the header are exported, and they are those of the list, and of Debian's; its constants have the
# values of theirs.
symbols() {
    local work=$BUILD/tests/symbols
    mkdir -p "$work"
    $NM -D --defined-only "$BUILD/libsparsenet.so" | awk '{print $3}' | LC_ALL=C sort > "$work/shared"
    $NM -g --defined-only "$BUILD/libsparsenet.a" | awk 'NF == 3 {print $3}' | LC_ALL=C sort > "$work/static"
    tr '\n' ' ' < include/sparsenet.h | grep -oE 'SN_API [^;(]*\(' | grep -oE 'sn_[a-z0-9_]+ *\($' |
        tr -d ' (' | LC_ALL=C sort -u > "$work/header"
    diff -u "$work/header" "$work/shared" && diff -u "$work/header" "$work/static" &&
        diff -u tests/data/symbols.txt "$work/shared" &&
        sed -n 's/^ \(sn_[a-z0-9_]*\)@Base .*/\1/p' tests/package/debian/libsparsenet*.symbols |
        diff -u tests/data/symbols.txt - && bash tests/package/constants.sh > "$work/constants" &&
        diff -u tests/data/constants.txt "$work/constants" || { echo "if that is meant: make symbols-update (docs/release.md)"; return 1; }
}

# Steps run two and more at a time. Those that call `make install` or `make man` wait for one another, and stand
# between others that they need not wait for.
suites() {
    # shellcheck disable=SC2046 # words are meant
    step "suites, part $1 of 6" "$runner" $(part "$1" 6)
}

step "ladder" bash tests/check_ladder.sh
step "ladder self-test" bash tests/check_ladder.sh --self-test
step "public header, C89 to C17 and C++98 to C++20, gcc and clang" header
step "exported symbols and values of constants" symbols
step "manual pages" bash tests/package/man_test.sh
suites 1
step_after "manual pages" "install, link by pkg-config, uninstall" bash tests/install_test.sh
suites 2
step_after "install, link by pkg-config, uninstall" "install, link by CMake, uninstall" \
    bash tests/install_test.sh cmake
suites 3
suites 4
prepared="bindings: installed, with C's own numbers"
step_after "install, link by CMake, uninstall" "$prepared" bash tests/ffi_test.sh prepare
suites 5
for language in python cpp lua node; do
    step_after "$prepared" "bindings: $language" bash tests/ffi_test.sh $language
done
suites 6
step "goldens" golden "$BUILD"
step "goldens from their .pt" golden "$BUILD" --pt
for isa in $(other_isas); do
    step "suites on $isa: $isa_suites" on_isa $isa "$runner" $isa_suites
    step "goldens on $isa" on_isa $isa golden "$BUILD"
    step "goldens from their .pt on $isa" on_isa $isa golden "$BUILD" --pt
done
step "malformed models" bash tests/bad_models.sh
step "fuzz corpora" bash tests/fuzz/replay.sh
step "random sequences of calls" "$BUILD/tests/random_calls/random_calls" --calls 30000
step "examples" bash tests/examples_test.sh
step "the user's flags in every command" bash tests/package/flags_test.sh
step "generated Python is Python" python3 tests/task_syntax.py "$BUILD/tests/task_text"
step "GraphML in networkx" python3 tests/graphml_networkx.py "$BUILD/tests/circuit_files"
finish 60
