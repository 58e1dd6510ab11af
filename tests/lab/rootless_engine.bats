#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154,SC2016
# lab: v2 apart
#
# The engine for a user without privileges: store in the home directory, one user namespace for all commands.

load helpers

setup_file() {
	lab_setup_file
	user true # makes the user
	user caisson import "$LAB_IMAGE" busybox
	export STORE=/home/lab/.local/share/caisson RUN=/run/user/1000/caisson
}

teardown() {
	local ids
	ids=$(caisson ps -aq)
	# shellcheck disable=SC2086 # one word per instance
	[ -z "$ids" ] || caisson rm -f $ids >"$BATS_TEST_TMPDIR/rm" 2>&1
	[ ! -e "$BATS_TEST_TMPDIR/hidden" ] || umount /usr/bin/newuidmap
}

caisson() {
	user caisson "$@"
}

holder() {
	cut -d' ' -f1 "$RUN/namespace"
}

nobody_holds() {
	[ ! -s "$RUN/namespace" ] && ! pgrep -u lab -x 'caisson-userns|caisson-monitor'
}

is_in_state() { # NAME STATE
	[ "$(caisson inspect -f '{{.State.Status}}' "$1")" = "$2" ]
}

@test "rootless engine: the store and the state are in the user's own directories" {
	[ "$(stat -c %U "$STORE" "$RUN")" = $'lab\nlab' ]
	run -0 caisson images
	[[ $output == *busybox* ]]
	[ -z "$(find /var/lib/caisson /run/caisson -user lab 2>"$BATS_TEST_TMPDIR/find")" ]
}

@test "rootless engine: run, as root inside and with the user's subordinate ids" {
	run -0 caisson run --rm --network none busybox sh -c 'id -u; cat /proc/self/uid_map; ls -d /proc/1'
	[ "${lines[0]}" = 0 ]
	[[ ${lines[1]} =~ ^\ *0\ +1000\ +1$ ]]
	[[ ${lines[2]} =~ ^\ *1\ +100000\ +65536$ ]]
	eventually nobody_holds
}

@test "rootless engine: run passes exit codes on, and fails with docker's" {
	run -7 caisson run --rm --network none busybox sh -c 'exit 7'
	run -127 caisson run --rm --network none busybox /no/such/program
	run -125 caisson run --rm --network none nosuchimage true
}

@test "rootless engine: another user of the image, with the files that this user makes" {
	user mkdir -p /home/lab/data
	user chmod 777 /home/lab/data
	run -0 caisson run --rm --network none --user 33:33 -v /home/lab/data:/data busybox sh -c 'id -u; echo x >/data/of33'
	[ "$output" = 33 ]
	[ "$(stat -c %u /home/lab/data/of33)" = 100032 ]
	run -0 caisson run --rm --network none -v /home/lab/data:/data busybox rm /data/of33
}

@test "rootless engine: -d, ps, exec, logs, top, stop, start, rm, from commands that know nothing of each other" {
	run -0 caisson run -d --name web --network none busybox sh -c 'echo begun; sleep 1000'
	run -0 caisson ps
	[[ $output == *web* ]]
	sleeps() { [ "$(caisson exec web sh -c 'id -u; cat /proc/1/comm')" = $'0\nsleep' ]; }
	eventually sleeps # the shell becomes it
	[ "$(readlink "/proc/$(holder)/ns/user")" = "$(readlink "/proc/$(caisson inspect -f '{{.State.Pid}}' web)/ns/user")" ]
	said() { [ "$(caisson logs web)" = begun ]; }
	eventually said
	run -0 caisson top web
	[[ $output == *"sleep 1000"* ]]
	run -0 caisson stop -t 1 web
	is_in_state web exited
	run -0 caisson start web
	is_in_state web running
	run -0 caisson rm -f web
	eventually nobody_holds
	[ -z "$(find "$STORE/instances" "$STORE/names" -mindepth 1)" ]
}

