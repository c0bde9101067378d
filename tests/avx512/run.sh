#!/usr/bin/env bash
# What `make check-avx512` runs: the golden cases and the suites that hang on the instruction set, on the
# AVX-512 kernels, with any CPU: a Debian kernel and a file system in memory, in Bochs, which emulates a
# Skylake-X. Hours rather than minutes on a busy machine; `tail -f BUILD/avx512/serial` shows how far it is.
#   run.sh [SUITE...]      these suites in place of the usual ones
# Wants BUILD, SPARSENET_SHARED; KERNEL=vmlinuz in place of Debian's, which apt-get downloads.
set -u
. tests/steps.sh
work=$BUILD/avx512
serial=$work/serial
suites=${*:-kernels_golden session model matrix kernels kernels_rows isa}
packages="bochs bochs-term busybox-static isolinux syslinux-common xorriso cpio python3"

# shellcheck disable=SC2086 # one word a package
if ! dpkg-query -W $packages > /dev/null 2>&1; then
    echo "check-avx512: skipped, it wants $packages (make deps-avx512)"
    exit 0
fi

kernel() {
    local name
    [ -z "${KERNEL:-}" ] || { cp "$KERNEL" "$work/iso/vmlinuz" && return; }
    name=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-\)/\1/p')
    (cd "$work" && apt-get -q download "$name") &&
        dpkg-deb --fsys-tarfile "$work/$name"_*.deb | tar -xO --wildcards './boot/vmlinuz-*' > "$work/iso/vmlinuz"
}

# Without a second copy of their weights: the machine has them all in memory.
goldens() {
    local directory
    [ -d "$SPARSENET_SHARED/goldens" ] || { echo "no $SPARSENET_SHARED/goldens"; return 77; }
    mkdir -p "$work/root/shared/goldens"
    for directory in "$SPARSENET_SHARED/goldens"/*/; do
        cp -r "$directory" "$work/root/shared/goldens/" || return
        directory=$work/root/shared/goldens/$(basename "$directory")
        chmod -R u+w "$directory"
        [ ! -f "$directory/model.safetensors" ] || rm -f "$directory/final_model.pt"
    done
}

root() {
    local root=$work/root library
    mkdir -p "$root"/{bin,dev,proc,tmp} && cp /bin/busybox "$root/bin/" || return
    strip -o "$root/bin/check_all" "$BUILD/tests/check_all" || return
    strip -o "$root/bin/golden_check" "$BUILD/tests/golden_check" || return
    for library in $(ldd "$BUILD/tests/check_all" | grep -o '/[^ ]*'); do
        mkdir -p "$root/$(dirname "$library")" && cp -L "$library" "$root/$library" || return
    done
    sed "s/@SUITES@/$suites/" tests/avx512/init > "$root/init" && chmod +x "$root/init"
}

# The kernel leaves XSAVEC and XSAVES alone: Bochs 2.7 reports and fills their areas wrongly. reboot=t ends in
# a triple fault, and that ends Bochs.
image() {
    [ -s "$work/iso/vmlinuz" ] && [ -x "$work/root/init" ] &&
        cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/" &&
        (cd "$work/root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) > "$work/iso/initrd" &&
        cat > "$work/iso/isolinux.cfg" << 'EOF' &&
default go
label go
kernel vmlinuz
append initrd=initrd console=ttyS0,115200n8 quiet nosmp noapic acpi=off mitigations=off clearcpuid=xsavec,xsaves panic=-1 reboot=t
EOF
        xorriso -as mkisofs -quiet -o "$work/iso.image" -b isolinux.bin -no-emul-boot -boot-load-size 4 \
            -boot-info-table "$work/iso"
}

# Debian's Bochs stops in its debugger, which gets its commands from a file, and draws on a terminal that
# somebody must read: script(1) does not without an input.
emulate() {
    [ -s "$work/iso.image" ] || return
    printf 'c\nq\n' > "$work/commands"
    cat > "$work/bochsrc" << EOF || return
cpu: model=corei7_skylake_x, count=1, ips=20000000, reset_on_triple_fault=0
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$work/iso.image, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$serial
display_library: term
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
clock: sync=none
log: $work/bochs.log
panic: action=fatal
EOF
    TERM=vt100 python3 -c 'import pty, sys; pty.spawn(sys.argv[1:])' \
        bochs -f "$work/bochsrc" -rc "$work/commands" < /dev/null > "$work/screen"
    grep -q '^all done' "$serial" || { tail -n 20 "$serial"; return 1; }
}

# verdict NAME: what the machine wrote of this step, and its status.
verdict() {
    awk -v name="$1" '{ sub("\r$", "") }
        $1 == "begin" && $2 == name { inside = 1; next }
        $1 == "end" && inside { exit status = $2 }
        inside
        END { if (status == "") status = 1; exit status }' "$serial"
}

rm -rf "$work"
mkdir -p "$work/iso"
step "kernel" kernel
step "golden cases" goldens
step "file system of the machine" root
step "image of the machine" image
step "the machine runs and ends" emulate
if [ -f "$serial" ]; then
    step "the machine has AVX-512" grep -q '^flags.* avx512f .* avx512bw ' "$serial"
    for name in $(tr -d '\r' < "$serial" | sed -n 's/^begin //p'); do
        step "$name on avx512" verdict "$name"
    done
fi
finish
