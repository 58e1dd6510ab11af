# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lab: v2 apart
#
# Bare machines on a KVM that runs guests: Debian's cloud kernel as it comes, and kernels of a few instructions.

load machine

# Time there is an emulator's in an emulator's.
export BATS_TEST_TIMEOUT=900

setup_file() {
	export INITRD=$BATS_FILE_TMPDIR/initrd VMLINUX=$BATS_FILE_TMPDIR/vmlinux
	machine_setup_file
	machine_initrd "$INITRD" "$(guest_init)"
	unpack_vmlinux
}

guest_init() {
	cat <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox mount -t proc proc /proc
		/bin/busybox mount -t devtmpfs dev /dev
		echo "here is $(/bin/busybox uname -r) on $(/bin/busybox grep -c ^processor /proc/cpuinfo) CPUs"
		case "$(/bin/busybox cat /proc/cmdline)" in
		*test=panic*) echo c >/proc/sysrq-trigger ;;
		*test=features*) /bin/busybox grep -o -w -m1 hypervisor /proc/cpuinfo
			/bin/busybox dmesg | /bin/busybox grep -e kvm-clock: -e kvm-guest: ;;
		*test=shell*) /bin/busybox sh </dev/ttyS0 ;;
		esac
		/bin/busybox poweroff -f
	INIT
}

# The payload of the bzImage: boot.rst of the kernel, payload_offset and payload_length.
unpack_vmlinux() {
	local sectors offset length
	sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$KERNEL")
	offset=$(od -An -tu4 -j $((0x248)) -N 4 "$KERNEL")
	length=$(od -An -tu4 -j $((0x24c)) -N 4 "$KERNEL")
	# Four bytes behind it are the unpacked size.
	tail -c +$(((sectors + 1) * 512 + offset + 1)) "$KERNEL" | head -c $((length - 4)) | lz4 -dc >"$VMLINUX"
}

boot() { # ARG...
	run -"${STATUS:-0}" caisson vm boot --engine kvm --memory 192m --timeout 600 "$@" <"$EMPTY"
}

linux() { # WORDS ARG...
	local words=$1
	shift
	boot --kernel "$KERNEL" --initrd "$INITRD" --cmdline "$MACHINE_WORDS $words" "$@"
}

@test "vm boot: Debian's cloud kernel, as a bzImage: it knows KVM's clock, and is counted" {
	linux "test=features" --counters "$BATS_TEST_TMPDIR/counters"
	[[ $output == *"here is 6."*" on 1 CPUs"* ]]
	[[ $output == *hypervisor* ]]
	[[ $output == *"kvm-clock: Using msrs"* ]]
	python3 - "$BATS_TEST_TMPDIR/counters" <<-'PYTHON'
		import json, sys
		counters = json.load(open(sys.argv[1]))
		vcpu = counters["vcpus"][0]
		assert sum(vcpu["exits"].values()) > 100, vcpu
		assert vcpu["kvm"]["exits"] > sum(vcpu["exits"].values()), vcpu
		assert any(device["name"] == "serial" and device["writes"] > 50 for device in counters["devices"])
	PYTHON
}

@test "vm boot: the same by its PVH entry, in huge pages, with four processors" {
	STATUS=125 boot --kernel "$VMLINUX" --hugepages 2M
	[[ $output == *"nr_hugepages"* ]]
	echo 100 >/proc/sys/vm/nr_hugepages
	boot --kernel "$VMLINUX" --initrd "$INITRD" --cmdline "$MACHINE_WORDS" --hugepages 2M --vcpus 4
	echo 0 >/proc/sys/vm/nr_hugepages
	[[ $output == *"here is 6."*" on 4 CPUs"* ]]
}

@test "vm boot --isolation vm: a guest that is told nothing" {
	linux "test=features" --isolation vm --vcpus 2
	[[ $output == *"here is 6."*" on 2 CPUs"* ]]
	[[ $output != *hypervisor* ]]
	[[ $output != *kvm-* ]]
}

@test "vm boot: a panic and a reboot are a reset" {
	STATUS=2 linux test=panic
	[[ $output == *"Kernel panic"* ]]
	[[ $output == *"caisson-vmm: the guest asked for a reset"* ]]
	machine_kernel "$BATS_TEST_TMPDIR/kernel" b0 fe e6 64 f4 eb fd
	STATUS=2 boot --kernel "$BATS_TEST_TMPDIR/kernel"
}

# unit_kernel.c: interrupt controllers, timers, further processors, registers; conventions as QEMU has them.
@test "vm boot: a kernel that tests the machine finds all there, of either kind" {
	local kernel=$BATS_TEST_TMPDIR/unit.flat
	"$BATS_TEST_DIRNAME/unit-kernel" "$kernel"
	printf 'NR_CPUS=1\n' >"$BATS_TEST_TMPDIR/env"
	STATUS=1 boot --kernel "$kernel" --initrd "$BATS_TEST_TMPDIR/env" --vcpus 3 --cmdline "told=yes cpus=3"
	[[ $output != *FAIL* ]]
	[ "$(grep -c ^PASS <<<"$output")" = 18 ]
	STATUS=1 boot --kernel "$kernel" --initrd "$BATS_TEST_TMPDIR/env" --vcpus 2 --isolation vm --cmdline "told=no cpus=2"
	[[ $output != *FAIL* ]]
	# (1 << 1) | 1
	STATUS=3 boot --kernel "$kernel" --initrd "$BATS_TEST_TMPDIR/env" --cmdline fail
	[[ $output == *"FAIL: what must fail"* ]]
}

