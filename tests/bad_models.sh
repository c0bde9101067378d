#!/usr/bin/env bash
# Every folder of SPARSENET_SHARED/bad must end as its expect.tsv says, within 10 seconds and 1 GB, with one line
# on standard output that names the folder or file, and without touching a file. Wants BUILD, SPARSENET_SHARED.
set -u
bad=$SPARSENET_SHARED/bad
if [ ! -f "$bad/expect.tsv" ]; then
    echo "no malformed models in $bad"
    exit 77
fi
load_check=$(realpath "$BUILD/tests/load_check")
bad=$(realpath "$bad")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0 failed=0

complain() {
    echo "$name: expected $expect: $1: $(head -c 300 "$work/out" "$work/err")"
    failed=$((failed + 1))
}

while IFS=$'\t' read -r name expect; do
    n=$((n + 1))
    mkdir "$work/here" # an empty folder to work in, which must stay empty
    # the sanitizers reserve far more addresses than they use
    (cd "$work/here" && { [ -n "${SAN:-}" ] || ulimit -v 1048576; } &&
        exec timeout 10 "$load_check" "$bad/$name") > "$work/out" 2> "$work/err"
    status=$?
    case $expect:$status in
    reject:3 | accept:0 | either:[03] | reject-or-warn:[03]) ;;
    *) complain "status $status" ;;
    esac
    [ "$(wc -l < "$work/out")" = 1 ] && [ ! -s "$work/err" ] || complain "not one line"
    [ $status != 3 ] || grep -qF "$bad/$name" "$work/out" || complain "the line does not name the file"
    rmdir "$work/here" || complain "a file was written"
done < "$bad/expect.tsv"
# The malicious ones try to create files of this name.
pwned=$(find /tmp . -maxdepth 1 -name '*_pwned' 2> /dev/null)
[ -z "$pwned" ] || { echo "created: $pwned"; failed=$((failed + 1)); }
echo "$((n - failed)) of $n as expected"
[ $failed = 0 ]
