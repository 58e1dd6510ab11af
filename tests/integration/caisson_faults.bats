#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2010,SC2154,SC2178,SC2128
#
# Whatever is killed or runs out, and whenever: a clear error, the other instances untouched, nothing left behind, and
# the next command works.

bats_require_minimum_version 1.5.0
load caisson

setup_file() { store_make; }
teardown_file() { store_remove; }

teardown()
{
	! mountpoint -q "$BATS_TEST_TMPDIR/small" || umount -l "$BATS_TEST_TMPDIR/small"
	# shellcheck disable=SC2046 # one word per instance
	caisson rm -f $(caisson ps -aq) >"$BATS_TEST_TMPDIR/rm.log" 2>&1 || true
}

sleeper() # NAME [FLAGS...]
{
	local name=$1
	shift
	caisson run -d --name "$name" "$@" busybox sleep 1000 <"$BATS_FILE_TMPDIR/empty"
}

# settled ID...: after a command that looks at all instances, nothing is left of those.
settled()
{
	caisson ps -aq >"$BATS_TEST_TMPDIR/ps" || return 1
	nothing_left "$@"
}

@test "kill -9 of process 1 ends the instance with 137" {
	id=$(sleeper box)
	sleeper other
	kill -9 "$(process_of box)"
	[ "$(caisson wait box)" = 137 ]
	eventually is_in_state box exited
	[ "$(state_of other)" = running ]
	caisson start box
	[ "$(state_of box)" = running ]
	caisson rm -f box other
	eventually nothing_left "$id"
}

@test "kill -9 of the monitor: the next command ends and records what it held" {
	id=$(sleeper box)
	sleeper other
	process=$(process_of box)
	kill -9 "$(monitor_of box)"
	eventually is_in_state box exited
	[ "$(caisson inspect -f '{{.State.ExitCode}}' box)" = 137 ]
	eventually no_such_process "$process"
	[ "$(state_of other)" = running ]
	caisson start box
	[ "$(state_of box)" = running ]
	caisson rm -f box other
	eventually nothing_left "$id"
}

@test "kill -9 of the monitor of an instance with --rm: the next command removes it" {
	id=$(sleeper box --rm)
	kill -9 "$(monitor_of box)"
	eventually settled "$id"
	sleeper box
}

@test "kill -9 of a foreground run: the instance lives on, and --rm is still done" {
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" run --rm --name box busybox \
		sh -c 'echo up; until [ -e /go ]; do sleep 0.05; done' \
		>"$BATS_TEST_TMPDIR/out" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	pid=$!
	eventually grep up "$BATS_TEST_TMPDIR/out"
	id=$(caisson ps -q --no-trunc)
	kill -9 "$pid"
	eventually no_such_process "$pid"
	[ "$(state_of box)" = running ]
	caisson exec box touch /go
	eventually nothing_left "$id"
}

@test "kill -9 of an exec: the instance and its other processes live on" {
	sleeper box
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" exec box sh -c 'echo up; sleep 100' >"$BATS_TEST_TMPDIR/out" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	pid=$!
	eventually grep up "$BATS_TEST_TMPDIR/out"
	kill -9 "$pid"
	[ "$(state_of box)" = running ]
	caisson exec box true
}

# Whatever runs on behalf of this store, and what those have started.
processes_of_store()
{
	local pid
	for pid in $(pgrep -f -- "$STORE"); do
		echo "$pid"
		cat "/proc/$pid/task/$pid/children" 2>/dev/null || true
	done
}

# One run, killed after so many tenths of milliseconds: the command, or all that there is of it.
killed_after()
{
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" run --rm busybox sleep 0.02 >"$BATS_TEST_TMPDIR/out" 2>&1 <"$BATS_FILE_TMPDIR/empty" 3>&- &
	local pid=$!
	sleep "$(printf '0.%04d' "$1")"
	if [ "$2" = group ]; then
		# shellcheck disable=SC2046 # one word per process
		kill -9 $(processes_of_store) || true
	else
		kill -9 "$pid" || true
	fi
	wait "$pid" || true
}

