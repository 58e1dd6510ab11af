#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A container that tells its service manager that it is ready: sd_notify(3). Both ends speak Perl, which every Debian has.

load helpers
setup_file() { oci_setup_file; }
teardown_file() { oci_teardown_file; }

setup() {
	oci_setup
	export NOTIFY_SOCKET=$BUNDLE/manager
	MANAGER=
	config '.mounts += ["/usr", "/lib", "/lib64" | {destination: ., type: "bind", source: ., options: ["rbind", "ro"]}]'
}

teardown() {
	[ -z "$MANAGER" ] || kill "$MANAGER" || true
	oci_teardown
}

# Writes every message that comes into $BUNDLE/messages, a line each with '|' between its lines.
manager() {
	perl -MSocket -e '$| = 1; socket(S, AF_UNIX, SOCK_DGRAM, 0); bind(S, sockaddr_un($ARGV[0])) or die;
		while (defined recv(S, $m, 4096, 0)) { chomp $m; $m =~ tr/\n/|/; print "$m\n" }' "$NOTIFY_SOCKET" \
		>"$BUNDLE/messages" 2>&1 3>&- &
	MANAGER=$!
	eventually test -S "$NOTIFY_SOCKET"
}

# The container's program: says $1, then runs $2.
tells() {
	local say='socket(S, AF_UNIX, SOCK_DGRAM, 0); $ARGV[0] =~ s/,/\n/g; $to = $ENV{NOTIFY_SOCKET}'
	args perl -MSocket -e "$say"'; send(S, $ARGV[0], 0, sockaddr_un($to)) or die "$to: $!"; exec "sh", "-c", $ARGV[1]' "$1" "$2"
}

messages() { tr '\n' ' ' <"$BUNDLE/messages"; }

# The manager has got a message before it has written it down.
has_heard() { [ "$(messages)" = "$1" ]; }

@test "run --detach returns once the container is ready, and names its process to the manager" {
	manager
	tells 'STATUS=loaded,READY=1' 'sleep 1000'
	oci_start "$ID"
	eventually has_heard "READY=1 MAINPID=$(oci state "$ID" | jq .pid) BARRIER=1 "
}

@test "run --detach returns when the container ends without having been ready" {
	manager
	tells 'STATUS=never ready' true
	oci_start "$ID"
	[ -z "$(messages)" ]
}

@test "create and start: start returns once the container is ready" {
	manager
	tells 'READY=1' 'sleep 1000'
	oci create "$ID" >"$BUNDLE/output" 2>&1
	oci start "$ID"
	eventually has_heard "READY=1 MAINPID=$(oci state "$ID" | jq .pid) BARRIER=1 "
	run -0 oci delete --force "$ID"
	[ ! -e "$STATE/$ID" ]
}

@test "others may look at, and end, a container while start waits for it" {
	manager
	tells 'STATUS=not yet' 'sleep 1000'
	oci create "$ID" >"$BUNDLE/output" 2>&1
	oci start "$ID" 3>&- &
	local start=$!
	eventually is "$ID" running
	run -0 oci exec "$ID" true
	run -0 oci kill "$ID" KILL
	wait "$start"
	[ -z "$(messages)" ]
}

@test "run in the foreground is the service's main process, and says so" {
	manager
	tells 'READY=1' 'exit 7'
	"$RUNTIME" --root "$STATE" run "$ID" <"$WORK/nothing" 3>&- &
	local runner=$! code=0
	wait "$runner" || code=$?
	[ "$code" = 7 ]
	eventually grep -q MAINPID "$BUNDLE/messages"
	[ "$(messages)" = "READY=1 MAINPID=$runner " ]
}

@test "run on a terminal passes on that the container is ready, too" {
	manager
	config '.process.terminal=true'
	tells 'READY=1' 'tty'
	SHELL=/bin/sh run -0 script -qec "\"$RUNTIME\" --root \"$STATE\" run $ID" "$BUNDLE/typescript" <"$WORK/nothing"
	[[ $output == */dev/pts/* ]]
	eventually grep -q MAINPID "$BUNDLE/messages"
}

@test "the container's socket is its own: any user may write to it, nobody may put another there" {
	manager
	config '.process.user = {uid: 1000, gid: 1000}'
	tells 'READY=1' 'ls -A /run/notify; rm -f /run/notify/notify.sock || echo safe'
	run -0 oci run "$ID"
	[[ $output == notify.sock*safe ]]
	eventually grep -q MAINPID "$BUNDLE/messages"
}

@test "without a manager a container has no socket" {
	unset NOTIFY_SOCKET
	args sh -c 'echo "<$NOTIFY_SOCKET>"; [ -e /run/notify/notify.sock ] || echo none'
	run -0 oci run "$ID"
	[ "${lines[*]}" = "<> none" ]
}
