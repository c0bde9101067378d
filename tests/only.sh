#!/usr/bin/env bash
# only.sh NAME: of `make check-full` the steps of tests/NAME/steps.sh alone. Wants what they want.
set -u
. tests/steps.sh
. "tests/$1/steps.sh"
"$1_steps"
finish
