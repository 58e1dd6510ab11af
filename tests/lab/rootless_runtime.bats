#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154,SC2016
# lab: v2
#
# caisson-oci for a user without privileges: with a part of the cgroup tree that was delegated, and without.

load helpers

setup_file() {
	lab_setup_file
	user true # makes the user
	export HOME_DIR=/home/lab
	cp -a "$ROOTFS" $HOME_DIR/rootfs
	chown -R lab: $HOME_DIR/rootfs
}

setup() {
	B=$HOME_DIR/b$BATS_TEST_NUMBER
	ID=box$BATS_TEST_NUMBER
	user sh -c "mkdir -p $B && cd $B && caisson-oci spec --rootless"
	configure ".process.args = [\"sleep\", \"1000\"]"
}

teardown() {
	user sh -c "caisson-oci delete --force $ID" >"$BATS_TEST_TMPDIR/delete" 2>&1 || true
	[ ! -e "$BATS_TEST_TMPDIR/hidden" ] || umount /usr/bin/newuidmap
}

configure() {
	jq ".process.terminal = false | .root.readonly = false | .root.path = \"$HOME_DIR/rootfs\" | $1" "$B/config.json" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$B/config.json"
}

prints() { # SCRIPT of the container's sh
	configure ".process.args = [\"sh\", \"-c\", $(jq -n --arg s "$1" '$s')]"
}

oci() {
	user caisson-oci "$@"
}

# For commands whose container keeps stdout and stderr open, for which bats' run would wait.
quietly() {
	"$@" >"$BATS_TEST_TMPDIR/out" 2>&1 || { cat "$BATS_TEST_TMPDIR/out" && return 1; }
}

# The container's directory in the cgroup tree.
cgroup() {
	echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(oci state "$ID" | jq .pid)/cgroup")"
}

is() { # STATUS
	[ "$(oci state "$ID" | jq -r .status)" = "$1" ]
}

# A command of the user whose cgroup, like a login's, was not delegated.
not_delegated() {
	mkdir -p /sys/fs/cgroup/session.scope
	sh -c 'echo $$ >/sys/fs/cgroup/session.scope/cgroup.procs
		exec setpriv --reuid 1000 --regid 1000 --init-groups -- env XDG_RUNTIME_DIR=/run/user/1000 HOME=/home/lab "$@"' \
		sh "$@" <"$EMPTY"
}

@test "rootless: run, as root inside and as oneself outside" {
	prints 'id; cat /proc/self/uid_map; echo written >/tmp/file'
	run -0 oci run --bundle "$B" "$ID"
	[[ ${lines[0]} == "uid=0 gid=0"* ]]
	[[ ${lines[1]} =~ ^\ *0\ +1000\ +1$ ]]
	[ "$(stat -c %u $HOME_DIR/rootfs/tmp/file)" = 1000 ]
}

@test "rootless: the whole range of subordinate ids, by newuidmap and newgidmap" {
	configure '.linux.uidMappings = [{containerID: 0, hostID: 1000, size: 1}, {containerID: 1, hostID: 100000, size: 65535}]
		| .linux.gidMappings = .linux.uidMappings | .process.user = {uid: 5, gid: 7, additionalGids: [9]}'
	prints 'id; cat /proc/self/uid_map /proc/self/gid_map'
	run -0 oci run --bundle "$B" "$ID"
	[[ ${lines[0]} == "uid=5 gid=7 groups="*9* ]]
	[ "$(grep -c '100000 *65535' <<<"$output")" = 2 ]
}

@test "rootless: ids that are not the user's are refused, and nothing is left" {
	configure '.linux.uidMappings = [{containerID: 0, hostID: 0, size: 1}] | .linux.gidMappings = .linux.uidMappings'
	run -1 oci run --bundle "$B" "$ID"
	[[ $output == *newuidmap*subuid* ]]
	run -1 oci state "$ID"
	[ ! -e "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/caisson-oci-$ID" ]
}

