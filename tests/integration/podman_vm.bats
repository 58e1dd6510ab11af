#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# podman runs its containers in virtual machines: by the runtime's name, or by an annotation.

bats_require_minimum_version 1.5.0
load clients
load machine

setup_file()
{
	command -v podman conmon >"$BATS_FILE_TMPDIR/found" || skip "needs podman and conmon"
	machine_kernel
	clients_start
	cat >"$CLIENTS_DIR/containers.conf" <<-EOF
		[containers]
		default_ulimits = ["nofile=1024:4096", "nproc=8192:8192"]
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
	EOF
	# Under the name by which it is called: RUNTIME has no links in it.
	cat >"$CLIENTS_DIR/podman" <<-EOF
		#!/bin/sh
		export CONTAINERS_CONF="$CLIENTS_DIR/containers.conf"
		runtime=\$1
		shift
		exec podman --root "$CLIENTS_DIR/root" --runroot "$CLIENTS_DIR/runroot" --tmpdir "$CLIENTS_DIR/tmp" \
			--cgroup-manager cgroupfs --events-backend file --runtime "${RUNTIME%/*}/\$runtime" "\$@"
	EOF
	chmod +x "$CLIENTS_DIR/podman"
	podman caisson-oci import "$CLIENTS_DIR/rootfs.tar" box:1
}

teardown_file()
{
	[ -n "${CLIENTS_DIR:-}" ] || return 0
	clients_stop libpod_parent
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || printf 'output: %s\n' "${output:-}"
	eventually podman caisson-oci rm --all --force --time 0
}

podman()
{
	inside "$CLIENTS_DIR/podman" "$@"
}

@test "caisson-oci-pv runs a container in a machine" {
	run -7 podman caisson-oci-pv run --rm --network none --annotation org.caisson.vm.kernel="$MACHINE_KERNEL" \
		--memory 256m --env A=b box:1 sh -c 'uname -r; echo $A; exit 7'
	[ "${lines[0]}" = "${MACHINE_KERNEL##*/vmlinuz-}" ]
	[ "${lines[1]}" = b ]
}

@test "an annotation does the same; exec, logs, stop" {
	podman caisson-oci run -d --name machine --network none --annotation org.caisson.vm.kernel="$MACHINE_KERNEL" \
		--annotation run.oci.handler=vm --annotation org.caisson.vm.memory=256m box:1 \
		sh -c 'trap "exit 9" TERM; uname -r; while :; do sleep 0.1; done'
	run -3 podman caisson-oci exec machine sh -c 'uname -r; exit 3'
	[ "${lines[0]}" = "${MACHINE_KERNEL##*/vmlinuz-}" ]
	[ "$(podman caisson-oci logs machine)" = "${MACHINE_KERNEL##*/vmlinuz-}" ]
	podman caisson-oci stop -t 20 machine
	[ "$(podman caisson-oci inspect -f '{{.State.ExitCode}}' machine)" = 9 ]
}
