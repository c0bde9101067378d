#!/usr/bin/env bash
# The user's CFLAGS, CXXFLAGS, CPPFLAGS and LDFLAGS are in every command that compiles or links, as `make V=1`
# shows them, and nothing behind them optimises otherwise. Without CFLAGS, kernels are compiled with -O3.
#   flags_test.sh       what make would do for all, examples, tests and fuzzers; nothing is built
#   flags_test.sh LOG   what a build with CFLAGS=-O1 CPPFLAGS=-DUSERS_OWN LDFLAGS=-Wl,-z,now did
# Wants MAKE.
set -eu
log=$(mktemp)
trap 'rm -f "$log" "$log".*' EXIT

# A folder that is not there: so everything is to be built.
would() {
    $MAKE -n V=1 BUILD=build/nothing CC=the-compiler CXX=the-c++ HOSTCC=the-compiler CHECK_LIBS=-lcheck "$@"
}

if [ $# = 1 ]; then
    cp "$1" "$log"
else
    # From the environment and from the command line.
    unset MAKEFLAGS MAKEOVERRIDES CFLAGS CXXFLAGS CPPFLAGS LDFLAGS KERNEL_CFLAGS
    flags=(CFLAGS=-O1 CXXFLAGS=-O1 CPPFLAGS=-DUSERS_OWN LDFLAGS=-Wl,-z,now)
    (export "${flags[@]}" && would all examples tests fuzzers) > "$log"
    would "${flags[@]}" all examples tests fuzzers >> "$log"

    # Of several, the last counts.
    would all tests | grep -E '^the-compiler .* -c .*kernels(/(portable|avx2|avx512)|_wide)\.c$' > "$log.kernels"
    [ "$(sed -E 's/.* (-O[^ ]*).*/\1/' "$log.kernels" | xargs)" = "-O3 -O3 -O3 -O3" ] ||
        { echo "without CFLAGS, kernels are not compiled with -O3:"; cut -c 1-300 "$log.kernels"; exit 1; }
fi

# One command a line; of those, the compiler's.
sed -e ':join' -e '/\\$/{N;s/\\\n//;b join' -e '}' "$log" |
    grep -E '^[^ ]*(the-compiler|the-c\+\+|gcc|clang|cc|g\+\+|clang\+\+|c\+\+) ' > "$log.commands"
mv "$log.commands" "$log"
awk -v n_cxx_wanted=$((2 - 2 * $#)) '
function want(flag) {
    if (index(" " $0 " ", " " flag " "))
        return
    print "without " flag ": " substr($0, 1, 300)
    failed = 1
}
{
    gsub(/[ \t]+/, " ")
    want("-O1")
    if (match($0, / -O1 .* -(O|ffp-contract|ffast-math)/)) {
        print "behind -O1: " substr($0, RSTART + 4, RLENGTH - 4) "..."
        failed = 1
    }
    if (/^[^ ]*\+\+ /)
        n_cxx++
    if (/ -c / || /\.c(pp)?( |$)/) {
        want("-DUSERS_OWN")
        n_compiled++
    }
    if (!/ -c /) {
        want("-Wl,-z,now")
        n_linked++
    }
}
END {
    if (n_compiled < 50 || n_linked < 1 || n_cxx < n_cxx_wanted) {
        print "only " n_compiled " compilations and " n_linked " links were seen, " n_cxx + 0 " of C++"
        failed = 1
    }
    exit failed
}' "$log"