@test "rootless: without newuidmap a single id works, and more names the package" {
	touch "$BATS_TEST_TMPDIR/hidden"
	mount --bind "$EMPTY" /usr/bin/newuidmap # not executable
	prints 'cat /proc/self/uid_map'
	run -0 oci run --bundle "$B" "$ID"
	configure '.linux.uidMappings = [{containerID: 0, hostID: 1000, size: 1}, {containerID: 1, hostID: 100000, size: 10}]'
	run -1 oci run --bundle "$B" "$ID"
	[[ $output == *newuidmap* ]]
	run -1 user env PATH="$CAISSON_BUILD/bin" caisson-oci run --bundle "$B" "$ID"
	[[ $output == *"newuidmap not found; install the package uidmap"* ]]
}

@test "rootless: groups and users that cannot be had are errors, and never root" {
	configure '.process.user = {uid: 0, gid: 0, additionalGids: [9]}'
	prints 'id'
	run -1 oci run --bundle "$B" "$ID"
	[[ $output == *"additional groups"* && $output != *uid=* ]]
	configure '.process.user = {uid: 33, gid: 0}'
	run -1 oci run --bundle "$B" "$ID"
	[[ $output == *"cannot become user 33"* && $output != *uid=* ]]
}

@test "rootless: a user namespace is asked for" {
	configure 'del(.linux.uidMappings, .linux.gidMappings) | .linux.namespaces |= map(select(.type != "user"))'
	run -1 oci run --bundle "$B" "$ID"
	[[ $output == *"rootless container requires user namespaces"* ]]
}

@test "rootless: create, state, start, exec, ps, list, kill, delete" {
	quietly oci create --bundle "$B" "$ID"
	is created
	run -0 oci start "$ID"
	is running
	run -0 oci exec "$ID" sh -c 'id -u; cat /proc/1/comm'
	[ "$output" = $'0\nsleep' ]
	run -0 oci ps "$ID"
	[[ $output == *"sleep 1000"* ]]
	run -0 oci list
	[[ $output == *"$ID"*running*"lab"* ]]
	run -0 oci kill "$ID" KILL
	eventually is stopped
	run -0 oci delete "$ID"
	run -1 oci state "$ID"
	[ ! -e "/run/user/1000/caisson-oci/$ID" ]
}