@test "kill -9 of the command after any time leaves nothing" {
	for ((tenths = 0; tenths < 300; tenths += 10)); do
		killed_after "$tenths" command
	done 2>"$BATS_TEST_TMPDIR/jobs"
	eventually settled
	caisson run --rm busybox true
}

@test "kill -9 of command, monitor and process 1 together after any time leaves nothing" {
	for ((tenths = 0; tenths < 300; tenths += 10)); do
		killed_after "$tenths" group
	done 2>"$BATS_TEST_TMPDIR/jobs"
	eventually settled
	caisson run --rm busybox true
}

@test "system calls that fail are told, and leave nothing" {
	command -v strace >"$BATS_TEST_TMPDIR/strace" || skip "needs strace"
	for fault in mkdirat:ENOSPC symlinkat:ENOSPC openat:EMFILE fsopen:ENODEV fsmount:EPERM pipe2:ENFILE socketpair:EMFILE bind:EACCES clone:EAGAIN renameat:EIO; do
		call=${fault%:*}
		for n in 1 2 3 6 10; do
			code=0
			strace -o "$BATS_TEST_TMPDIR/trace" -e "trace=$call" -e "inject=$call:error=${fault#*:}:when=$n" \
				"$CAISSON_BUILD/bin/caisson" --root "$STORE" run --rm busybox true >"$BATS_TEST_TMPDIR/out" 2>&1 <"$BATS_FILE_TMPDIR/empty" 3>&- || code=$?
			[ "$code" -eq 0 ] || [ "$code" -eq 125 ] || [ "$code" -eq 1 ] || { echo "$fault $n: $code"; cat "$BATS_TEST_TMPDIR/out"; false; }
			[ "$code" -eq 0 ] || grep -q '^caisson: .' "$BATS_TEST_TMPDIR/out"
		done
	done
	eventually settled
}

@test "a full disk: a clear error, and room makes it work again" {
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=6m tmpfs "$BATS_TEST_TMPDIR/small"
	STORE=$BATS_TEST_TMPDIR/small/store
	caisson import "$BATS_FILE_TMPDIR/busybox.tar" busybox
	dd if=/dev/zero of="$BATS_TEST_TMPDIR/small/fill" bs=64k 2>"$BATS_TEST_TMPDIR/dd" || true
	try run --rm busybox true
	full=$status message=$output
	rm "$BATS_TEST_TMPDIR/small/fill"
	try run --rm busybox echo works
	works=$output
	caisson ps -aq
	left=$(ls -A "$STORE/instances" "$STORE/pending" "$STORE/names" | grep -v "^$STORE\|^$" || true)
	eventually umount "$BATS_TEST_TMPDIR/small"
	[ "$full" -eq 125 ]
	[[ "$message" == "caisson: "*"no space left on device"* ]]
	[ "$works" = works ]
	[ -z "$left" ]
}

@test "an instance that fills its disk keeps its exit code and its neighbours" {
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=8m tmpfs "$BATS_TEST_TMPDIR/small"
	STORE=$BATS_TEST_TMPDIR/small/store
	caisson import "$BATS_FILE_TMPDIR/busybox.tar" busybox
	try run --rm busybox sh -c 'dd if=/dev/zero of=/x bs=64k; echo lots; exit 3'
	code=$status
	caisson ps -aq
	left=$(ls -A "$STORE/instances" | head)
	eventually umount "$BATS_TEST_TMPDIR/small"
	[ "$code" -eq 3 ] || { echo "$code: $output"; false; }
	[ -z "$left" ]
}

