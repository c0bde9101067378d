#!/usr/bin/env bash
# cmake_test.sh FOLDER PREFIX VERSION: builds in FOLDER a CMake project against the libsparsenet below
# PREFIX, shared and static, C and C++, and runs it; 77 without CMake. Wants CC, CXX.
set -eu
command -v cmake > /dev/null || { echo "no cmake (make deps-ci)"; exit 77; }
here=$(dirname "$0")
mkdir -p "$1/source"
cp "$here/project/CMakeLists.txt" "$here/program.c" "$here/program.cpp" "$1/source"
# env: what the caller looks up by pkg-config must not lead CMake anywhere.
env -u PKG_CONFIG_PATH CC="$CC" CXX="$CXX" cmake -S "$1/source" -B "$1/build" -DCMAKE_PREFIX_PATH="$2" \
    -DEXPECTED_PREFIX="$(realpath "$2")" -DEXPECTED_VERSION="$3" > "$1/log" 2>&1 &&
    cmake --build "$1/build" >> "$1/log" 2>&1 &&
    (cd "$1/build" && ctest --output-on-failure >> ../log 2>&1) ||
    { cat "$1/log"; exit 1; }