@test "vm boot: a guest reads from its serial port" {
	local out=$BATS_TEST_TMPDIR/out i
	: >"$out"
	# shellcheck disable=SC2094 # it is read while it is written
	{
		for ((i = 0; i < 900; i++)); do ! grep -q "here is" "$out" || break; sleep 0.1; done
		for ((i = 0; i < 300; i++)); do echo "n=\$((n + $i))"; done
		# shellcheck disable=SC2016 # the guest's shell is meant
		echo 'echo "it is $n"; exit'
	} | caisson vm boot --engine kvm --memory 192m --timeout 600 --kernel "$KERNEL" --initrd "$INITRD" \
		--cmdline "$MACHINE_WORDS test=shell" >"$out"
	grep "it is 44850" "$out"
}

@test "vm boot: a triple fault is a crash" {
	machine_kernel "$BATS_TEST_TMPDIR/kernel" 0f 0b
	STATUS=4 boot --kernel "$BATS_TEST_TMPDIR/kernel"
	[[ $output == *"caisson-vmm: vCPU 0: triple fault"* ]]
}

@test "vm boot: the debug-exit port" {
	machine_kernel "$BATS_TEST_TMPDIR/kernel" b0 10 e6 f4 f4 eb fd
	STATUS=33 boot --kernel "$BATS_TEST_TMPDIR/kernel"
	[ "$output" = "" ]
}

@test "vm boot: a guest that never boots ends by the timeout, or by a signal, and leaves nothing" {
	machine_kernel "$BATS_TEST_TMPDIR/kernel" fa eb fe
	STATUS=124 boot --kernel "$BATS_TEST_TMPDIR/kernel" --timeout 3
	[[ $output == *"took too long"* ]]
	# The program itself, to whom the signal goes.
	"$CAISSON_BUILD/bin/caisson" vm boot --engine kvm --kernel "$BATS_TEST_TMPDIR/kernel" --vcpus 2 <"$EMPTY" 3>&- &
	local vmm=$! code=0 i
	for ((i = 0; i < 600; i++)); do ! grep -qsx vcpu1 /proc/$vmm/task/*/comm || break; sleep 0.1; done
	grep -qx vcpu1 /proc/$vmm/task/*/comm
	[ "$(cat /proc/$vmm/comm)" = caisson-vmm ]
	kill -TERM $vmm
	wait $vmm || code=$?
	[ "$code" = 143 ]
	[ ! -e /proc/$vmm ]
}

# Its console is a pipe that is full and has a reader who does not read.
@test "vm boot: a guest that nobody listens to ends by the timeout, a signal, or from its terminal" {
	local unread=$BATS_TEST_TMPDIR/unread
	mkfifo "$unread"
	exec 7<>"$unread"
	machine_kernel "$BATS_TEST_TMPDIR/kernel" 66 ba f8 03 b0 78 ee eb fd
	run -124 bash -c 'timeout -s KILL 100 caisson vm boot --engine kvm --kernel "$0" --timeout 3 2>&1 >&7 3>&-' \
		"$BATS_TEST_TMPDIR/kernel" <"$EMPTY"
	[[ $output == *"took too long"* ]]
	timeout 100 caisson vm boot --engine kvm --kernel "$BATS_TEST_TMPDIR/kernel" --vcpus 2 <"$EMPTY" >&7 3>&- &
	sleep 2
	kill -TERM $!
	run -143 wait $!
	# Ctrl-A x, behind what the guest cannot be given.
	run -0 timeout -s KILL 100 script -qec "caisson vm boot --engine kvm --kernel '$BATS_TEST_TMPDIR/kernel' >&7" /dev/null \
		< <(sleep 2; printf 'abc'; sleep 1; printf '\001x'; sleep 100) 3>&-
	exec 7>&-
}

@test "vm boot: what a guest wrote is read to its end, however late" {
	local late=$BATS_TEST_TMPDIR/late
	mkfifo "$late"
	exec 7<>"$late"
	# 70000 bytes, more than a pipe holds; then 0x10 to port 0xf4
	machine_kernel "$BATS_TEST_TMPDIR/kernel" b9 70 11 01 00 66 ba f8 03 b0 78 ee e2 fd b0 10 e6 f4 f4 eb fd
	timeout 100 caisson vm boot --engine kvm --kernel "$BATS_TEST_TMPDIR/kernel" <"$EMPTY" >&7 3>&- &
	sleep 3
	[ "$(head -c 70000 <&7 | tr -d x | wc -c)" = 0 ]
	run -33 wait $!
	exec 7>&-
}

@test "vm boot: damaged kernels are refused" {
	head -c 100000 "$KERNEL" >"$BATS_TEST_TMPDIR/short"
	STATUS=125 boot --kernel "$BATS_TEST_TMPDIR/short"
	head -c 300000 "$VMLINUX" >"$BATS_TEST_TMPDIR/short"
	STATUS=125 boot --kernel "$BATS_TEST_TMPDIR/short"
	STATUS=125 boot --kernel "$EMPTY"
	STATUS=125 boot --kernel /nowhere
	[[ $output == *"/nowhere"* ]]
}
