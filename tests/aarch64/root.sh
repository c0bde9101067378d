#!/usr/bin/env bash
# root.sh FOLDER: the arm64 libraries that the library and its tests are built with, from Debian's packages, unpacked
# into FOLDER. Nothing is installed: this machine keeps its one architecture.
set -eu
root=$1
packages="check libsubunit-dev libsubunit0 libjansson-dev libjansson4 libpcre2-dev libpcre2-8-0 libpcre2-posix3"
[ ! -e "$root/complete" ] || exit 0
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$root" "$apt"/lists/partial "$apt"/archives/partial "$apt/packages"
touch "$apt/status"
options=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$apt" -o Dir::Cache="$apt"
    -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o APT::Sandbox::User=)
apt-get -q "${options[@]}" update
# shellcheck disable=SC2086 # one word a package
(cd "$apt/packages" && apt-get -q "${options[@]}" download $packages)
for package in "$apt"/packages/*.deb; do
    dpkg -x "$package" "$root"
done
touch "$root/complete"
