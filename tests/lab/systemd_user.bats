#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154,SC2016
# lab: v2 apart
#
# --systemd-cgroup for a user without privileges: the user's own systemd makes the scopes.

load helpers

setup_file() {
	lab_setup_file
}

@test "rootless systemd: a scope with limits in the user's slice, from run to delete" {
	mkdir -m 777 "$BATS_TEST_TMPDIR/b"
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"/test
	cat >"$BATS_TEST_TMPDIR/script" <<-'SCRIPT'
		set -eux
		cd "$1/b"
		cp -a "$2" rootfs
		caisson-oci spec --rootless
		jq '.process.terminal = false | .process.args = ["sleep", "1000"] | .linux.cgroupsPath = "user.slice:cf:box"
			| .linux.resources = {memory: {limit: 67108864}, pids: {limit: 20}}' config.json >new
		mv new config.json
		oci() { caisson-oci --systemd-cgroup "$@"; }
		oci run --detach box <"$3" >out 2>&1 || { cat out; exit 1; }
		path=$(sed -n 's/^0:://p' "/proc/$(oci state box | jq .pid)/cgroup")
		case $path in */lab-user.service/user.slice/cf-box.scope) ;; *) exit 1 ;; esac
		dir=/sys/fs/cgroup$path
		[ "$(cat "$dir/memory.max")" = 67108864 ]
		[ "$(cat "$dir/pids.max")" = 20 ]
		[ "$(systemctl --user show -p MemoryMax --value cf-box.scope)" = 67108864 ]
		[ "$(oci exec box id -u <"$3")" = 0 ]
		oci pause box
		[ "$(oci state box | jq -r .status)" = paused ]
		oci resume box
		oci update --memory 33554432 box
		[ "$(cat "$dir/memory.max")" = 33554432 ]
		[ "$(systemctl --user show -p MemoryMax --value cf-box.scope)" = 33554432 ]
		oci delete --force box
		[ ! -e "$dir" ]
		[ "$(systemctl --user show -p ActiveState --value cf-box.scope)" = inactive ]
		echo all of it
	SCRIPT
	run ./systemd-in-lab.sh --inside-user env PATH="$PATH" bash "$BATS_TEST_TMPDIR/script" "$BATS_TEST_TMPDIR" "$ROOTFS" "$EMPTY"
	echo "$output"
	[ "$status" = 0 ]
	[[ $output == *"all of it"* ]]
}
