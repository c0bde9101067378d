# shellcheck shell=bash
# Sourced after tests/steps.sh: the library and its tests for another machine, aarch64, by Debian's cross compiler, run
# by the user mode of QEMU (make deps-aarch64). The emulation has no weak memory order: races are for ThreadSanitizer.
# Wants BUILD, SPARSENET_SHARED, MAKE.
aarch64_root=$(realpath -m "$BUILD/aarch64/root")
aarch64_libraries=$aarch64_root/usr/lib/aarch64-linux-gnu
aarch64_emulator="qemu-aarch64 -L /usr/aarch64-linux-gnu"
# What find programs in BUILD find there those that start the emulator.
aarch64_emulated=$BUILD/aarch64/emulated

aarch64_compiler() {
    echo "aarch64-linux-gnu-$1 -isystem $aarch64_root/usr/include -L$aarch64_libraries -Wl,-rpath,$aarch64_libraries"
}

# The environment of whatever builds or tests for aarch64.
aarch64() {
    env PKG_CONFIG_LIBDIR="$aarch64_libraries/pkgconfig" CC="$(aarch64_compiler gcc)" CXX="$(aarch64_compiler g++)" \
        EMULATOR="$aarch64_emulator" SN_TEST_EMULATED=1 CK_TIMEOUT_MULTIPLIER=30 "$@"
}

aarch64_build() {
    local program
    aarch64 $MAKE -j "$build_jobs" BUILD="$BUILD/aarch64" CC="$(aarch64_compiler gcc)" CXX="$(aarch64_compiler g++)" \
        WERROR=1 all tests || return
    rm -rf "$aarch64_emulated"
    (cd "$BUILD/aarch64" && find tests examples -type f -perm -100 ! -name '*.sh') | while read -r program; do
        mkdir -p "$(dirname "$aarch64_emulated/$program")"
        printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$aarch64_emulator" "$(realpath "$BUILD/aarch64/$program")" \
            > "$aarch64_emulated/$program"
        chmod +x "$aarch64_emulated/$program"
    done
}

aarch64_steps() {
    local built="build for aarch64"
    if ! command -v aarch64-linux-gnu-gcc > /dev/null || ! command -v qemu-aarch64 > /dev/null ||
        [ ! -e "$aarch64_root/complete" ]; then
        step "aarch64" sh -c 'echo "no cross compiler, emulator or libraries for aarch64 (make deps-aarch64)"; exit 77'
        return
    fi
    step "$built" aarch64_build
    all_suites 12 "$built" "suites on aarch64" aarch64 "$aarch64_emulated/tests/check_all"
    step_after "$built" "goldens on aarch64" golden "$aarch64_emulated"
    step_after "$built" "goldens from their .pt on aarch64" golden "$aarch64_emulated" --pt
    # SAN: the emulator reserves far more addresses than it uses, too.
    step_after "$built" "malformed models on aarch64" \
        env BUILD="$aarch64_emulated" SAN=qemu bash tests/bad_models.sh
    step_after "$built" "fuzz corpora on aarch64" env BUILD="$aarch64_emulated" bash tests/fuzz/replay.sh
    step_after "$built" "examples on aarch64" env BUILD="$aarch64_emulated" bash tests/examples_test.sh
    step_after "$built" "generated Python on aarch64" python3 tests/task_syntax.py "$aarch64_emulated/tests/task_text"
    step_after "$built" "install for aarch64, link by pkg-config, uninstall" \
        aarch64 BUILD="$BUILD/aarch64" bash tests/install_test.sh
}
