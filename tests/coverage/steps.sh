# shellcheck shell=bash
# Sourced after tests/steps.sh: the lines of lib/ that the suites, the golden cases and the malformed models run. Each body
# of the kernels counts once, by whichever instruction sets run it. Wants BUILD, SPARSENET_SHARED, MAKE.
coverage_build() {
    $MAKE -j "$build_jobs" BUILD="$BUILD/coverage" WERROR=0 CC=gcc CFLAGS="-O1 -g --coverage -fprofile-update=atomic" \
        "$BUILD"/coverage/tests/{check_all,golden_check,load_check} || return
    find "$BUILD/coverage" -name '*.gcda' -delete
}

# A table of all files with the lines that did not run, in BUILD/coverage/report.
coverage_report() {
    local report=$BUILD/coverage/report status=0
    gcovr --root . --object-directory "$BUILD/coverage" --filter 'lib/.*\.[ch]$' \
        --exclude lib/report/viewer/embed.c --exclude-unreachable-branches --fail-under-line 90 \
        --txt "$report" "$BUILD/coverage/lib" || status=$?
    [ -z "${COVERAGE_TABLE:-}" ] || sed 's/^/    /' "$report"
    sed -n 's/^TOTAL */    lines of lib\/, run, share: /p' "$report"
    return $status
}

coverage_steps() {
    local built="build for coverage"
    if ! command -v gcovr > /dev/null; then
        step "coverage" sh -c 'echo "no gcovr (make deps-ci)"; exit 77'
        return
    fi
    step "$built" coverage_build
    all_suites 6 "$built" "all suites, counting lines" env CK_FORK=no "$BUILD/coverage/tests/check_all"
    step_after "$built" "products where libxsmm generates no code, counting lines" \
        env CK_FORK=no LIBXSMM_TARGET=generic "$BUILD/coverage/tests/check_all" kernels
    step_after "$built" "goldens, counting lines" golden "$BUILD/coverage"
    step_after "$built" "malformed models, counting lines" env BUILD="$BUILD/coverage" SAN=coverage \
        bash tests/bad_models.sh
    step_after "malformed models, counting lines" "coverage of lib/: at least 90 % of the lines" coverage_report
}
