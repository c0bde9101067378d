#!/usr/bin/env bash
# link_test.sh FOLDER [LIBRARIES]: builds a C and a C++17 program in FOLDER against the libsparsenet that
# pkg-config finds (shared and static) and runs them, with the shared library in LIBRARIES (by default
# where pkg-config says that it is). Wants CC, CXX; PKG_CONFIG_FLAGS are for pkg-config, and EMULATOR runs
# them where they are for another machine.
set -eu
here=$(dirname "$0")
folder=$1
mkdir -p "$folder"

flags() { pkg-config ${PKG_CONFIG_FLAGS:-} "$@" sparsenet; }

# pkg-config escapes blanks as a shell wants them, which reads the flags of a Makefile's rule: hence
# eval.
compile() { # OUT COMPILER SOURCE FLAGS
    eval "$2 -Wall -Wextra -Werror $(flags --cflags) -o \"\$folder/$1\" \"\$here/$3\" $4 -lm"
}

libraries=${2:-$(flags --variable=libdir)}
run() {
    local said
    # shellcheck disable=SC2086 # a command and its options
    said=$(LD_LIBRARY_PATH=$libraries ${EMULATOR:-} "$folder/$1")
    [ "$said" = "$(flags --modversion)" ] && return
    echo "$1 says '$said', pkg-config $(flags --modversion)"
    exit 1
}

needs() { readelf -d "$folder/$1" | grep -q 'NEEDED.*libsparsenet\.so\.[0-9]*\]'; }

static=$(flags --static --libs | sed 's/-lsparsenet /-l:libsparsenet.a /')
compile shared "$CC -std=c99" program.c "$(flags --libs)"
compile shared_cxx "$CXX -std=c++17" program.cpp "$(flags --libs)"
compile static "$CC -std=c99" program.c "$static"
compile static_cxx "$CXX -std=c++17" program.cpp "$static"
for program in shared shared_cxx static static_cxx; do
    run $program
done
for program in shared shared_cxx; do
    needs $program || { echo "$program does not need the shared library"; exit 1; }
done
for program in static static_cxx; do
    ! needs $program || { echo "$program needs the shared library"; exit 1; }
done
