#!/usr/bin/env bash
# The bindings of examples/, on an installed library, against what C itself computes there (tests/ffi/reference.c).
#   ffi_test.sh prepare     installs into BUILD/tests/ffi, trains a small model, writes C's numbers: first of all
#   ffi_test.sh python | cpp | lua | node     the cases of one language; 77 where it is missing
#   ffi_test.sh programs    the program quote_circuit of each language that is there finds the circuit that C finds; 77
#                           when one is not there, after the others have passed
# Wants BUILD, CC, CXX, MAKE; SAN as in the Makefile.
set -eu
here=$PWD
work=$here/$BUILD/tests/ffi
case $BUILD in /*) work=$BUILD/tests/ffi ;; esac # a path from the root already
prefix=$work/prefix
data=$work/data
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
export SPARSENET_HEADER=$prefix/include/sparsenet.h
export PYTHONDONTWRITEBYTECODE=1 NODE_PATH=$work/../../node/node_modules
warnings="-Wall -Wextra -Wconversion -Wshadow -pedantic -Werror"
sanitize=${SAN:+-fsanitize=$SAN}
flags() { pkg-config "$@" sparsenet; }

missing() {
    echo "$1"
    exit 77
}

# A python3 that has numpy, else none.
with_numpy() {
    local python
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import numpy' 2> /dev/null && echo "$python" && return
    done
}

have_koffi() { command -v node > /dev/null && node -e 'require("koffi")' 2> /dev/null; }

prepare() {
    rm -rf "$work"
    mkdir -p "$data"
    $MAKE -s install BUILD="$BUILD" CC="$CC" ${SAN:+SAN=$SAN} PREFIX="$prefix" LDCONFIG=true > /dev/null
    # shellcheck disable=SC2046,SC2086 # lists of words
    {
        set -- -std=c11 $warnings $sanitize $(flags --cflags)
        $CC "$@" -o "$work/reference" tests/ffi/reference.c $(flags --libs)
        $CC "$@" -shared -fPIC -o "$work/counting.so" tests/ffi/counting.c
        # As whoever has installed the library would.
        $CXX -std=c++17 $warnings $sanitize $(flags --cflags) -o "$work/quote_circuit_cpp" \
            examples/cpp/quote_circuit.cpp $(flags --libs)
    }
    "$work/reference" "$data"
}

python_case() {
    local python
    python3 tests/ffi/prototypes.py include/sparsenet.h examples/ffi/python/sparsenet.py examples/ffi/node/sparsenet.js
    export PYTHONPATH=$here/examples/ffi/python COUNTING=$work/counting.so
    # Once found by its path, once by its name.
    SPARSENET_LIBRARY=$prefix/lib/libsparsenet.so NO_NUMPY=1 LD_LIBRARY_PATH='' python3 tests/ffi/case.py "$data"
    python=$(with_numpy)
    [ -n "$python" ] || missing "passed without numpy; the rest of the cases needs it (Debian: python3-numpy)"
    "$python" tests/ffi/case.py "$data"
}

cpp_case() {
    # $CXX has built the program (prepare, and make examples).
    if command -v clang++ > /dev/null; then
        # shellcheck disable=SC2046,SC2086
        clang++ -std=c++17 $warnings $(flags --cflags) -fsyntax-only examples/cpp/quote_circuit.cpp
    fi
    # shellcheck disable=SC2046,SC2086
    $CXX -std=c++17 $warnings $sanitize -Iexamples/cpp $(flags --cflags) -o "$work/case_cpp" tests/ffi/case.cpp \
        "$work/counting.so" $(flags --libs) -lpthread
    "$work/case_cpp" "$data"
}

lua_case() {
    command -v luajit > /dev/null || missing "no luajit (Debian: luajit)"
    LUA_PATH="$here/examples/ffi/lua/?.lua" luajit tests/ffi/case.lua "$data"
}

node_case() {
    have_koffi || missing "Node.js or its module koffi is missing (make deps-ci; or npm install in examples/ffi/node)"
    node --expose-gc tests/ffi/case.js examples/ffi/node/sparsenet.js "$data"
}

# The line "N nodes, M edges, ..." and the drawings of a language's program against those of the first.
program() {
    "${@:2}" "$data/model.safetensors" "$data/tokenizer" "$data/program_$1" > "$work/said" 2> "$work/log"
    grep -o '^[0-9]* nodes, [0-9]* edges' "$work/said" > "$work/found_$1"
    cmp "$work/found_c" "$work/found_$1"
    cmp "$data/program_python.svg" "$data/program_$1.svg"
    grep -q '^<!doctype html>$' "$data/program_$1.html"
    echo "$1: $(cat "$work/found_$1")"
}

programs() {
    local python left_out=
    "$BUILD/examples/quote_circuit" "$data/model.safetensors" "$data/tokenizer" > "$work/said"
    grep -o '^[0-9]* nodes, [0-9]* edges' "$work/said" > "$work/found_c"
    python=$(with_numpy)
    program python "${python:-python3}" examples/ffi/python/quote_circuit.py
    program cpp "$work/quote_circuit_cpp"
    if command -v luajit > /dev/null; then
        program lua luajit examples/ffi/lua/quote_circuit.lua
    else
        left_out="LuaJIT (Debian: luajit)"
    fi
    if have_koffi; then
        program node node examples/ffi/node/quote_circuit.js
    else
        left_out="${left_out:+$left_out, }Node.js with koffi (make deps-ci)"
    fi
    [ -z "$left_out" ] || missing "the others passed; not there: $left_out"
}

for what in "$@"; do
    case $what in
    prepare) prepare ;;
    programs) programs ;;
    *)
        [ -f "$data/c.json" ] || missing "ffi_test.sh prepare has not been here"
        "${what}_case"
        ;;
    esac
done
