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
command -v "${ESLINT:-eslint}" > /dev/null || { echo "eslint is not installed (make deps-ci)"; exit 77; }
"${ESLINT:-eslint}" --no-eslintrc -c lib/report/viewer/.eslintrc.json "$bundle"
