# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests of machines share: a guest's kernel, and an instance that runs in one.

MACHINE_TESTS=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)

# The kernel of the lab, which a machine that has run the lab's tests has already: a file vmlinuz-VERSION beside whose
# directory lies lib/modules/VERSION.
machine_find_kernel()
{
	local place
	for place in /lab "${LAB_CACHE:-/var/tmp/lab-cache}"; do
		MACHINE_KERNEL=$(compgen -G "$place/kernel/boot/vmlinuz-*" | head -n 1)
		[ -z "$MACHINE_KERNEL" ] || return 0
	done
	return 1
}

# machine_kernel: sets MACHINE_KERNEL, or skips.  For setup_file.
machine_kernel()
{
	export MACHINE_KERNEL
	command -v qemu-system-x86_64 mke2fs >"$BATS_FILE_TMPDIR/found" || skip "needs qemu-system-x86_64 and mke2fs"
	machine_find_kernel && return 0
	"$MACHINE_TESTS/lab/lab" prepare >"$BATS_FILE_TMPDIR/prepare.log" 2>&1
	machine_find_kernel || skip "there is no kernel for guests, and the lab cannot download one"
}

# machine_store: the engine's store (caisson.bash) gets it as its default kernel.
machine_store()
{
	machine_kernel
	caisson kernel add --default "${MACHINE_KERNEL%/boot/*}" >"$BATS_FILE_TMPDIR/kernel.log"
}
