#!/usr/bin/env bash
# What `make check` runs; `make` has built everything. Wants BUILD, CC, CXX, NM, SPARSENET_SHARED, MAKE.
set -u
. tests/steps.sh
runner=$BUILD/tests/check_all

# Suites whose results hang on the instruction set run once more for each that this machine has.
isa_suites=
for file in tests/test_*.c; do
    suite=${file#tests/test_}
    suite=${suite%.c}
    case $suite in
    kernels* | dense* | matrix* | session* | forward* | backward*) isa_suites="$isa_suites $suite" ;;
    esac
done

isas() {
    for isa in portable avx2 avx512; do
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

# Exactly the names of the header are exported, and they are those of the list, and of Debian's.
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
        diff -u tests/data/symbols.txt - || { echo "if that is meant: make symbols-update (docs/release.md)"; return 1; }
}

step "ladder" bash tests/check_ladder.sh
step "ladder self-test" bash tests/check_ladder.sh --self-test
step "public header, C89 to C17 and C++98 to C++20, gcc and clang" header
step "exported symbols" symbols
step "all suites" "$runner"
for isa in $(isas); do
    [ -z "$isa_suites" ] || step "suites on $isa:$isa_suites" on_isa $isa "$runner" $isa_suites
    step "goldens on $isa" on_isa $isa golden "$BUILD"
    step "goldens from their .pt on $isa" on_isa $isa golden "$BUILD" --pt
done
step "generated Python is Python" python3 tests/task_syntax.py "$BUILD/tests/task_text"
step "GraphML in networkx" python3 tests/graphml_networkx.py "$BUILD/tests/circuit_files"
step "malformed models" bash tests/bad_models.sh
step "fuzz corpora" bash tests/fuzz/replay.sh
step "examples" bash tests/examples_test.sh
step "manual pages" bash tests/package/man_test.sh
step "the user's flags in every command" bash tests/package/flags_test.sh
step "install, link by pkg-config, uninstall" bash tests/install_test.sh
step "install, link by CMake, uninstall" bash tests/install_test.sh cmake
step "bindings: installed, with C's own numbers" bash tests/ffi_test.sh prepare
for language in python cpp lua node; do
    step "bindings: $language" bash tests/ffi_test.sh $language
done
finish
