#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# lab: v1 v2
#
# The lab itself: what the other files of this folder build on.

@test "lab: it is the lab's kernel, as root, with the project's build in sight" {
	[ "$LAB" = 1 ]
	[ "$(id -u)" = 0 ]
	[ -e "$CAISSON_BUILD/build.ninja" ]
}

@test "lab: the layout is the one asked for, with its controllers" {
	if [ "$LAB_CGROUP" = v2 ]; then
		[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]
		for controller in cpuset cpu io memory pids; do
			grep -qw "$controller" /sys/fs/cgroup/cgroup.controllers
			grep -qw "$controller" /sys/fs/cgroup/cgroup.subtree_control
		done
	else
		for controller in cpuset cpu blkio memory pids devices freezer; do
			[ "$(stat -fc %T "/sys/fs/cgroup/$controller")" = cgroupfs ]
		done
	fi
}

@test "lab: /dev/kvm is the real thing" {
	[ -c /dev/kvm ]
}

@test "lab: what is written to / stays in the lab" {
	echo x >/etc/written-in-the-lab
	[ "$(stat -fc %T /)" = overlayfs ]
}

@test "as-user: a user with ranges of ids, a runtime directory and a home" {
	run ./as-user sh -c 'id -u; id -g; test -w "$XDG_RUNTIME_DIR" && test -w "$HOME" && echo writable'
	[ "$output" = $'1000\n1000\nwritable' ]
	run ./as-user unshare --user --map-users=100000,0,65536 --map-groups=100000,0,65536 sh -c 'cat /proc/self/uid_map'
	[ "$status" = 0 ]
	[[ $output == *100000*65536* ]]
}

@test "as-user: under v2 the user may make cgroups with controllers, and nothing above them" {
	[ "$LAB_CGROUP" = v2 ] || skip "cgroup v1 cannot be delegated safely"
	./as-user sh -ec '
		own=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
		above=${own%/*}
		mkdir "$above/mine"
		echo "+memory +pids" >"$above/cgroup.subtree_control"
		echo 100 >"$above/mine/pids.max"
		! echo 100 2>/dev/null >"$above/pids.max"
		rmdir "$above/mine"'
}
