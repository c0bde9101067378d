#!/usr/bin/env bash
# Debian packages of this tree, in BUILD/deb: libsparsenet0 (the shared library) and libsparsenet-dev,
# with their source package. Tests are not run on the way, unless DEB_BUILD_OPTIONS is set without
# nocheck. Wants BUILD, VERSION.
set -eu
for tool in dpkg-buildpackage dh; do
    command -v $tool > /dev/null || { echo "no $tool (make deps-package)"; exit 77; }
done
work=$BUILD/deb
source=$work/libsparsenet-$VERSION
rm -rf "$work"
mkdir -p "$source"

# What is under version control; of an unpacked archive, all but what was built.
tree() {
    if git rev-parse --is-inside-work-tree > /dev/null 2>&1; then
        git ls-files -z --cached --others --exclude-standard --deduplicate |
            while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done
    else
        find . \( -path ./build -o -path ./out -o -path ./debian \) -prune -o -type f -print0
    fi
}
tree | tar -c --null --files-from=- | tar -x -C "$source"
# The same tree gives the same archive: all dates are that of the entry in Debian's changelog.
sed "s/@VERSION@/$VERSION/" tests/package/debian/changelog > "$work/changelog"
date=$(dpkg-parsechangelog -l "$work/changelog" -S Date)
tar -c -C "$work" --sort=name --mtime="$date" --owner=0 --group=0 --numeric-owner "libsparsenet-$VERSION" |
    xz -T0 -3 > "$work/libsparsenet_$VERSION.orig.tar.xz"

cp -r tests/package/debian "$source/debian"
mv "$work/changelog" "$source/debian/changelog"
cd "$source"
# What this make was called with is not for that one: flags, for one, are Debian's.
exec env -i PATH="$PATH" HOME="${HOME:-/}" LANG=C.UTF-8 \
    DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS-nocheck parallel=$(nproc)}" dpkg-buildpackage --no-sign