@test "rootless engine: limits, stats, pause and update, in the cgroup that was delegated" {
	run -0 caisson run -d --name box --memory 64m --pids-limit 20 --cpus 0.5 --network none busybox sleep 1000
	dir=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(caisson inspect -f '{{.State.Pid}}' box)/cgroup")
	[[ $dir == */user@1000.service/* ]]
	[ "$(<"$dir/memory.max")" = 67108864 ]
	[ "$(<"$dir/pids.max")" = 20 ]
	[ "$(<"$dir/cpu.max")" = "50000 100000" ]
	run -0 caisson stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' box
	[[ $output == "box "*" / 64MiB 1" ]]
	run -0 caisson pause box
	grep -qx "frozen 1" "$dir/cgroup.events"
	run -0 caisson unpause box
	run -0 caisson update --memory 32m box
	[ "$(<"$dir/memory.max")" = 33554432 ]
	run -0 caisson rm -f box
	[ ! -e "$dir" ]
}

@test "rootless engine: out of memory is recorded" {
	run -137 caisson run --name hungry --memory 16m --memory-swap 16m --network none busybox dd if=/dev/zero of=/dev/null bs=64M count=1
	[ "$(caisson inspect -f '{{.State.OOMKilled}}' hungry)" = true ]
}

@test "rootless engine: networks host, none, and another's" {
	run -0 caisson run --rm --network host busybox ls /sys/class/net
	[[ $output == *lo* ]]
	run -0 caisson run -d --name lender --network none busybox sleep 1000
	own=$(caisson exec lender readlink /proc/self/ns/net)
	[ "$(caisson run --rm --network container:lender busybox readlink /proc/self/ns/net)" = "$own" ]
}

@test "rootless engine: what it made can be removed by it, whoever owned it inside" {
	run -0 caisson run --name maker --network none busybox sh -c 'mkdir /var/deep && echo x >/var/deep/x && chown -R 33:33 /var/deep && chmod 0 /var/deep'
	run -0 caisson rm maker
	[ -z "$(ls "$STORE/instances")" ]
}

@test "rootless engine: read-only root, tmpfs, volumes, --init, --privileged" {
	run -0 caisson run --rm --network none --read-only --tmpfs /scratch --init --privileged -v kept:/kept busybox \
		sh -c 'touch /scratch/x /kept/x && ! touch /y 2>/dev/null && cat /proc/1/comm'
	[ "$output" = init ]
	run -0 caisson volume rm kept
}

@test "rootless engine: parallel first commands share one namespace" {
	eventually nobody_holds
	for i in 1 2 3 4; do
		caisson run -d --name "p$i" --network none busybox sleep 1000 >"$BATS_TEST_TMPDIR/p$i" 2>&1 &
		pids[i]=$!
	done
	for i in 1 2 3 4; do wait "${pids[i]}"; done
	[ "$(pgrep -u lab -cf 'sleep 1000')" -ge 4 ]
	for i in 1 2 3 4; do
		run -0 caisson exec "p$i" true
	done
}

@test "rootless engine: kill -9 of the namespace's holder" {
	run -0 caisson run -d --name box --network none busybox sleep 1000
	kill -9 "$(holder)"
	run -0 caisson exec box true
	run -0 caisson rm -f box
	eventually nobody_holds
}

@test "rootless engine: without newuidmap it says what is missing, and works with the one id" {
	eventually nobody_holds
	touch "$BATS_TEST_TMPDIR/hidden"
	mount --bind "$EMPTY" /usr/bin/newuidmap # not executable
	run -0 caisson run --rm --network none busybox id -u
	[[ $output == *newuidmap*"only one user"*0 ]]
	run -125 caisson run --rm --network none --user 33 busybox id -u
	umount /usr/bin/newuidmap
	rm "$BATS_TEST_TMPDIR/hidden"
	eventually nobody_holds
	run -0 caisson run --rm --network none busybox id -u
	[ "$output" = 0 ]
}

@test "rootless engine: --root moves the store and all of the state" {
	run -0 user caisson --root /home/lab/other import "$LAB_IMAGE" busybox
	run -0 user caisson --root /home/lab/other run -d --name box --network none busybox sleep 1000
	run -0 user caisson --root /home/lab/other exec box true
	run -0 caisson ps -a
	[[ $output != *box* ]]
	run -0 user caisson --root /home/lab/other rm -f box
}

@test "rootless engine: save and load" {
	run -0 caisson save -o /home/lab/saved.tar busybox
	run -0 caisson rmi busybox
	run -0 caisson load -i /home/lab/saved.tar
	run -0 caisson run --rm --network none busybox true
}
