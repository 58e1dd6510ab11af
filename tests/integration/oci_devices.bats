#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What of the host's devices a container gets: network devices.

load helpers
setup_file() { oci_setup_file; }
teardown_file() { oci_teardown_file; }
setup() { oci_setup; }
teardown() { oci_teardown; }

# Runs script $1 in a network namespace of its own that stands for the host's: it has cf0, up, 10.77.0.1, and its peer.
on_a_host() {
	cat >"$BUNDLE/host" <<-END
		ip link add cf0 type veth peer name cf1 && ip addr add 10.77.0.1/24 dev cf0 || exit 99
		ip link set cf0 up && ip link set cf1 up
		$1
	END
	run unshare --net sh "$BUNDLE/host"
	[ "$status" -ne 99 ] || skip "no virtual Ethernet devices"
}

RUN='"$RUNTIME" --root "$STATE" run "$ID" <"$WORK/nothing"'

@test "a network device is the container's from its first hook on, under its new name" {
	local hook=$BUNDLE/hook
	printf '#!/bin/sh\npid=$(jq .pid) && nsenter -t "$pid" -n ip -o addr >%s/seen\n' "$BUNDLE" >"$hook"
	chmod +x "$hook"
	config --arg hook "$hook" '.linux.netDevices = {cf0: {name: "eth0"}} | .hooks = {createRuntime: [{path: $hook}]}'
	config '.linux.sysctl = {"net.ipv4.conf.eth0.forwarding": "1"}'
	args cat /proc/sys/net/ipv4/conf/eth0/forwarding
	on_a_host "$RUN"
	[ "$status" = 0 ]
	[ "$output" = 1 ]
	grep -q 'eth0 .*10.77.0.1/24' "$BUNDLE/seen"
}

@test "a network device goes back to the host when the container does not come to be" {
	config '.linux.netDevices = {cf0: {name: "eth0"}, cf1: {}}'
	args nothing-of-that-name
	on_a_host "$RUN; ip -o addr; ip -o link"
	[[ $output == *"executable file not found"* ]]
	[[ $output == *"cf0 "*"10.77.0.1/24"* ]]
	[[ $output == *"cf0@cf1"*"UP"* ]]
	[[ $output == *"cf1@cf0"* ]]
}

@test "a network device is not taken by a container in the host's network" {
	config '.linux.netDevices = {cf0: {}} | .linux.namespaces |= map(select(.type != "network"))'
	on_a_host "$RUN; ip -o link"
	[[ $output == *"unable to move network devices without a private NET namespace"* ]]
	[[ $output == *"cf0@cf1"* ]]
	config '.linux.namespaces += [{type: "network", path: "/proc/self/ns/net"}]'
	on_a_host "$RUN; ip -o link"
	[[ $output == *"linux.netDevices: the network namespace is the caller's own"* ]]
	[[ $output == *"cf0@cf1"* ]]
}

@test "a network device that is not there, or cannot be moved, is named" {
	config '.linux.netDevices = {nosuch: {}}'
	on_a_host "$RUN"
	[[ $output == *"linux.netDevices: cannot find the network device nosuch: No such device"* ]]
	config '.linux.netDevices = {lo: {name: "eth0"}}'
	on_a_host "$RUN"
	[[ $output == *"linux.netDevices: cannot move the network device lo"* ]]
	[ -z "$(oci list -q)" ]
}
