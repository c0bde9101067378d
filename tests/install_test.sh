#!/usr/bin/env bash
# Installs below a scratch folder, builds a C and a C++ program against it with pkg-config (shared and
# static), and uninstalls without a trace. Wants BUILD, CC, CXX, MAKE.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
$MAKE -s install BUILD="$BUILD" CC="$CC" PREFIX="$scratch/first" LDCONFIG=true > /dev/null
$MAKE -s install BUILD="$BUILD" CC="$CC" PREFIX=/opt/second DESTDIR="$scratch/stage" > /dev/null
grep -q '^prefix=/opt/second$' "$scratch/stage/opt/second/lib/pkgconfig/sparsenet.pc"

export PKG_CONFIG_PATH=$scratch/first/lib/pkgconfig
flags() { pkg-config "$@" sparsenet; }
[ "$(flags --modversion)" = "$(sed -n 's/^#define SN_VERSION_M[AI][JN]OR //p' include/sparsenet.h | paste -sd.).$(
    sed -n 's/^#define SN_VERSION_PATCH //p' include/sparsenet.h)" ]

cp tests/header_test.c "$scratch/program.c"
$CC -std=c99 $(flags --cflags) -o "$scratch/shared" "$scratch/program.c" $(flags --libs)
LD_LIBRARY_PATH=$scratch/first/lib "$scratch/shared"
readelf -d "$scratch/shared" | grep -q 'NEEDED.*libsparsenet\.so\.[0-9]*\]'

$CXX -std=c++98 $(flags --cflags) -x c++ -o "$scratch/cxx" "$scratch/program.c" -x none $(flags --libs)
LD_LIBRARY_PATH=$scratch/first/lib "$scratch/cxx"

# Without the shared object in the folder, -lsparsenet takes the archive.
rm "$scratch"/first/lib/libsparsenet.so*
$CC -std=c99 $(flags --cflags) -o "$scratch/static" "$scratch/program.c" $(flags --libs --static)
"$scratch/static"
if readelf -d "$scratch/static" | grep -q 'NEEDED.*libsparsenet'; then
    echo "the static program needs the shared library"
    exit 1
fi

$MAKE -s uninstall BUILD="$BUILD" PREFIX="$scratch/first" LDCONFIG=true > /dev/null
$MAKE -s uninstall BUILD="$BUILD" PREFIX=/opt/second DESTDIR="$scratch/stage" > /dev/null
left=$(find "$scratch/first" "$scratch/stage" ! -type d)
if [ -n "$left" ]; then
    echo "left behind: $left"
    exit 1
fi
