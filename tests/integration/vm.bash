# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154
# shellcheck shell=bash
#
# What the tests of virtual machines share: a guest's kernel, its initramfs, a root disk; and caisson-vmm run by itself.

bats_require_minimum_version 1.5.0
# shellcheck source=tests/eventually.bash
source "${BASH_SOURCE[0]%/*}/../eventually.bash"

VM_TOP=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
export VM_BUILD=${CAISSON_BUILD:-$VM_TOP/build}

# For setup_file: GUEST/{vmlinux,initrd-pv,initrd-vm,root.img,rootfs}, or skips the file.
guest_make()
{
	local kernel version applet kind store
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -x "$VM_BUILD/bin/caisson-vmm" ] || skip "caisson-vmm is not built"
	command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86"
	kernel=${LAB_CACHE:-/var/tmp/lab-cache}/kernel
	version=$(ls "$kernel/lib/modules" 2>/dev/null) || skip "no guest kernel in $kernel: tests/lab/lab fetches it"
	export GUEST=$BATS_FILE_TMPDIR/guest
	mkdir -p "$GUEST/rootfs"/{bin,dev,etc,one,proc,sys,tmp,two,root} "$GUEST/init"
	store=$GUEST/store
	"$VM_BUILD/bin/caisson" --root "$store" kernel add -q --name guest --modules "$kernel/lib/modules/$version" \
		"$kernel/boot/vmlinuz-$version"
	ln "$store/kernels/guest/vmlinux" "$GUEST/vmlinux"
	cp "$VM_BUILD/bin/caisson-init" "$GUEST/init/init"
	for kind in pv vm; do
		cat "$store/kernels/guest/modules-$kind" >"$GUEST/initrd-$kind"
		(cd "$GUEST/init" && echo init | cpio -o -H newc --quiet) >>"$GUEST/initrd-$kind"
	done
	cp /bin/busybox "$GUEST/rootfs/bin/busybox"
	for applet in sh cat cp dd echo env false head id kill ls ps pwd reboot seq sleep stty test true tty uname wc yes; do
		ln -s busybox "$GUEST/rootfs/bin/$applet"
	done
	printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' >"$GUEST/rootfs/etc/passwd"
	truncate -s 16M "$GUEST/root.img"
	mke2fs -q -t ext4 -O ^has_journal -d "$GUEST/rootfs" "$GUEST/root.img"
	: >"$GUEST/nothing"
}

# config ARGS...: the process; JQ is a further filter.
config()
{
	local args
	args=$(printf '%s\n' "$@" | jq -Rs 'split("\n")[:-1]')
	jq -n --argjson args "$args" "{
		ociVersion: \"1.2.0\", root: {path: \"rootfs\"},
		process: {cwd: \"/\", args: \$args, env: [\"PATH=/bin\"], user: {uid: 0, gid: 0}},
		mounts: [{destination: \"/proc\", type: \"proc\", source: \"proc\"},
			{destination: \"/dev\", type: \"tmpfs\", source: \"tmpfs\", options: [\"mode=755\"]},
			{destination: \"/dev/pts\", type: \"devpts\", source: \"devpts\", options: [\"newinstance\", \"ptmxmode=0666\"]}],
		linux: {namespaces: [{type: \"pid\"}, {type: \"mount\"}]}
	} | ${JQ:-.}" >"$BATS_TEST_TMPDIR/config.json"
}

# machine KIND: runs config.json in a machine that QEMU translates, on this process's streams, in its place. EXTRA is
# more JSON for caisson-vmm's configuration, CONSOLE gets what the kernel says.
machine()
{
	local console=${CONSOLE:-$BATS_TEST_TMPDIR/console} disk=$GUEST/root.img read_only=true
	: >"$console"
	if [ "$1" = vm ]; then # an ATA disk is writable
		disk=$BATS_TEST_TMPDIR/root.img read_only=false
		cp --sparse=always "$GUEST/root.img" "$disk"
	fi
	jq -n --arg kind "$1" '{
		engine: "qemu", kind: $kind, kernel: 21, initrd: 22, memory: 201326592, boot_seconds: 60, oci: 24, console: 25,
		disks: [{chain: [{fd: 23, format: "raw"}], read_only: '$read_only'}]
	} + ('"${EXTRA:-{\}}"')' >"$BATS_TEST_TMPDIR/machine.json"
	exec "$VM_BUILD/bin/caisson-vmm" --config 20 20<"$BATS_TEST_TMPDIR/machine.json" 21<"$GUEST/vmlinux" \
		22<"$GUEST/initrd-$1" 23<>"$disk" 24<"$BATS_TEST_TMPDIR/config.json" 25<>"$console"
}

# A process that has ended, whether or not somebody has asked for its status yet.
gone()
{
	! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null
}
