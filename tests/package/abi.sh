#!/usr/bin/env bash
# The binary interface against the description in tests/data/sparsenet.abi: functions, and the layout of
# every type that the header shows (docs/release.md).
#   abi.sh check [LIBRARY]  fails where a program built against what is described might not run with LIBRARY
#   abi.sh update           describes the library as it is
#   abi.sh self-test        shows that changes of each kind are found, and that those which are allowed pass
# 77 where the tools, debug information or the machine are missing. Wants BUILD; CC for the self-test.
set -eu
description=tests/data/sparsenet.abi
headers=include
library=${2:-$BUILD/libsparsenet.so}
for tool in abidw abidiff; do
    command -v $tool > /dev/null || { echo "no $tool (make deps-ci)"; exit 77; }
done
machine=$(uname -m)
[ "$machine" = x86_64 ] || { echo "the description is of x86-64, not of $machine"; exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

described() { readelf -S --wide "$library" | grep -q '\.debug_info'; }

# What the header does not show is the library's own business: no private types, no paths, no lines. Two
# descriptions are compared, made alike: abidiff would take types of one without places for private ones,
# and pass over them.
describe() {
    abidw --headers-dir "$headers" --drop-private-types --exported-interfaces-only \
        --type-id-style hash --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed \
        --no-write-default-sizes --out-file "$1" "$library"
}

# 1: a change that is not allowed. Other numbers: abidiff could not tell (its bits 1 and 2; 4 and 8 are
# changes).
compare() {
    local status=0
    describe "$scratch/found.abi"
    python3 tests/package/abi_grown.py "$description" "$scratch/found.abi" "$scratch/comparable.abi"
    abidiff --no-added-syms "$description" "$scratch/comparable.abi" || status=$?
    [ $((status & 3)) = 0 ] || return 2
    [ $status = 0 ]
}

update() {
    describe $description.new
    mv $description.new $description
    echo "$description describes $library: $(wc -c < $description) bytes"
}

check() {
    local status=0
    compare || status=$?
    [ $status != 1 ] || cat << END
Programs built against the library as $description has it may not run with this one. If that is no mistake, and
docs/release.md allows it: make abi-update, and commit $description with the change.
END
    return $status
}

# A library of a few lines, changed by sed as the third word says.
build_small() {
    mkdir -p "$scratch/$1"
    cat > "$scratch/$1/sparsenet.h" << 'END'
typedef struct sn_context sn_context;
typedef struct sn_allocator { void *(*allocate)(unsigned long size); void *payload; } sn_allocator;
typedef struct sn_evaluation { unsigned long struct_size; double loss; double accuracy; } sn_evaluation;
typedef struct sn_page { unsigned long struct_size; int n_pairs; } sn_page;
int sn_context_create(sn_context **out, const sn_allocator *allocator);
int sn_evaluate(sn_evaluation *result, sn_context *context, int ablate);
int sn_report(const sn_page *page);
END
    cat > "$scratch/$1/library.c" << 'END'
#include "sparsenet.h"
struct sn_context { int n_threads; };
int sn_context_create(sn_context **out, const sn_allocator *allocator) { return !out || !allocator; }
int sn_evaluate(sn_evaluation *result, sn_context *context, int ablate) { return !result || !context; }
int sn_report(const sn_page *page) { return !page; }
END
    sed -i "$2" "$scratch/$1/sparsenet.h" "$scratch/$1/library.c"
    library=$scratch/$1/library.so
    headers=$scratch/$1
    ${CC:-cc} -g -shared -fPIC -Wl,-soname,libsmall.so -o "$library" "$scratch/$1/library.c"
}

self_test() {
    local verdict name change found failures=0
    description=$scratch/small.abi
    build_small before ''
    describe "$description"
    while IFS=';' read -r verdict name change; do
        build_small "$name" "$change"
        found=0
        compare > "$scratch/report" 2>&1 || found=$?
        if [ $found != $verdict ]; then
            echo "$name: $found, which should be $verdict"
            cat "$scratch/report"
            failures=1
        fi
    done << 'END'
0;nothing;
0;private type;s/int n_threads;/long n_threads; int kind;/
0;new function;s/^int sn_evaluate(.*;$/&\nint sn_new(void);/; s/^struct.*/&\nint sn_new(void) { return 0; }/
0;structure grown at its end;s/double accuracy;/double accuracy; double scale;/
1;structure grown into its padding;s/int n_pairs;/int n_pairs; int other;/
1;structure grown, and a field of another type;s/int n_pairs;/float n_pairs; long other;/
1;function gone;/^int sn_evaluate/d
1;argument of another type;/sn_evaluate(/s/int ablate/long ablate/
1;argument more;/sn_evaluate(/s/int ablate/int ablate, int more/
1;result of another type;s/^int sn_evaluate/long sn_evaluate/
1;field in the middle;s/double loss;/double loss; double middle;/
1;field of another type;s/double accuracy;/float accuracy;/
1;field gone;s/double loss;//
1;fields exchanged;s/double loss; double accuracy;/double accuracy; double loss;/
1;structure of fixed size grown;s/void \*payload;/void *payload; void *more;/
1;callback of another type;s/unsigned long size/unsigned size/
END
    return $failures
}

case ${1:-} in
check | update)
    described || { echo "$library has no debug information"; exit 77; }
    $1
    ;;
self-test) self_test ;;
*)
    echo "usage: abi.sh check|update|self-test"
    exit 2
    ;;
esac
