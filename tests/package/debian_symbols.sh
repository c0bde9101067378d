#!/bin/sh
# debian_symbols.sh VERSION FILE < NAMES: Debian's list of symbols for these names. Each keeps the
# version that FILE has it under; a new one came with VERSION.
set -eu
awk -v version="$1" -v known="$2" '
BEGIN {
    while ((getline line < known) > 0)
        if (line ~ /^ /) {
            split(line, word, /[ @]/)
            since[word[2]] = line
        } else
            print line
}
{ print $1 in since ? since[$1] : " " $1 "@Base " version }'
