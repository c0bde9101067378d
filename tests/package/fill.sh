#!/bin/sh
# fill.sh FOLDER TEMPLATE...: writes each TEMPLATE.in into FOLDER under its name without .in, every
# @NAME@ replaced by what the environment says of NAME. `make install` calls it with the places that it
# installs to. Wants VERSION MAJOR PREFIX LIBDIR INCLUDEDIR MANDIR SHARED_NAME SONAME XSMM_LIBS LIBRARIES
# POINTER_BYTES.
set -eu
folder=$1
shift

for place in "$PREFIX" "$LIBDIR" "$INCLUDEDIR" "$MANDIR"; do
    case $place in
    /*) ;;
    *)
        echo "install: '$place' is no absolute path" >&2
        exit 1
        ;;
    esac
done

# As pkg-config wants places: below ${prefix} where they are, so that the tree can be moved
# (--define-prefix).
below_prefix() {
    case $1 in
    "$PREFIX"/*) printf '${prefix}%s' "${1#"$PREFIX"}" ;;
    *) printf '%s' "$1" ;;
    esac
}

PC_LIBDIR=$(below_prefix "$LIBDIR")
PC_INCLUDEDIR=$(below_prefix "$INCLUDEDIR")
# By name alone (-sm): neither place has to exist here.
INCLUDE_FROM_CMAKE=$(realpath -sm --relative-to="$LIBDIR/cmake/sparsenet" "$INCLUDEDIR")
# -la -lb -> a;b, as CMake writes lists.
LIBRARY_LIST=$(printf '%s' "$LIBRARIES" | sed -e 's/^ *-l//' -e 's/  *-l/;/g' -e 's/ *$//')

# One sed command for each name; its value may hold what sed takes for its own.
commands=
for name in VERSION MAJOR PREFIX PC_LIBDIR PC_INCLUDEDIR INCLUDE_FROM_CMAKE SHARED_NAME SONAME XSMM_LIBS \
    LIBRARY_LIST POINTER_BYTES; do
    eval "value=\$$name"
    value=$(printf '%s' "$value" | sed 's/[\\&|]/\\&/g')
    commands="$commands
s|@$name@|$value|g"
done

mkdir -p "$folder"
for template in "$@"; do
    name=$(basename "$template" .in)
    sed -e "$commands" "$template" > "$folder/$name"
    if grep '@[A-Z_]*@' "$folder/$name"; then
        echo "$template: a name that fill.sh does not know" >&2
        exit 1
    fi
done
