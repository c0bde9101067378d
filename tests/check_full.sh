#!/usr/bin/env bash
# What `make check-full` runs after `make check`: the long cases, and everything again under tools that
# see what a plain run does not. Wants BUILD, CC, CXX, NM, SPARSENET_SHARED, MAKE.
set -u
. tests/steps.sh
. tests/aarch64/steps.sh
. tests/coverage/steps.sh
. tests/lint/steps.sh
runner=$BUILD/tests/check_all

# build FOLDER VARIABLE=VALUE... [TARGET...]: a second build of the tests
build() {
    $MAKE -j "$build_jobs" BUILD="$BUILD/$1" WERROR=0 "${@:2}" "$BUILD/$1/tests/check_all" "$BUILD/$1/tests/golden_check" \
        "$BUILD/$1/tests/random_calls/random_calls"
}

have() { command -v "$1" > /dev/null; }

suites_like() {
    local suite pattern
    for suite in tests/test_*.c; do
        suite=${suite#tests/test_}
        suite=${suite%.c}
        for pattern in "$@"; do
            # shellcheck disable=SC2254 # patterns are meant
            case $suite in $pattern) echo "$suite"; break ;; esac
        done
    done
}

large_memory() {
    "$BUILD/tests/large_memory" "$BUILD" | sed 's/^/    /'
    return "${PIPESTATUS[0]}"
}

training_torch() {
    python3 tests/training_torch.py "$BUILD" | sed 's/^/      /'
    return "${PIPESTATUS[0]}"
}

step_alone "memory of the largest released shape" large_memory

# The two builds take longest to use: first, so that what needs them need not wait.
asan="build with AddressSanitizer and UBSan"
tsan="build with ThreadSanitizer"
step "$asan" build asan SAN=address,undefined CC=gcc fuzz-replays "$BUILD/asan/tests/load_check"
step "$tsan" build tsan SAN=thread CC=gcc
aarch64_steps

all_suites 6 '' "long cases" env SN_TEST_LONG=1 CK_DEFAULT_TIMEOUT=600 "$runner"
for isa in portable avx2; do
    all_suites 3 '' "all suites on $isa" env SPARSENET_ISA=$isa "$runner"
done

step "products where libxsmm generates no code" env LIBXSMM_TARGET=generic "$runner" kernels matrix session gradients train

step "pages of circuits in a real browser" python3 tests/viewer/page_test.py "$BUILD/tests/page_files"
step "the script of the pages" bash tests/viewer/lint.sh
step "reproduce, with next to no training" bash tests/reproduce_test.sh
step "training beside PyTorch" training_torch
step "programs in other languages find the circuit that C finds" bash tests/ffi_test.sh programs

step "binary interface" bash tests/package/abi.sh check
step "binary interface, self-test" bash tests/package/abi.sh self-test
step "the same sources give the same bits" bash tests/package/reproducible_test.sh
step "Debian packages" bash tests/package/deb_test.sh
lint_steps
coverage_steps

all_suites 6 "$asan" "all suites under AddressSanitizer and UBSan" \
    env CK_FORK=no UBSAN_OPTIONS=print_stacktrace=1 "$BUILD/asan/tests/check_all"
step_after "$asan" "300000 random calls under AddressSanitizer and UBSan" \
    "$BUILD/asan/tests/random_calls/random_calls" --calls 300000 --seed 2
step_after "$asan" "malformed models under AddressSanitizer and UBSan" \
    env BUILD="$BUILD/asan" SAN=address,undefined bash tests/bad_models.sh
step_after "$asan" "fuzz corpora under AddressSanitizer and UBSan" env BUILD="$BUILD/asan" bash tests/fuzz/replay.sh
step_after "$asan" "goldens under AddressSanitizer and UBSan" golden "$BUILD/asan"
step_after "$asan" "goldens from their .pt under AddressSanitizer and UBSan" golden "$BUILD/asan" --pt
step_after "$asan" "the C++ binding under AddressSanitizer and UBSan" \
    env BUILD="$BUILD/asan" CC=gcc CXX=g++ SAN=address,undefined bash tests/ffi_test.sh prepare cpp

# A case on one thread cannot race: only those that use several run here, in whatever suite.
step_after "$tsan" "the thread pool under ThreadSanitizer" env CK_FORK=no TSAN_OPTIONS=halt_on_error=1 \
    "$BUILD/tsan/tests/check_all" threads
all_suites 4 "$tsan" "cases on several threads under ThreadSanitizer" env CK_FORK=no CK_RUN_CASE=threads \
    TSAN_OPTIONS=halt_on_error=1 "$BUILD/tsan/tests/check_all"

if have valgrind; then
    # shellcheck disable=SC2046
    step "suites under valgrind" env CK_FORK=no SPARSENET_ISA=portable valgrind -q --error-exitcode=9 \
        --leak-check=full --errors-for-leak-kinds=definite "$runner" \
        $(suites_like base file json safetensors 'tokenizer*' corpus)
fi
if have clang; then
    step "build with clang" build clang CC=clang WERROR=1 all tests
fi
step "build without libxsmm" build plain XSMM=0
if have clang; then
    all_suites 3 "build with clang" "all suites, built by clang" "$BUILD/clang/tests/check_all"
    step_after "build with clang" "goldens, built by clang" golden "$BUILD/clang"
fi
all_suites 3 "build without libxsmm" "all suites without libxsmm" "$BUILD/plain/tests/check_all"
step_after "build without libxsmm" "goldens without libxsmm" golden "$BUILD/plain"
if [ -f tests/tools/tokenizer_peer.py ]; then
    step "tokenizer against its peer" python3 tests/tools/tokenizer_peer.py "$BUILD"
fi
finish
