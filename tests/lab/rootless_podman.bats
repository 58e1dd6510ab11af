#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154
# lab: v2
#
# Debian's podman without root, on caisson-oci.

load helpers

setup_file() {
	lab_setup_file
	user true # makes the user
	mkdir -p /scratch/tmp && mount --bind /scratch/tmp /var/tmp
	podman import "$LAB_IMAGE" busybox:1
}

teardown_file() {
	podman rm --all --force --time 0
	umount /var/tmp
}

podman() {
	user podman --runtime "$CAISSON_BUILD/bin/caisson-oci" --cgroup-manager cgroupfs --events-backend file "$@" 3>&-
}

@test "rootless podman: run, with the user's ids" {
	run -0 podman run --rm --network none busybox:1 sh -c 'id -u; cat /proc/self/uid_map'
	[ "${lines[0]}" = 0 ]
	[[ ${lines[2]} =~ ^\ *1\ +100000\ +65536$ ]]
}

@test "rootless podman: -d, exec, ps, stop, rm" {
	podman run -d --name box --network none busybox:1 sleep 1000
	run -0 podman exec box id -u
	[ "$output" = 0 ]
	run -0 podman ps --format '{{.Names}}'
	[ "$output" = box ]
	podman stop --time 1 box
	run -0 podman inspect -f '{{.State.Status}}' box
	[ "$output" = exited ]
	podman rm box
}

@test "rootless podman: exit codes, a user of the image, the host's network" {
	run -7 podman run --rm --network none busybox:1 sh -c 'exit 7'
	run -127 podman run --rm --network none busybox:1 /no/such/program
	run -0 podman run --rm --network none --user 33:33 busybox:1 id -u
	[ "$output" = 33 ]
	run -0 podman run --rm --network host busybox:1 ls /sys/class/net
	[[ $output == *lo* ]]
}

@test "rootless podman: CVE-2023-25809: the host's cgroup namespace, and nothing to write in it" {
	run -0 podman run --rm --network none --cgroupns host busybox:1 sh -c '
		for dir in /sys/fs/cgroup /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service; do
			mkdir $dir/escape 2>/dev/null && echo made in $dir
		done; echo tried'
	[ "$output" = tried ]
}
