#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# caisson-vmm by itself, with QEMU as the engine: streams, exit status, signals, terminals, and machines that go wrong.
# shellcheck disable=SC2030,SC2031,SC2154,SC2317

load vm

setup_file()
{
	guest_make
}

# A test that fails leaves no machine behind.
teardown()
{
	[ -z "${vmm:-}" ] || gone "$vmm" || kill -KILL "$vmm"
}

# Both streams into files of their own, the exit status into status.
run_machine()
{
	local input=${INPUT:-$GUEST/nothing}
	status=0
	(machine "$1") <"$input" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- 4>&- || status=$?
	echo "status $status"
	head -c 3000 "$BATS_TEST_TMPDIR/out"
	echo "--- standard error:"
	head -c 3000 "$BATS_TEST_TMPDIR/err"
}

# Into the background; its process id into vmm.
start_machine()
{
	(machine "$1") <"$GUEST/nothing" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- 4>&- &
	vmm=$!
}

says()
{
	grep -q "$1" "$BATS_TEST_TMPDIR/out"
}

child_of()
{
	child=
	read -r child _ <"/proc/$1/task/$1/children" || [ -n "$child" ]
}

# Before that its child is one that writes its configuration.
runs_qemu()
{
	child_of "$1" && grep -q qemu-system "/proc/$child/cmdline"
}

@test "a machine of either kind has streams, arguments, a kernel of its own, and an exit status" {
	head -c 300000 /bin/busybox >"$BATS_TEST_TMPDIR/input"
	local kind
	for kind in pv vm; do
		config sh -c 'uname -r; wc -c; echo wrong >&2; exit 7'
		[ "$kind" = pv ] || config sh -c 'uname -r; head -c 5000 | wc -c; echo wrong >&2; exit 7'
		INPUT=$BATS_TEST_TMPDIR/input run_machine "$kind"
		[ "$status" -eq 7 ]
		[ "$(head -1 "$BATS_TEST_TMPDIR/out")" = "$(ls "${LAB_CACHE:-/var/tmp/lab-cache}/kernel/lib/modules")" ]
		[ "$(tail -1 "$BATS_TEST_TMPDIR/out")" -eq "$([ "$kind" = pv ] && echo 300000 || echo 5000)" ]
		[ "$(cat "$BATS_TEST_TMPDIR/err")" = wrong ]
	done
}

@test "a program that is not there, or may not be executed, gives a shell's status and says so" {
	config nothing
	run_machine pv
	[ "$status" -eq 127 ]
	grep -q 'exec: "nothing": executable file not found in $PATH' "$BATS_TEST_TMPDIR/err"
	config /etc/passwd
	run_machine vm
	[ "$status" -eq 126 ]
	grep -q 'exec: "/etc/passwd": permission denied' "$BATS_TEST_TMPDIR/err"
}

@test "much output arrives whole, in both streams, whoever reads slowly" {
	config sh -c 'seq 1 200000; seq 1 30000 >&2'
	local before
	before=$(seq 1 200000 | md5sum)
	(machine pv) <"$GUEST/nothing" 2>"$BATS_TEST_TMPDIR/err" 3>&- 4>&- | { sleep 5; md5sum; } >"$BATS_TEST_TMPDIR/out"
	[ "$(cat "$BATS_TEST_TMPDIR/out")" = "$before" ]
	[ "$(md5sum <"$BATS_TEST_TMPDIR/err")" = "$(seq 1 30000 | md5sum)" ]
}

@test "signals go to the workload, and one that comes before it ends the machine" {
	config sh -c 'trap "echo got it; exit 9" TERM; echo ready; while :; do sleep 0.1; done'
	start_machine pv
	eventually says ready
	child_of "$vmm"
	kill -TERM "$vmm"
	status=0
	wait "$vmm" || status=$?
	[ "$status" -eq 9 ]
	says "got it"
	eventually gone "$child"

	start_machine pv
	eventually runs_qemu "$vmm"
	kill -TERM "$vmm"
	status=0
	wait "$vmm" || status=$?
	[ "$status" -eq 143 ]
	eventually gone "$child"
}

@test "killed with -9, the monitor takes QEMU with it" {
	config sh -c 'echo ready; sleep 1000'
	start_machine pv
	eventually says ready
	child_of "$vmm"
	grep -q qemu-system "/proc/$child/cmdline"
	kill -KILL "$vmm"
	status=0
	wait "$vmm" || status=$?
	[ "$status" -eq 137 ]
	eventually gone "$child"
}

@test "a guest that never answers is given up, and its kernel's last words are shown" {
	local seconds
	config true
	# Ten are enough for the kernel to get that far, unless the machine is busy with something else.
	for seconds in 10 100; do
		EXTRA='{boot_seconds: '$seconds', command_line: "rdinit=/nothing panic=0"}' run_machine pv
		! grep -q "Kernel panic" "$BATS_TEST_TMPDIR/console" || break
	done
	[ "$status" -eq 125 ]
	grep -q "the virtual machine's guest has not answered within $seconds seconds; the last that its kernel said:" \
		"$BATS_TEST_TMPDIR/err"
	grep -q "Kernel panic - not syncing" "$BATS_TEST_TMPDIR/err"
	grep -q "Kernel panic - not syncing" "$BATS_TEST_TMPDIR/console"
}

