# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests of virtual machines share here, where KVM runs guests: the distribution's kernel, which is at
# /lab/kernel, a store, initramfs of busybox, and kernels of a few instructions.

bats_require_minimum_version 1.5.0
# shellcheck source=tests/eventually.bash
source "${BASH_SOURCE[0]%/*}/../eventually.bash"

# The command line of bare machines.
MACHINE_WORDS='console=ttyS0 panic=-1 quiet mitigations=off cryptomgr.notests 8250.nr_uarts=1'
MACHINE_WORDS+=' rcupdate.rcu_expedited=1 no_timer_check audit=0 random.trust_cpu=on tsc=reliable'

# Once in each file: $KERNEL, and $EMPTY for standard input.
machine_setup_file()
{
	export KERNEL EMPTY=$BATS_FILE_TMPDIR/empty
	KERNEL=$(echo /lab/kernel/boot/vmlinuz-*)
	: >"$EMPTY"
}

# The same, and a store in which that kernel is the default, and an image box:1.
machine_store()
{
	machine_setup_file
	caisson kernel add --quiet /lab/kernel
	caisson image import "$LAB_IMAGE" box:1
}

# Machines hold their streams, and bats waits for whoever holds its own.
caisson()
{
	"$CAISSON_BUILD/bin/caisson" --root /scratch/store "$@" 3>&-
}

# machine_initrd FILE INIT [MODULE...]: an initramfs of busybox, the script INIT, and modules in the order in which they
# are loaded: /modules/10, 11, ...
machine_initrd()
{
	local root=$BATS_FILE_TMPDIR/${1##*/}.root number=10 module
	mkdir -p "$root"/{bin,dev,modules,proc,sys}
	cp /bin/busybox "$root/bin/"
	printf '%s\n' "$2" >"$root/init"
	chmod 755 "$root/init"
	for module in "${@:3}"; do
		cp "$module" "$root/modules/$number"
		number=$((number + 1))
	done
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$1"
}

# machine_kernel FILE HEX...: an ELF32 multiboot kernel out of machine code, entered at its beginning, 0x10000c.
machine_kernel()
{
	local file=$1
	shift
	{
		printf '\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0\x0c\0\x10\0\x34\0\0\0\0\0\0\0\0\0\0\0'
		printf '\x34\0\x20\0\x01\0\0\0\0\0\0\0'
		printf '\x01\0\0\0\0\x10\0\0\0\0\x10\0\0\0\x10\0\0\x01\0\0\0\x20\0\0\x07\0\0\0\0\0\0\0'
	} >"$file"
	truncate -s 4096 "$file"
	{
		printf '\x02\xb0\xad\x1b\0\0\0\0\xfe\x4f\x52\xe4'
		# shellcheck disable=SC2048,SC2059,SC2086 # a word for each byte, and that is what makes bytes of them
		printf "$(printf '\\x%s' $*)"
	} >>"$file"
	truncate -s 8192 "$file"
}
