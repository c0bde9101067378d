#!/usr/bin/env bash
# The page's script as one file, as it runs: syntax by node, the rest by ESLint. Skipped (77) without them.
# Wants BUILD, MAKE.
set -eu
command -v node > /dev/null || { echo "node is not installed (make deps-ci)"; exit 77; }
mkdir -p "$BUILD/tests"
bundle=$BUILD/tests/viewer.js
# shellcheck disable=SC2046
cat $($MAKE -s viewer-scripts) > "$bundle"
node --check "$bundle"
eslint=${ESLINT:-eslint}
command -v "$eslint" > /dev/null || { echo "eslint is not installed (make deps-ci)"; exit 77; }
# Debian's modules stand where a node that is not Debian's does not look.
export NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs${NODE_PATH:+:$NODE_PATH}
"$eslint" --version > /dev/null || { echo "eslint does not run with this node"; exit 77; }
"$eslint" --no-eslintrc --format unix -c lib/report/viewer/.eslintrc.json "$bundle"
