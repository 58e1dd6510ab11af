#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154
#
# kill -9 at every step: of the command, of the process that runs the instance and becomes its monitor, of process 1 on
# its way to the program, and of the monitor on its way out.  A step is a system call that makes, changes or removes
# something; strace(1) kills at each of them in turn.  Afterwards the next command works under the same name, another
# instance has not noticed, and nothing is left.

bats_require_minimum_version 1.5.0
load caisson

# What makes, changes or removes something, and what waits for somebody else.
STEPS=openat,mkdirat,mkdir,rmdir,symlinkat,linkat,renameat,unlinkat,ftruncate,flock,fcntl,fsopen,fsconfig,fsmount
STEPS+=,open_tree,move_mount,mount_setattr,mount,umount2,pivot_root,mknodat,chdir,write,pipe2,socketpair,bind,listen
STEPS+=,connect,sendto,sendmsg,recvmsg,recvfrom,poll,clone,clone3,waitid,wait4,pidfd_open,pidfd_send_signal,execveat
STEPS+=,execve,close_range,unshare,setsid,sethostname,capset,seccomp,setresuid,prctl

setup_file()
{
	command -v strace >"$BATS_FILE_TMPDIR/strace" || skip "needs strace"
	store_make
}
teardown_file() { store_remove; }

setup()
{
	caisson run -d --name other busybox sleep 1000 <"$BATS_FILE_TMPDIR/empty" >"$BATS_TEST_TMPDIR/id"
	OTHER=$(process_of other)
}

teardown()
{
	# shellcheck disable=SC2046 # one word per instance
	caisson rm -fv $(caisson ps -aq) >"$BATS_TEST_TMPDIR/rm.log" 2>&1 || true
}

# steps_of [-f] ARGUMENTS...: what to kill at, as "CALL N" lines.  With -f a call of which the command itself makes three
# is one of its children's from the fourth on: the first process that gets so far is killed.
steps_of()
{
	local follow=
	[ "$1" != -f ] || { follow=-ff; shift; }
	rm -f "$BATS_TEST_TMPDIR"/steps*
	# shellcheck disable=SC2086 # nothing, or one word
	traced $follow -o "$BATS_TEST_TMPDIR/steps" -e "trace=$STEPS" -- "$@" || return
	awk -F'(' '/^[a-z_0-9]+\(/ && ++count[FILENAME, $1] > seen[$1] { seen[$1]++; print $1, seen[$1] }' \
		"$BATS_TEST_TMPDIR"/steps* >"$BATS_TEST_TMPDIR/list"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/list")" -gt 10 ]
	thin_out
}

# traced STRACE'S... -- ARGUMENTS...
traced()
{
	local strace=()
	while [ "$1" != -- ]; do strace+=("$1") && shift; done
	shift
	strace "${strace[@]}" "$CAISSON_BUILD/bin/caisson" --root "$STORE" "$@" \
		>"$BATS_TEST_TMPDIR/out" 2>&1 <"$BATS_FILE_TMPDIR/empty" 3>&-
}

# A call that is made often is killed at a few times: all of them take minutes (CAISSON_EVERY_STEP=1).
thin_out()
{
	[ -z "${CAISSON_EVERY_STEP:-}" ] || return 0
	awk '$2 <= 2 || $2 % 8 == 0' "$BATS_TEST_TMPDIR/list" >"$BATS_TEST_TMPDIR/thin"
	mv "$BATS_TEST_TMPDIR/thin" "$BATS_TEST_TMPDIR/list"
}

# In a process of its own, whose shell's word about who was killed goes nowhere.
killed_at() # FOLLOW CALL N ARGUMENTS...
{
	local follow=$1 call=$2 n=$3
	shift 3
	# shellcheck disable=SC2086 # words
	(traced $follow -o "$BATS_TEST_TMPDIR/trace" -e "trace=$call" -e "inject=$call:signal=SIGKILL:when=$n" -- "$@" || :) \
		2>"$BATS_TEST_TMPDIR/jobs"
}

# Keeps the ids of what there is, for a look at the cgroups in the end.
ids_now()
{
	ls "$STORE/instances" "$STORE/pending" >>"$BATS_TEST_TMPDIR/ids"
}

# The next command works: whatever has become of it, it can be removed and its name is free again.
removed() # NAME
{
	ids_now
	timeout 60 "$CAISSON_BUILD/bin/caisson" --root "$STORE" rm -fv "$1" >"$BATS_TEST_TMPDIR/rm" 2>&1 ||
		{ echo "rm -f $1:"; cat "$BATS_TEST_TMPDIR/rm"; caisson ps -a; return 1; }
}

unharmed()
{
	[ "$(process_of other)" = "$OTHER" ]
	[ "$(caisson exec other echo here)" = here ]
	caisson rm -f other >"$BATS_TEST_TMPDIR/rm"
	eventually settled
	[ -z "$(caisson volume ls -q)" ]
	[ "$(caisson run --rm --name step busybox echo fine)" = fine ]
}

settled()
{
	caisson ps -aq >"$BATS_TEST_TMPDIR/ps" || return 1
	nothing_left && no_cgroup_left
}

