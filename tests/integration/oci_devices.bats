#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What of the host's devices a container gets: network devices, and nodes where a user namespace keeps it from making its own.

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
	[[ $output == *"linux.netDevices: cannot find the network device nosuch: no such device"* ]]
	config '.linux.netDevices = {lo: {name: "eth0"}}'
	on_a_host "$RUN"
	[[ $output == *"linux.netDevices: cannot move the network device lo"* ]]
	[ -z "$(oci list -q)" ]
}

# in_a_user_namespace DEVICES: the configuration, with a user namespace and these linux.devices.
in_a_user_namespace() {
	chmod 755 "$WORK" "$BUNDLE"
	config --argjson devices "$1" '.linux.namespaces += [{type: "user"}] | .linux.devices = $devices
		| .linux.uidMappings = [{containerID: 0, hostID: 200000, size: 1000}] | .linux.gidMappings = .linux.uidMappings
		| .linux.resources.devices += [{allow: true, access: "rw"}]'
}

# The runtime as a root that may make no nodes.
without_mknod() {
	setpriv --bounding-set -mknod "$RUNTIME" --root "$STATE" "$@" <"$WORK/nothing"
}

@test "in a user namespace a device has the mode and the owner that are asked for, wherever it is" {
	in_a_user_namespace '[{"type": "c", "path": "/dev/deep/er", "major": 1, "minor": 5, "fileMode": 416, "uid": 7, "gid": 8},
		{"type": "c", "path": "/dev/nobody-has-this", "major": 10, "minor": 1048575}, {"type": "p", "path": "/dev/pipe"}]'
	args stat -c '%n %F %a %u:%g %t:%T' /dev/deep/er /dev/nobody-has-this /dev/pipe
	run -0 oci run "$ID"
	[ "${lines[0]}" = "/dev/deep/er character special file 640 7:8 1:5" ]
	[ "${lines[1]}" = "/dev/nobody-has-this character special file 666 0:0 a:fffff" ]
	[[ "${lines[2]}" = "/dev/pipe fifo 666 "* ]]
	[ -z "$(awk '$9 == "tmpfs" && /nodes/' /proc/self/mountinfo)" ]
}

@test "in a user namespace a device works" {
	in_a_user_namespace '[{"type": "c", "path": "/dev/nought", "major": 1, "minor": 5}]'
	args sh -c 'dd if=/dev/nought of=/dev/shm/five bs=5 count=1 2>/dev/null; stat -c %s /dev/shm/five'
	run -0 oci run "$ID"
	[ "$output" = 5 ]
}

@test "in a user namespace, without the right to make it, a device is the host's, under whatever path" {
	in_a_user_namespace '[{"type": "c", "path": "/dev/nought", "major": 1, "minor": 5}]'
	args stat -c '%F %t:%T' /dev/nought
	run -0 without_mknod run "$ID"
	[ "$output" = "character special file 1:5" ]
}

@test "a device that can neither be made nor taken from the host is an error that says so" {
	in_a_user_namespace '[{"type": "c", "path": "/dev/null2", "major": 10, "minor": 1048575}]'
	run -1 without_mknod run "$ID"
	[[ $output == *"cannot supply the device /dev/null2 (c 10:1048575): in a user namespace it cannot be made, and the host has no such node"* ]]
	[ -z "$(oci list -q)" ]
}

@test "another file where a device belongs is an error, and stays what it was" {
	echo precious >"$WORK/rootfs/tmp/file"
	in_a_user_namespace '[{"type": "c", "path": "/tmp/file", "major": 1, "minor": 5}]'
	run -1 oci run "$ID"
	[[ $output == *"cannot supply the device /tmp/file: something else is there"* ]]
	[ "$(cat "$WORK/rootfs/tmp/file")" = precious ]
	rm "$WORK/rootfs/tmp/file"
}
