#!/usr/bin/env bash
# The user's CFLAGS, CPPFLAGS and LDFLAGS are in every command that compiles or links, as `make V=1`
# shows them.
#   flags_test.sh       what make would do for all, examples, tests and fuzzers; nothing is built
#   flags_test.sh LOG   what a build with CFLAGS=-O1 CPPFLAGS=-DUSERS_OWN LDFLAGS=-Wl,-z,now did
# Wants MAKE.
set -eu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ $# = 1 ]; then
    cp "$1" "$log"
else
    # A folder that is not there: so everything is to be built. From the environment and from the command
    # line.
    for way in env command; do
        flags=(CFLAGS=-O1 CPPFLAGS=-DUSERS_OWN LDFLAGS=-Wl,-z,now)
        [ $way = env ] && before=(env -u MAKEFLAGS -u MAKEOVERRIDES "${flags[@]}") || before=(env)
        [ $way = env ] && after=() || after=("${flags[@]}")
        "${before[@]}" $MAKE -n V=1 BUILD=build/nothing CC=the-compiler HOSTCC=the-compiler \
            CHECK_LIBS=-lcheck "${after[@]}" all examples tests fuzzers >> "$log"
    done
fi

# One command a line; of those, the compiler's.
sed -e ':join' -e '/\\$/{N;s/\\\n//;b join' -e '}' "$log" |
    grep -E '^[^ ]*(the-compiler|gcc|clang|cc) ' > "$log.commands"
mv "$log.commands" "$log"
awk '
function want(flag) {
    if (index(" " $0 " ", " " flag " "))
        return
    print "without " flag ": " substr($0, 1, 300)
    failed = 1
}
{
    gsub(/[ \t]+/, " ")
    want("-O1")
    if (/ -c / || /\.c( |$)/) {
        want("-DUSERS_OWN")
        n_compiled++
    }
    if (!/ -c /) {
        want("-Wl,-z,now")
        n_linked++
    }
}
END {
    if (n_compiled < 50 || n_linked < 1) {
        print "only " n_compiled " compilations and " n_linked " links were seen"
        failed = 1
    }
    exit failed
}' "$log"
