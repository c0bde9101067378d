#!/usr/bin/env bash
# Two builds of the library, in folders of other names, at other times, under another mask and locale,
# are the same bits; one of them shows that the user's flags are honoured (flags_test.sh) and what they
# do. Wants MAKE.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset MAKEFLAGS MAKEOVERRIDES MFLAGS BUILD
flags=(CFLAGS='-O1 -g' CPPFLAGS=-DUSERS_OWN LDFLAGS=-Wl,-z,now V=1)

copy() { # the tree as it is, without what was built
    mkdir -p "$1"
    tar -c --exclude=./build --exclude=./out --exclude=./.git . | tar -x -C "$1"
}
first=$scratch/first second="$scratch/a second, in a folder with a longer name"
copy "$first"
copy "$second"
find "$second" -exec touch -d '2001-02-03 04:05:06' {} +

(cd "$first" && $MAKE "${flags[@]}" all man > "$scratch/log" 2>&1) || { tail -n 30 "$scratch/log"; exit 1; }
(cd "$second" && umask 077 && export LC_ALL=tr_TR.UTF-8 TZ=Asia/Kolkata &&
    $MAKE BUILD="$scratch/out" "${flags[@]}" all man > "$scratch/log.second" 2>&1) ||
    { tail -n 30 "$scratch/log.second"; exit 1; }

for file in libsparsenet.a "$(basename "$(readlink -f "$first/build/libsparsenet.so")")" man/sparsenet.3; do
    cmp "$first/build/$file" "$scratch/out/$file"
    if grep -q "$scratch" "$first/build/$file"; then
        echo "$file holds the name of the folder that it was built in"
        exit 1
    fi
done

bash tests/package/flags_test.sh "$scratch/log"
readelf -d "$first/build/libsparsenet.so" | grep -qE 'BIND_NOW|FLAGS.*NOW' ||
    { echo "LDFLAGS=-Wl,-z,now did nothing"; exit 1; }