no_cgroup_left()
{
	local left
	left=$(find /sys/fs/cgroup -maxdepth 3 -type d -name 'caisson-*' -printf '%f\n' 2>"$BATS_TEST_TMPDIR/find" |
		sed -n 's/^caisson-//p' | grep -Fx -f "$BATS_TEST_TMPDIR/ids") || return 0
	echo "cgroups: $left"
	return 1
}

fresh_instance() # FLAGS...
{
	caisson run -d --name step -v /data "$@" busybox sleep 1000 <"$BATS_FILE_TMPDIR/empty" >"$BATS_TEST_TMPDIR/id"
}

# each_step PREPARE [-f] ARGUMENTS...: PREPARE makes what the command is about.
each_step()
{
	local prepare=$1 follow=
	shift
	$prepare
	steps_of "$@"
	removed step
	# With its filter the tracer sleeps through all other calls: on a busy machine that is most of the time.
	[ "$1" != -f ] || { follow="-f --seccomp-bpf"; shift; }
	while read -r call n; do
		$prepare
		killed_at "$follow" "$call" "$n" "$@"
		removed step || { echo "after a kill at $call $n of: $*"; return 1; }
	done <"$BATS_TEST_TMPDIR/list"
}

@test "kill -9 of create at every step" {
	each_step true create --name step -v /data busybox true
	unharmed
}

@test "kill -9 of run -d at every step, of whoever gets there first" {
	each_step true -f run -d --name step -v /data busybox true
	unharmed
}

@test "kill -9 of run --rm at every step, and nobody says rm" {
	steps_of run --rm --name step -v /data busybox true
	while read -r call n; do
		killed_at "" "$call" "$n" run --rm --name "step-$call-$n" -v /data busybox true
		ids_now
	done <"$BATS_TEST_TMPDIR/list"
	unharmed
}

created()
{
	caisson create --name step -v /data busybox true >"$BATS_TEST_TMPDIR/id"
}

@test "kill -9 of start at every step" {
	each_step created start step
	unharmed
}

@test "kill -9 of stop at every step" {
	each_step fresh_instance stop -t 0 step
	unharmed
}

@test "kill -9 of rm -f at every step" {
	each_step fresh_instance rm -fv step
	unharmed
}

@test "kill -9 of pause and unpause at every step: it can be paused, unpaused and used again" {
	fresh_instance
	for command in pause unpause; do
		steps_of "$command" step
		cp "$BATS_TEST_TMPDIR/list" "$BATS_TEST_TMPDIR/$command"
	done
	for command in pause unpause; do
		while read -r call n; do
			[ "$command" = pause ] || caisson pause step >"$BATS_TEST_TMPDIR/out"
			killed_at "" "$call" "$n" "$command" step
			[ "$(state_of step)" != paused ] || caisson unpause step >"$BATS_TEST_TMPDIR/out"
			timeout 60 "$CAISSON_BUILD/bin/caisson" --root "$STORE" exec step true <"$BATS_FILE_TMPDIR/empty" ||
				{ echo "after a kill at $call $n of $command"; false; }
		done <"$BATS_TEST_TMPDIR/$command"
	done
	removed step
	unharmed
}

@test "kill -9 of rename at every step: it has one of the names, and the other one is free" {
	created
	steps_of rename step stepped
	removed stepped
	while read -r call n; do
		created
		killed_at "" "$call" "$n" rename step stepped
		name=$(caisson ps -a --format '{{.Names}}' -f name=step)
		[ "$name" = step ] || [ "$name" = stepped ]
		free=$([ "$name" = step ] && echo stepped || echo step)
		run caisson inspect "$free"
		[ "$status" -ne 0 ]
		caisson create --name "$free" busybox true >"$BATS_TEST_TMPDIR/id" || { echo "after a kill at $call $n"; false; }
		removed "$free"
		caisson rename "$name" third
		removed third
	done <"$BATS_TEST_TMPDIR/list"
	unharmed
}

attached_to() # PID
{
	! grep -q '^TracerPid:.0$' "/proc/$1/status"
}

# The monitor of "step" under strace, until it has ended; the instance is ended by a signal to process 1.
ended_under() # STRACE'S...
{
	local monitor
	monitor=$(monitor_of step)
	strace "$@" -p "$monitor" >"$BATS_TEST_TMPDIR/strace.out" 2>&1 <"$BATS_FILE_TMPDIR/empty" 3>&- &
	local tracer=$!
	eventually attached_to "$monitor"
	kill -9 "$(process_of step)"
	wait "$tracer" || true
}

@test "kill -9 of the monitor at every step of an instance's end" {
	fresh_instance --rm
	ended_under -o "$BATS_TEST_TMPDIR/steps" -e "trace=$STEPS"
	awk -F'(' '/^[a-z_0-9]+\(/ { print $1, ++count[$1] }' "$BATS_TEST_TMPDIR/steps" >"$BATS_TEST_TMPDIR/list"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/list")" -gt 10 ]
	thin_out
	while read -r call n; do
		fresh_instance --rm
		ended_under -o "$BATS_TEST_TMPDIR/trace" -e "trace=$call" -e "inject=$call:signal=SIGKILL:when=$n" \
			2>"$BATS_TEST_TMPDIR/jobs"
		removed step || { echo "after a kill at $call $n"; false; }
	done <"$BATS_TEST_TMPDIR/list"
	unharmed
}