@test "a guest that answers and then never starts its process is given up, too" {
	JQ='.hooks = {startContainer: [{path: "/bin/sleep", args: ["sleep", "1000"]}]}' config true
	EXTRA='{boot_seconds: 15}' run_machine pv
	[ "$status" -eq 125 ]
	grep -q "the virtual machine's guest has not answered within 15 seconds" "$BATS_TEST_TMPDIR/err"
}

@test "a kernel that panics before the workload, or under it, ends the machine with words" {
	config true
	EXTRA='{command_line: "rdinit=/nothing"}' run_machine vm
	[ "$status" -eq 125 ]
	grep -q "the virtual machine was reset before its process ran" "$BATS_TEST_TMPDIR/err"
	grep -q "Kernel panic - not syncing" "$BATS_TEST_TMPDIR/err"

	config sh -c 'for i in $(seq 1 10); do echo t >/proc/sysrq-trigger; done; echo c >/proc/sysrq-trigger; sleep 1000'
	EXTRA='{command_line: "loglevel=8"}' run_machine pv
	[ "$status" -eq 125 ]
	grep -q "the virtual machine was reset while its process ran" "$BATS_TEST_TMPDIR/err"
	grep -q "Kernel panic - not syncing: sysrq triggered crash" "$BATS_TEST_TMPDIR/err"
	# However much was said.
	[ "$(stat -c %s "$BATS_TEST_TMPDIR/console")" -gt 10000 ]
	[ "$(stat -c %s "$BATS_TEST_TMPDIR/console")" -lt 1100000 ]
}

@test "directories are shared: written where that is allowed, and nowhere else" {
	mkdir "$BATS_TEST_TMPDIR/one" "$BATS_TEST_TMPDIR/two"
	echo "of the host" >"$BATS_TEST_TMPDIR/one/file"
	JQ='.mounts += [{destination: "/one", type: "bind", source: "/one", options: ["rbind"]},
		{destination: "/two", type: "bind", source: "/two", options: ["rbind", "ro"]}]' \
		config sh -c 'cat /one/file; echo "of the guest" >/one/made; echo no >/two/made; exit 3'
	EXTRA='{shares: [{fd: 26, tag: "a", mount: 3, read_only: false}, {fd: 27, tag: "b", mount: 4, read_only: true}]}' \
		run_machine pv 26<"$BATS_TEST_TMPDIR/one" 27<"$BATS_TEST_TMPDIR/two"
	[ "$status" -eq 3 ]
	[ "$(head -1 "$BATS_TEST_TMPDIR/out")" = "of the host" ]
	[ "$(cat "$BATS_TEST_TMPDIR/one/made")" = "of the guest" ]
	grep -q "Read-only file system" "$BATS_TEST_TMPDIR/err"
	[ ! -e "$BATS_TEST_TMPDIR/two/made" ]

}

@test "a terminal is the guest's, with its size, and is given back as it was" {
	JQ='.process.terminal = true' config sh -c 'tty; sleep 1; stty size; read line; echo "<$line>"; exit 4'
	# script(1) starts $SHELL, which may not hand exported functions on.
	{
		declare -f machine
		cat <<-'SESSION'
			stty rows 31 cols 97
			before=$(stty -g)
			(machine pv)
			echo "status $?"
			[ "$(stty -g)" = "$before" ] && echo "as it was"
		SESSION
	} >"$BATS_TEST_TMPDIR/session"
	{ eventually says "31 97" && printf 'typed\r'; sleep 1; } |
		script -qefc "bash $BATS_TEST_TMPDIR/session" "$BATS_TEST_TMPDIR/typescript" >"$BATS_TEST_TMPDIR/out" 3>&- 4>&-
	cat "$BATS_TEST_TMPDIR/out"
	says "^/dev/pts/0\|^/dev/console"
	says "31 97"
	says "<typed>"
	says "status 4"
	says "as it was"
}

@test "what is no machine is refused by name" {
	config true
	EXTRA='{machine: "isapc"}' run_machine pv
	[ "$status" -eq 125 ]
	grep -q 'machine "isapc": this paradigm has microvm, q35, pc' "$BATS_TEST_TMPDIR/err"
	EXTRA='{memroy: 1}' run_machine pv
	[ "$status" -eq 125 ]
	grep -q '"memroy" is not known' "$BATS_TEST_TMPDIR/err"
	EXTRA='{qemu: "/nothing/qemu"}' run_machine pv
	[ "$status" -eq 125 ]
	grep -q 'cannot execute QEMU' "$BATS_TEST_TMPDIR/err"
}
