#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154,SC2016
# lab: v2 apart iommu
#
# A PCI device of the host in a guest: the lab's machine has an IOMMU here, and an NVMe disk behind it that nobody else
# uses (qemu-with-iommu).  Host and guest read what the other has written.

load machine

DEVICE=0000:00:1e.0

setup_file() {
	local modules needed
	export INITRD=$BATS_FILE_TMPDIR/initrd
	[ -e "/sys/bus/pci/devices/$DEVICE/iommu_group" ] || skip "this lab has no IOMMU: tests/lab/run boots one that has"
	/lab/modprobe nvme
	/lab/modprobe vfio_iommu_type1
	/lab/modprobe vfio-pci
	modules=$(echo /lab/kernel/lib/modules/*)
	needed=$(awk -F ': *' -v dir="$modules/" '/\/nvme\.ko:/ {
		n = split($2, need, " "); for (i = n; i > 0; i--) print dir need[i]; print dir $1 }' "$modules/modules.dep")
	machine_setup_file
	# shellcheck disable=SC2086 # one word per module
	machine_initrd "$INITRD" "$(guest_init)" $needed
}

guest_init() {
	cat <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
		for module in /modules/*; do insmod $module; done
		i=0; while [ ! -b /dev/nvme0n1 ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done
		echo "device $(cat /sys/bus/pci/devices/*/class | xargs)"
		echo "read $(head -c 1048576 /dev/nvme0n1 | sha256sum)"
		head -c 1048576 /dev/urandom >/written
		dd if=/written of=/dev/nvme0n1 bs=1M seek=8 conv=fsync 2>/dev/null
		echo "written $(sha256sum </written)"
		grep -i nvme /proc/interrupts
		dmesg | grep -iE "timeout|completion polled|abort|reset"
		echo over
		poweroff -f
	INIT
}

bind() { # DRIVER
	echo "$DEVICE" >"/sys/bus/pci/devices/$DEVICE/driver/unbind"
	echo "$1" >"/sys/bus/pci/devices/$DEVICE/driver_override"
	echo "$DEVICE" >/sys/bus/pci/drivers_probe
	[ "$(basename "$(readlink "/sys/bus/pci/devices/$DEVICE/driver")")" = "$1" ]
}

boot() { # OPTIONS: of caisson vm boot
	timeout 300 caisson vm boot --engine kvm --timeout 280 -m 256m --kernel "$KERNEL" --initrd "$INITRD" \
		--cmdline "$MACHINE_WORDS" "$@" <"$EMPTY" 2>&1 | tr -d '\r'
}

given() { # KIND: the guest reads what the host has written, and the other way round
	local sum
	head -c 1048576 /dev/urandom >"$BATS_TEST_TMPDIR/mine"
	dd if="$BATS_TEST_TMPDIR/mine" of=/dev/nvme0n1 bs=1M oflag=direct 2>"$BATS_TEST_TMPDIR/dd"
	bind vfio-pci
	run boot --isolation "$1" --device "vfio:$DEVICE"
	bind nvme
	echo "$output"
	[[ $output == *"read $(sha256sum <"$BATS_TEST_TMPDIR/mine")"* ]]
	[[ $output =~ [1-9][0-9]*\ +PCI-MSI.*nvme0q ]]
	[[ $output == *over* && $output != *timeout* && $output != *polled* ]]
	eventually test -b /dev/nvme0n1
	sum=$(dd if=/dev/nvme0n1 bs=1M skip=8 count=1 iflag=direct 2>"$BATS_TEST_TMPDIR/dd" | sha256sum)
	[[ $output == *"written $sum"* ]]
}

@test "a device that the host still uses is not given away" {
	run boot --device "vfio:$DEVICE"
	[[ $output == *"$DEVICE is bound to nvme, not to vfio-pci"*"driverctl set-override $DEVICE vfio-pci"* ]]
	run boot --device vfio:0000:0f:00.0
	[[ $output == *"no PCI device 0000:0f:00.0"* ]]
}

@test "a pv machine gets an NVMe disk of the host" {
	given pv
}

@test "a vm machine gets an NVMe disk of the host" {
	given vm
}
