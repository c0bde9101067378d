#!/usr/bin/env bash
# The manual pages: without a warning of mandoc, in good style; every exported function has its entry; every key, field,
# opcode and global of the formats' tables is named; the example compiles and runs. Wants BUILD, CC,
# MAKE.
set -eu
$MAKE -s man BUILD="$BUILD"
pages=("$BUILD/man/sparsenet.3" "$BUILD/man/sparsenet-formats.5")
failed=0
complain() {
    echo "$*"
    failed=1
}

while read -r name; do
    grep -q "^\.Fo $name\$" "${pages[0]}" || complain "sparsenet(3) lacks $name"
done < tests/data/symbols.txt

# What stands in backquotes in the first column of a table, and the opcodes, which stand in a paragraph.
named() {
    {
        cat docs/formats.md docs/circuit-json.md
        sed -n '/^## Your own tasks/,$p' docs/tasks.md
    } | sed -n -e 's/^\(| `[^|]*\)|.*/\1/p' -e '/^\*\*Opcodes\*\*/,/^$/p' |
        grep -o '`[^`]*`' | tr -d '`' | tr ' ' '\n' | sort -u
}
words=$(sed 's/\\&//g' "${pages[1]}")
for word in $(named); do
    # The rest of a dotted name, or of one under a common head, is enough.
    case $words in
    *"${word#.}"*) ;;
    *"${word##*.}"*) ;;
    *) complain "sparsenet-formats(5) lacks $word" ;;
    esac
done

mkdir -p "$BUILD/man/example"
sed -n '/^\.Sh EXAMPLES/,/^\.Ed/p' "${pages[0]}" | sed -e '1,/^\.Bd/d' -e '/^\.Ed/d' -e 's/\\e/\\/g' \
    > "$BUILD/man/example/example.c"
$CC -std=c99 -Wall -Wextra -Werror -Iinclude -o "$BUILD/man/example/example" "$BUILD/man/example/example.c" \
    -L"$BUILD" -lsparsenet || complain "the example of sparsenet(3) does not compile"
said=$(LD_LIBRARY_PATH=$BUILD "$BUILD/man/example/example" "$BUILD/no such model" 2>&1) &&
    complain "the example does not fail"
case $said in
*"no such model"*) ;;
*) complain "the example says '$said'" ;;
esac
[ $failed = 0 ]

command -v mandoc > /dev/null || { echo "no mandoc (make deps-ci): the pages' form is not checked"; exit 77; }
mandoc -T lint -W warning "${pages[@]}"
# Of style, all but what the header's own lines and a machine without our pages bring along.
! mandoc -T lint -W style "${pages[@]}" 2> /dev/null |
    grep -vE 'STYLE: (input text line longer than 80 bytes|referenced manual not found)'
