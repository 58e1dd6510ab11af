#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154,SC2016
# lab: v2 apart hardware
#
# Network cards of machines with Debian's unmodified kernels: both sides ping each other and carry bytes by TCP, through
# a tap in a network namespace of the test's own.  The cloud kernel has no driver for the e1000: run has hardware-kernel
# fetch one that has.

load machine

setup_file() {
	export IMAGES=$BATS_FILE_TMPDIR WWW=$BATS_FILE_TMPDIR/www
	export HARDWARE=${LAB_CACHE:-/var/tmp/lab-cache}/hardware
	machine_setup_file
	mkdir "$WWW"
	head -c 1000000 /dev/urandom >"$WWW/big"
	modules=$(echo /lab/kernel/lib/modules/*/kernel)
	machine_initrd "$IMAGES/pv" "$(guest_init)" "$modules"/drivers/virtio/virtio_ring.ko "$modules"/drivers/virtio/virtio.ko \
		"$modules"/drivers/virtio/virtio_mmio.ko "$modules"/net/core/failover.ko \
		"$modules"/drivers/net/net_failover.ko "$modules"/drivers/net/virtio_net.ko
	[ ! -e "$HARDWARE/e1000.ko" ] || machine_initrd "$IMAGES/vm" "$(guest_init)" "$HARDWARE/e1000.ko"
}

# What the guest does: fetches from the host, serves the host, and says how it fared.
guest_init() {
	cat <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
		for module in /modules/*; do insmod $module; done
		i=0; while [ ! -e /sys/class/net/eth0 ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done
		ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up
		echo "mac $(cat /sys/class/net/eth0/address)"
		echo "queues $(ls /sys/class/net/eth0/queues | xargs)"
		i=0; until ping -c 1 -W 1 10.77.0.1 >/dev/null 2>&1 || [ $i = 30 ]; do i=$((i+1)); done
		ping -c 3 -W 5 10.77.0.1 | grep received
		echo "fetched $(wget -q -O - http://10.77.0.1:8080/big | sha256sum)"
		mkdir /www; head -c 500000 /dev/urandom >/www/own; echo "own $(sha256sum </www/own)"
		httpd -p 80 -h /www
		i=0; until wget -q -O /dev/null http://10.77.0.1:8080/done 2>/dev/null || [ $i = 1500 ]; do sleep 0.2; i=$((i+1)); done
		echo "errors $(cat /sys/class/net/eth0/statistics/rx_errors /sys/class/net/eth0/statistics/tx_errors | xargs)"
		dmesg | grep -E "Detected Tx Unit Hang|NETDEV WATCHDOG"
		echo over
		poweroff -f
	INIT
}

# The host's side; arguments are those of caisson vm boot.  Ends when the guest has switched itself off.
beside_guest() {
	local i
	ip link set lo up
	# shellcheck disable=SC2086 # words
	ip tuntap add dev tap0 mode tap vnet_hdr $TAP || return 1
	ip link set tap0 up && ip addr add 10.77.0.1/24 dev tap0 || return 1
	busybox httpd -f -p 10.77.0.1:8080 -h "$WWW" >"$BATS_TEST_TMPDIR/httpd" 2>&1 3>&- &
	server=$!
	timeout 620 caisson vm boot --engine kvm --timeout 600 -m 256m "$@" \
		--cmdline "$MACHINE_WORDS" <"$EMPTY" >"$BATS_TEST_TMPDIR/guest" 2>&1 3>&- &
	machine=$!
	for ((i = 0; i < 1500; i++)); do
		timeout 5 busybox wget -q -O "$BATS_TEST_TMPDIR/own" http://10.77.0.2/own 2>"$BATS_TEST_TMPDIR/wget" && break
		kill -0 "$machine" 2>"$BATS_TEST_TMPDIR/kill" || break
		sleep 0.2
	done
	# what the kernel's own side of it has done, if it has one: hundredths of a second
	cat /proc/[0-9]*/stat 2>"$BATS_TEST_TMPDIR/kill" | sed -n 's/^.*(vhost-.*) //p' | cut -d ' ' -f 13 | sed 's/^/vhost /'
	: >"$WWW/done"
	wait "$machine"
	echo "status $?"
	kill "$server"
	echo "taken $(sha256sum <"$BATS_TEST_TMPDIR/own")"
	cat "$BATS_TEST_TMPDIR/wget" "$BATS_TEST_TMPDIR/guest"
}

try() { # ARGUMENTS of caisson vm boot
	export -f beside_guest
	export MACHINE_WORDS BATS_TEST_TMPDIR TAP=${TAP:-}
	rm -f "$WWW/done"
	run unshare -n bash -c 'beside_guest "$@" | tr -d "\r"' beside_guest "$@"
	echo "$output"
	[[ $output == *"mac 02:00:00:00:00:42"* ]]
	[[ $output == *"3 packets received"* ]]
	[[ $output == *"fetched $(sha256sum <"$WWW/big")"* ]]
	[ "$(sed -n 's/^own //p' <<<"$output")" = "$(sed -n 's/^taken //p' <<<"$output")" ]
	[[ $output == *"errors 0 0"*over* ]]
	[[ $output != *"Hang"* && $output != *"WATCHDOG"* ]]
	[[ $output == *"status 0"* ]]
}

@test "virtio-net carries bytes both ways, by a pair of queues for each vCPU" {
	TAP=multi_queue try --kernel "$KERNEL" --initrd "$IMAGES/pv" --vcpus 2 --tap tap0,mac=02:00:00:00:00:42,queues=2
	[[ $output == *"queues rx-0 rx-1 tx-0 tx-1"* ]]
}

@test "virtio-net by vhost-net carries bytes both ways" {
	try --kernel "$KERNEL" --initrd "$IMAGES/pv" --tap tap0,mac=02:00:00:00:00:42,vhost
	[[ $output =~ vhost\ [1-9] ]]
}

@test "the e1000 carries bytes both ways" {
	[ -e "$IMAGES/vm" ] || skip "no kernel with a driver for it in $HARDWARE: tests/lab/hardware-kernel could not download one"
	try --isolation vm --kernel "$HARDWARE/vmlinuz" --initrd "$IMAGES/vm" --tap tap0,mac=02:00:00:00:00:42
}
