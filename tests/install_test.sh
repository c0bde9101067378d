#!/usr/bin/env bash
# Installs below scratch folders as a user, a packager and a distribution do, builds programs against
# each tree through pkg-config and CMake, and uninstalls without a trace. Wants BUILD, CC, CXX, MAKE.
#   install_test.sh          pkg-config
#   install_test.sh cmake    CMake; 77 where there is none
set -eu
way=${1:-pkg-config}
[ $way != cmake ] || command -v cmake > /dev/null || { echo "no cmake (make deps-ci)"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

number() { sed -n "s/^#define SN_VERSION_$1 //p" include/sparsenet.h; }
version=$(number MAJOR).$(number MINOR).$(number PATCH)

call() { $MAKE -s "$1" BUILD="$BUILD" CC="$CC" LDCONFIG=true "${@:2}" > "$scratch/log"; }

fail() {
    echo "$*"
    exit 1
}

# expect TREE FILE...: these files are in there, and those that libsparsenet installs into LIBRARIES, and
# no other.
expect() {
    {
        printf '%s\n' "${@:3}"
        [ -z "$2" ] || sed "s|^lib/|$2/|" << END
include/sparsenet.h
lib/cmake/sparsenet/sparsenetConfig.cmake
lib/cmake/sparsenet/sparsenetConfigVersion.cmake
lib/libsparsenet.a
lib/libsparsenet.so
lib/libsparsenet.so.$(number MAJOR)
lib/libsparsenet.so.$version
lib/pkgconfig/sparsenet.pc
share/man/man3/sparsenet.3
share/man/man5/sparsenet-formats.5
END
    } | sed '/^$/d' | LC_ALL=C sort > "$scratch/expected"
    (cd "$1" && find . ! -type d) | sed 's|^\./||' | LC_ALL=C sort > "$scratch/found"
    diff -u "$scratch/expected" "$scratch/found" || fail "not the files that should be in $1"
}

# programs PREFIX LIBDIR FLAGS...: builds and runs programs against a tree; FLAGS are for pkg-config.
programs() {
    if [ $way = cmake ]; then
        bash tests/package/cmake_test.sh "$scratch/programs of ${1##*/}" "$1" "$version"
    else
        export PKG_CONFIG_PATH=$1/$2/pkgconfig PKG_CONFIG_FLAGS="${*:3}"
        [ "$(pkg-config --modversion sparsenet)" = "$version" ] || fail "pkg-config does not say $version"
        bash tests/package/link_test.sh "$scratch/programs of ${1##*/}"
        unset PKG_CONFIG_PATH PKG_CONFIG_FLAGS
    fi
}

if [ $way = cmake ]; then
    VERSION=2.3.4 MAJOR=2 PREFIX=/usr LIBDIR=/usr/lib INCLUDEDIR=/usr/include MANDIR=/usr/share/man SONAME='' \
        SHARED_NAME='' XSMM_LIBS='' LIBRARIES='' POINTER_BYTES=8 \
        sh tests/package/fill.sh "$scratch/version" tests/package/cmake/sparsenetConfigVersion.cmake.in
    cmake -DVERSION_FILE="$scratch/version/sparsenetConfigVersion.cmake" -P tests/package/version_test.cmake
fi

# A prefix with a space in its name, in which another package lives already.
prefix="$scratch/the prefix"
mkdir -p "$prefix/lib/cmake/other"
touch "$prefix/lib/libother.so" "$prefix/lib/cmake/other/otherConfig.cmake"
others=(lib/libother.so lib/cmake/other/otherConfig.cmake)
call install PREFIX="$prefix"
expect "$prefix" lib "${others[@]}"
soname=$(readelf -d "$prefix/lib/libsparsenet.so.$version" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
[ "$soname" = "libsparsenet.so.$(number MAJOR)" ] || fail "the soname is '$soname'"
[ "$(readlink "$prefix/lib/$soname")" = "libsparsenet.so.$version" ] || fail "$soname leads elsewhere"
programs "$prefix" lib
call uninstall PREFIX="$prefix"
expect "$prefix" "" "${others[@]}"
[ ! -e "$prefix/lib/cmake/sparsenet" ] || fail "lib/cmake/sparsenet is left"

# Staged under DESTDIR, then moved: nothing in there knows where it was staged, and what looks for the
# prefix in the tree itself finds it (pkg-config is told to).
call install PREFIX=/opt/second DESTDIR="$scratch/stage"
expect "$scratch/stage/opt/second" lib
[ "$(cd "$scratch/stage" && echo * opt/*)" = "opt opt/second" ] || fail "something lies beside /opt/second"
grep -q '^prefix=/opt/second$' "$scratch/stage/opt/second/lib/pkgconfig/sparsenet.pc"
! grep -rl "$scratch" "$scratch/stage" || fail "names the folder of staging"
cp -a "$scratch/stage/opt/second" "$scratch/moved"
programs "$scratch/moved" lib --define-prefix
call uninstall PREFIX=/opt/second DESTDIR="$scratch/stage"
expect "$scratch/stage" ""

# Libraries of several machines side by side, as Debian has them.
multiarch=lib/x86_64-linux-gnu
call install PREFIX="$scratch/multi" LIBDIR="$scratch/multi/$multiarch"
expect "$scratch/multi" $multiarch
programs "$scratch/multi" $multiarch
call uninstall PREFIX="$scratch/multi" LIBDIR="$scratch/multi/$multiarch"
expect "$scratch/multi" ""

# A relative place would land in this tree.
! call install PREFIX="$scratch/relative" LIBDIR=lib/relative 2> "$scratch/errors" ||
    fail "a relative LIBDIR is taken"
grep -q "'lib/relative' is no absolute path" "$scratch/errors"
[ ! -e lib/relative ] && [ ! -e "$scratch/relative" ] || fail "something was installed all the same"
