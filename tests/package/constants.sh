#!/usr/bin/env bash
# The constants of a public header as lines NAME VALUE, in the order of their names: what tests/data/constants.txt
# promises (docs/release.md). The version is none: it changes by itself.
#   constants.sh [HEADER]   fails on what it could not see the value of
set -eu -o pipefail
header=${1:-include/sparsenet.h}
! grep -nE '^[^/*]*\benum\b' "$header" | grep -v '^[0-9]*: \*' ||
    { echo "an enum in $header: constants are #define SN_NAME value, which this list watches" >&2; exit 1; }
awk '
/^[ \t]*#[ \t]*define[ \t]+SN_/ {
    sub(/[ \t]*\/[*\/].*/, "")
    sub(/^[ \t]*#[ \t]*define[ \t]+/, "")
    name = $1
    sub(/^[^ \t]+[ \t]*/, "")
    if (name ~ /^SN_(API$|VERSION_)/)
        next
    if ($0 == "" || /\\$/) {
        print name " has no value on its line" > "/dev/stderr"
        failed = 1
    }
    print name, $0
}
END { exit failed }' "$header" | LC_ALL=C sort