@test "a missing monitor, a damaged record" {
	cp "$CAISSON_BUILD/bin/caisson" "$BATS_TEST_TMPDIR/caisson"
	run "$BATS_TEST_TMPDIR/caisson" --root "$STORE" run --rm busybox true <"$BATS_FILE_TMPDIR/empty"
	[ "$status" -eq 125 ] || [ "$status" -eq 0 ] # 0 where one is installed
	sleeper box
	id=$(caisson inspect -f '{{.Id}}' box)
	echo '{"Id":' >"$STORE/instances/$id/instance.json"
	sleeper other
	try ps -a --format '{{.Names}}'
	[[ "$output" == *"the record of instance $id is damaged"* ]]
	[[ "$output" == *other* ]]
	caisson rm -f "$id"
	caisson rm -f other
	eventually nothing_left "$id"
}

# tampered FLAGS CHANGE: an instance, changed by a command that has its directory as $dir, does no harm to any command, and
# rm -f takes all of it.
tampered()
{
	local id dir code command
	id=$(caisson "$@" --name box -v /data busybox sleep 1000 <"$BATS_FILE_TMPDIR/empty")
	dir=$STORE/instances/$id
	echo "$id" >>"$BATS_TEST_TMPDIR/ids"
	eval "$change"
	for command in "ps -a" "inspect box" "logs box" "top box" "exec box true" "start box" \
		"update --memory 20m box" "stop -t 0 box" "kill box" "system df"; do
		code=0
		# shellcheck disable=SC2086 # words
		timeout 60 "$CAISSON_BUILD/bin/caisson" --root "$STORE" $command >"$BATS_TEST_TMPDIR/out" 2>&1 \
			<"$BATS_FILE_TMPDIR/empty" || code=$?
		[ "$code" -lt 124 ] || [ "$code" -eq 125 ] || [ "$code" -eq 137 ] ||
			{ echo "$* $change: $command: $code"; cat "$BATS_TEST_TMPDIR/out"; return 1; }
	done
	timeout 60 "$CAISSON_BUILD/bin/caisson" --root "$STORE" rm -fv box "$id" >"$BATS_TEST_TMPDIR/out" 2>&1 ||
		{ echo "$* $change: rm"; cat "$BATS_TEST_TMPDIR/out"; return 1; }
	[ ! -e "$dir" ]
}

@test "a record in which anything is damaged harms no command, and can be removed" {
	sleeper other
	for edit in '.Config=5' '.HostConfig=[]' '.Name=7' '.Name="/../x"' '.Mounts=[5]' '.Config.Env=[1]' '.Config.Labels={"a":5}' \
		'.Path=5' '.Args=[{}]' '.Id="x"' '.HostConfig.ExtraHosts=["x",5]' '.HostConfig.ExtraHosts=["x"]' \
		'.HostConfig.CapAdd=["FOO"]' '.HostConfig.SecurityOpt=[5]' '.HostConfig.CgroupParent="../../x"' \
		'.HostConfig.NetworkMode="container:"' '.SeccompProfile="[]"' '.Config.StopSignal="FOO"' \
		'.Mounts=[{"Type":"volume","Name":"../../x","Destination":"/y","Anonymous":true}]'; do
		change="jq -c '$edit' \$dir/instance.json >\$dir/new && mv \$dir/new \$dir/instance.json"
		tampered create
	done
	for text in '' '[]' '{}'; do
		change="echo '$text' >\$dir/instance.json"
		tampered run -d
	done
	[ "$(caisson exec other echo here)" = here ]
	caisson rm -f other
	# shellcheck disable=SC2046 # one word per id
	eventually nothing_left $(cat "$BATS_TEST_TMPDIR/ids")
}

