#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# caisson vm boot with QEMU as the engine; with KVM: tests/lab/vm_boot.bats.

bats_require_minimum_version 1.5.0
load helpers
load caisson
load machine

setup_file()
{
	machine_kernel
	export EMPTY=$BATS_FILE_TMPDIR/empty TINY=$BATS_FILE_TMPDIR/tiny
	: >"$EMPTY"
	# An ELF32 multiboot kernel that writes 0x10 to port 0xf4.
	{
		printf '\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0\x0c\0\x10\0\x34\0\0\0\0\0\0\0\0\0\0\0'
		printf '\x34\0\x20\0\x01\0\0\0\0\0\0\0'
		printf '\x01\0\0\0\0\x10\0\0\0\0\x10\0\0\0\x10\0\0\x01\0\0\0\x20\0\0\x07\0\0\0\0\0\0\0'
	} >"$TINY"
	truncate -s 4096 "$TINY"
	printf '\x02\xb0\xad\x1b\0\0\0\0\xfe\x4f\x52\xe4\xb0\x10\xe6\xf4\xf4\xeb\xfd' >>"$TINY"
	truncate -s 8192 "$TINY"
}

boot()
{
	"$CAISSON_BUILD/bin/caisson" vm boot --engine qemu "$@" <"$EMPTY"
}

@test "the exit status is what was written to the debug-exit port" {
	run -33 boot --kernel "$TINY"
}

@test "Linux runs with its serial port on standard output, with few words said to it" {
	run -0 boot --kernel "$MACHINE_KERNEL" --cmdline 'console=ttyS0 panic=-1' -m 256m --vcpus 2
	[[ "$output" == *"Linux version ${MACHINE_KERNEL##*/vmlinuz-}"*"smp: Brought up 1 node, 2 CPUs"*"Kernel panic"* ]]
}

# A sealed file in memory answers EPERM to whoever truncates it, as an immutable file does; -EPERM is -1.
@test "a file that may not be opened ends it, whatever the reason" {
	run -125 python3 - "$CAISSON_BUILD/bin/caisson" "$TINY" <<-'PYTHON'
		import fcntl, os, sys
		fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)  # without MFD_CLOEXEC: it must be there afterwards
		os.write(fd, b"content")
		fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
		os.execl(sys.argv[1], "caisson", "vm", "boot", "--engine", "qemu", "--kernel", sys.argv[2],
		         "--counters", f"/proc/self/fd/{fd}")
	PYTHON
	[[ "$output" == *"open file for counters /proc/"*"operation not permitted"* ]]
}

@test "what QEMU is not asked for is said, not passed over" {
	run -125 boot --kernel "$TINY" --timeout 3
	[[ "$output" == *"use timeout(1)"* ]]
	run -125 boot --kernel "$TINY" --disk "$EMPTY"
	[[ "$output" == *"without --device, --disk"* ]]
	run -125 boot --kernel "$TINY" --hugepages 2M
}