@test "rootless, delegated: the limits are in the cgroup, and go with the container" {
	configure '.linux.resources = {memory: {limit: 67108864}, pids: {limit: 20}, cpu: {quota: 50000, period: 100000}}'
	quietly oci create --bundle "$B" "$ID"
	dir=$(cgroup)
	[[ $dir == */user@1000.service/* ]]
	[ "$(<"$dir/memory.max")" = 67108864 ]
	[ "$(<"$dir/pids.max")" = 20 ]
	[ "$(<"$dir/cpu.max")" = "50000 100000" ]
	run -0 oci start "$ID"
	run -0 oci update --memory 33554432 --pids-limit 30 "$ID"
	[ "$(<"$dir/memory.max")" = 33554432 ]
	[ "$(<"$dir/pids.max")" = 30 ]
	run -0 oci exec "$ID" cat /proc/self/cgroup
	[[ $output == "0::/"* ]]
	[ "$(wc -l <"$dir/cgroup.procs")" = 1 ]
	run -0 oci delete --force "$ID"
	[ ! -e "$dir" ]
}

@test "rootless, delegated: pause, resume, events" {
	quietly oci run --detach --bundle "$B" "$ID"
	run -0 oci pause "$ID"
	is paused
	grep -qx "frozen 1" "$(cgroup)/cgroup.events"
	run -255 oci exec "$ID" true
	run -0 oci resume "$ID"
	is running
	run -0 oci events --stats "$ID"
	[ "$(jq .data.pids.current <<<"$output")" = 1 ]
	[ "$(jq .data.memory.usage.usage <<<"$output")" -gt 0 ]
}

@test "rootless, delegated: device rules are nobody's to set, and no error" {
	configure '.linux.resources.devices = [{allow: false, access: "rwm"}]'
	prints 'echo x >/dev/null && echo fine'
	run -0 oci run --bundle "$B" "$ID"
	[ "$output" = fine ]
}

@test "rootless, delegated: out of memory ends it with 137" {
	configure '.linux.resources.memory = {limit: 16777216, swap: 16777216}'
	prints 'dd if=/dev/zero of=/dev/null bs=64M count=1'
	run -137 oci run --bundle "$B" "$ID"
}

@test "rootless, not delegated: it runs without a cgroup" {
	prints 'cat /proc/self/cgroup'
	run -0 not_delegated "$CAISSON_BUILD/bin/caisson-oci" run --bundle "$B" "$ID"
	[ "$output" = 0::/ ]
	configure '.process.args = ["sleep", "1000"]'
	quietly not_delegated "$CAISSON_BUILD/bin/caisson-oci" create --bundle "$B" "$ID"
	run -0 oci start "$ID"
	run -0 not_delegated "$CAISSON_BUILD/bin/caisson-oci" exec "$ID" true
	run -0 oci kill "$ID" KILL
	eventually is stopped
	run -0 oci delete "$ID"
}

@test "rootless, not delegated: limits and paths that cannot be had are errors, in runc's words" {
	configure '.linux.resources.memory.limit = 67108864'
	run -1 not_delegated "$CAISSON_BUILD/bin/caisson-oci" create --bundle "$B" "$ID"
	[[ $output == *"rootless needs no limits + no cgrouppath when no permission is granted for cgroups"* ]]
	configure 'del(.linux.resources) | .linux.cgroupsPath = "/some/cgroup"'
	run -1 not_delegated "$CAISSON_BUILD/bin/caisson-oci" create --bundle "$B" "$ID"
	[[ $output == *"ermission denied"* ]]
	run -1 oci state "$ID"
}

@test "rootless, not delegated: what needs a cgroup says so" {
	quietly not_delegated "$CAISSON_BUILD/bin/caisson-oci" run --detach --bundle "$B" "$ID"
	run -1 oci pause "$ID"
	[[ $output == *"has no cgroup"* ]]
	run -0 oci kill "$ID" KILL
}

# ---- CVE-2023-25809: the host's cgroup tree, in which the user may write, seen and written from inside ----

TRY_TO_WRITE='for dir in /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service /sys/fs/cgroup; do
	mkdir $dir/escape 2>/dev/null && echo made in $dir
	done; echo tried'

@test "CVE-2023-25809: /sys of the host, no cgroup namespace: the user's cgroups cannot be written" {
	configure '.linux.namespaces |= map(select(.type != "cgroup"))'
	prints "$TRY_TO_WRITE"
	run -0 oci run --bundle "$B" "$ID"
	[ "$output" = tried ]
}

@test "CVE-2023-25809: nor in a container that has no cgroup" {
	configure '.linux.namespaces |= map(select(.type != "cgroup"))'
	prints "$TRY_TO_WRITE; ls /sys/fs/cgroup"
	run -0 not_delegated "$CAISSON_BUILD/bin/caisson-oci" run --bundle "$B" "$ID"
	[ "$output" = tried ]
}

@test "CVE-2023-25809: nor by root of a user namespace, whose runtime is in it" {
	configure 'del(.linux.uidMappings, .linux.gidMappings)
		| .linux.namespaces |= map(select(.type != "user" and .type != "cgroup"))'
	prints "$TRY_TO_WRITE"
	run -0 user unshare --user --map-root-user --mount caisson-oci run --bundle "$B" "$ID"
	[ "$output" = tried ]
}

@test "CVE-2023-25809: what may be written is the container's own cgroup, if its configuration says so" {
	configure '.mounts |= map(if .type == "cgroup" then .options |= map(select(. != "ro")) else . end)'
	prints 'mkdir /sys/fs/cgroup/child && echo made; rm -r /sys/fs/cgroup/child 2>/dev/null; cat /proc/self/cgroup'
	run -0 oci run --bundle "$B" "$ID"
	[ "$output" = $'made\n0::/' ]
}
