#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# lab: v1
#
# Containers in scopes of a systemd that manages cgroup v1: some hierarchies are its own, the others are not.

@test "systemd and cgroup v1: a container is in the freezer and the cpuset, too, can be paused, and leaves nothing" {
	local bundle=/tmp/systemd-v1
	mkdir -p "$bundle"/rootfs/{bin,dev,proc,sys}
	cp /bin/busybox "$bundle/rootfs/bin/" && ln -s busybox "$bundle/rootfs/bin/sleep"
	(cd "$bundle" && caisson-oci spec)
	jq '.process.terminal = false | .process.args = ["sleep", "1000"] | .linux.cgroupsPath = "system.slice:lab:v1"
		| .linux.resources.cpu = {cpus: "0"}' "$bundle/config.json" >"$bundle/new"
	mv "$bundle/new" "$bundle/config.json"
	cat >"$bundle/script" <<-'END'
		cd /tmp/systemd-v1 || exit
		oci() { caisson-oci --systemd-cgroup "$@" </tmp/empty; }
		oci run --detach v1 >output 2>&1 || { cat output; exit 1; }
		sed 's/^/in /' "/proc/$(oci state v1 | jq .pid)/cgroup"
		oci pause v1 && oci state v1 | jq -r .status && oci resume v1 && oci state v1 | jq -r .status
		oci delete --force v1 && find /sys/fs/cgroup -name lab-v1.scope | sed 's/^/left /'
		echo done
	END
	run ./systemd-in-lab.sh --inside env PATH="$PATH" bash "$bundle/script"
	echo "$output"
	[ "$status" = 0 ]
	for controller in freezer cpuset memory pids devices name=systemd; do
		grep -qE "^in [0-9]+:([a-z_,]*,)?$controller(,[a-z_,]*)?:/system.slice/lab-v1.scope$" <<<"$output"
	done
	[[ $output == *$'\npaused\nrunning\ndone'* ]]
}