@test "state files in which anything is damaged harm no command, and rm -f still ends what runs" {
	sleeper other
	for file in run exit.json last-run config.json ctl container.log; do
		for text in '' '{"Pid":1,"ExitCode":"x","Error":[]}'; do
			change="rm -f \$dir/$file; echo '$text' >\$dir/$file"
			tampered run -d
		done
		[ "$file" = run ] && continue # then nothing says that it runs
		change="rm -f \$dir/$file"
		tampered run -d
	done
	for text in '' '{"pid":1}'; do
		change="echo '$text' >$STORE/run/\$id/state.json"
		tampered run -d
	done
	[ "$(caisson exec other echo here)" = here ]
	caisson rm -f other
	# shellcheck disable=SC2046 # one word per id
	eventually nothing_left $(cat "$BATS_TEST_TMPDIR/ids")
}

@test "a cgroup that cannot be made: 125 and why, nothing left, and the next command works" {
	[ -d /sys/fs/cgroup/pids ] || skip "needs cgroup v1's pids controller"
	id=$(sleeper other)
	# In a mount namespace of its own the hierarchy is read-only.
	run unshare -m --propagation private sh -c "mount --bind /sys/fs/cgroup/pids /sys/fs/cgroup/pids &&
		mount -o remount,bind,ro /sys/fs/cgroup/pids && exec '$CAISSON_BUILD/bin/caisson' --root '$STORE' \
		run --rm --name box --pids-limit 10 busybox true" <"$BATS_FILE_TMPDIR/empty"
	[ "$status" -eq 125 ]
	[[ "$output" == *"cgroup"*[Rr]"ead-only file system"* ]] || { echo "$output"; false; }
	[ "$(caisson run --rm --name box --pids-limit 10 busybox echo works)" = works ]
	[ "$(state_of other)" = running ]
	caisson rm -f other
	eventually nothing_left "$id"
}

@test "a store that is no store is refused" {
	mkdir "$BATS_TEST_TMPDIR/no-store"
	touch "$BATS_TEST_TMPDIR/no-store/file"
	run caisson --root "$BATS_TEST_TMPDIR/no-store" ps
	[ "$status" -ne 0 ]
	[ "$(ls "$BATS_TEST_TMPDIR/no-store")" = file ]
}

@test "two hundred instances at once, then none" {
	local i pids=()
	for ((i = 0; i < 200; i++)); do
		"$CAISSON_BUILD/bin/caisson" --root "$STORE" run -d --name "many$i" busybox sleep 1000 \
			>"$BATS_TEST_TMPDIR/run$i" 2>&1 <"$BATS_FILE_TMPDIR/empty" 3>&- &
		pids+=($!)
	done
	failed=0
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=$((failed + 1))
	done
	[ "$failed" -eq 0 ] || { cat "$BATS_TEST_TMPDIR"/run* | grep caisson: | sort | uniq -c; false; }
	[ "$(caisson ps -q | wc -l)" -eq 200 ]
	# shellcheck disable=SC2046 # one word per instance
	caisson rm -f $(caisson ps -q) >"$BATS_TEST_TMPDIR/rm"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/rm")" -eq 200 ]
	eventually nothing_left
}

@test "the monitors of idle instances hold less than 150 KiB each" {
	for i in 1 2 3 4 5 6 7 8 9 10; do
		sleeper "box$i"
	done
	for i in 1 2 3 4 5 6 7 8 9 10; do
		cat "/proc/$(monitor_of "box$i")/smaps_rollup"
	done >"$BATS_TEST_TMPDIR/held"
	awk '/^Pss:/ { sum += $2; n++ } END { print sum / n " KiB"; exit n != 10 || sum / n >= 150 }' "$BATS_TEST_TMPDIR/held"
}

@test "the same name from many at once: one gets it" {
	local i pids=() won=0
	for ((i = 0; i < 20; i++)); do
		"$CAISSON_BUILD/bin/caisson" --root "$STORE" create --name same busybox true \
			>"$BATS_TEST_TMPDIR/create$i" 2>&1 <"$BATS_FILE_TMPDIR/empty" 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		if wait "$pid"; then
			won=$((won + 1))
		fi
	done
	[ "$won" -eq 1 ]
	[ "$(caisson ps -aq | wc -l)" -eq 1 ]
}
