#!/usr/bin/env bash
# Builds the Debian packages, asks lintian, unpacks them into a scratch root and runs the packages' own test of
# linking against that.
#   deb_test.sh             as anybody
#   deb_test.sh --install   as root: installs them on this machine instead, runs their own tests, purges them
# Wants BUILD, CC, CXX, MAKE; 77 without debhelper or lintian.
set -eu
for tool in dpkg-buildpackage dh lintian; do
    command -v $tool > /dev/null || { echo "no $tool (make deps-package)"; exit 77; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() {
    echo "$*"
    exit 1
}

# What the package says of itself: its tests are those that are there, and the suites, which a build with checks runs,
# find what `make deps` installs. (Every Debian build has a compiler; graphviz and python3 are for the rest of `make check`.)
packaging=tests/package/debian
tests=$(sed -n 's/^Tests: *//p' $packaging/tests/control | tr ', ' '\n\n' | sed '/^$/d' | LC_ALL=C sort)
[ "$tests" = "$(cd $packaging/tests && find . -type f -executable | sed 's|^\./||' | LC_ALL=C sort)" ] ||
    fail "tests/control does not name the scripts beside it"
for package in $(sed -n 's/^DEPS := //p' Makefile); do
    case $package in gcc | g++ | libc6-dev | make | binutils | graphviz | python3 | '\') continue ;; esac
    sed -n '/^Build-Depends:/,/^[^ B]/p' $packaging/control | grep -qE "[ :]$package( <!nocheck>)?,?\$" ||
        fail "Build-Depends lacks $package"
done

(unset MAKEFLAGS MAKEOVERRIDES MFLAGS; $MAKE deb BUILD="$BUILD") > "$BUILD/deb.log" 2>&1 ||
    { tail -n 50 "$BUILD/deb.log"; exit 1; }
deb=$BUILD/deb
lintian --fail-on error,warning --display-info "$deb"/*.changes

runtime=("$deb"/libsparsenet[0-9]_*.deb)
development=("$deb"/libsparsenet-dev_*.deb)
holds() {
    dpkg-deb --contents "$1" > "$scratch/contents"
    grep -q " \./$2\$" "$scratch/contents" || fail "$(basename "$1") lacks $2"
}
version=$(dpkg-deb -f "${development[0]}" Version)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
holds "${runtime[0]}" "usr/lib/$multiarch/libsparsenet.so.${version%-*}"
for file in "usr/include/sparsenet.h" "usr/lib/$multiarch/libsparsenet.a" \
    "usr/lib/$multiarch/pkgconfig/sparsenet.pc" "usr/lib/$multiarch/cmake/sparsenet/sparsenetConfig.cmake" \
    "usr/share/man/man3/sparsenet.3.gz" "usr/share/man/man5/sparsenet-formats.5.gz" \
    "usr/share/doc/libsparsenet-dev/docs/conventions.md" \
    "usr/share/doc/libsparsenet-dev/examples/quote_circuit.c"; do
    holds "${development[0]}" "$file"
done

# Hardened: bound at the start, relocations read-only after, no stack to execute.
dpkg-deb -x "${runtime[0]}" "$scratch/root"
dpkg-deb -x "${development[0]}" "$scratch/root"
library=$scratch/root/usr/lib/$multiarch/libsparsenet.so
readelf -d "$library" | grep -qE 'BIND_NOW|FLAGS.*NOW' || fail "not bound at the start"
readelf -l "$library" | grep -q GNU_RELRO || fail "no RELRO"
readelf -l --wide "$library" | grep GNU_STACK | grep -qv RWE || fail "an executable stack"

run_test() {
    local status=0
    mkdir "$scratch/$1"
    (cd "$deb"/libsparsenet-*/ && AUTOPKGTEST_TMP="$scratch/$1" debian/tests/"$1" > "$scratch/log" 2>&1) || status=$?
    [ $status = 0 ] || tail -n 50 "$scratch/log"
    [ $status != 77 ] || exit 77
    [ $status = 0 ] || fail "debian/tests/$1"
}

if [ "${1:-}" = --install ]; then
    ! dpkg-query -W libsparsenet0 > /dev/null 2>&1 || fail "libsparsenet0 is installed here already"
    purge() { dpkg --purge libsparsenet-dev libsparsenet0 > /dev/null; }
    trap 'purge; rm -rf "$scratch"' EXIT
    dpkg -i "${runtime[0]}" "${development[0]}" > /dev/null
    for test in $tests; do
        run_test "$test"
    done
    purge
    trap 'rm -rf "$scratch"' EXIT
    [ ! -e /usr/include/sparsenet.h ] && [ ! -e "/usr/lib/$multiarch/libsparsenet.so.0" ] || fail "left behind"
else
    export PKG_CONFIG_PATH=$scratch/root/usr/lib/$multiarch/pkgconfig PKG_CONFIG_SYSROOT_DIR=$scratch/root
    run_test link
fi
