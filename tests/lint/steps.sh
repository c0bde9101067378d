# shellcheck shell=bash
# Sourced after tests/steps.sh: cppcheck over all sources and the headers that they include, without a warning. What is
# suppressed, and why: tests/lint/suppressions. (clang-tidy 14 warns of pointers that a status vouches for and
# takes several times as long.)
lint() { # FILE OR FOLDER...
    cppcheck -q --error-exitcode=1 --enable=warning,performance,portability --std=c11 --language=c \
        --suppressions-list=tests/lint/suppressions --inline-suppr --template='{file}:{line}: {id}: {message}' \
        -D_GNU_SOURCE -DSN_XSMM=0 -D__SSE__ -D__SSE2__ -D__x86_64__ \
        -Iinclude -Ilib -Itests "$@"
}

lint_steps() {
    if ! command -v cppcheck > /dev/null; then
        step "lint" sh -c 'echo "no cppcheck (make deps-ci)"; exit 77'
        return
    fi
    step "lint: the library" lint lib
    step "lint: examples and tests" lint examples/*.c examples/reproduce tests/*.c tests/tools tests/fuzz tests/bench
}
