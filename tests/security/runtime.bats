#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# One test for each class of vulnerability that container runtimes had: the attack is made, and what must not have
# happened is looked for on the host. RUNTIME can be any OCI runtime; the default is ours.
# shellcheck disable=SC2094

bats_require_minimum_version 1.5.0

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	local top
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export BUILD=${BUILD:-$top/build}
	export ATTACK=$BUILD/tests/security/attack
	WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/caisson-security.XXXXXX")
	export WORK
	# A copy, which an attack may ruin.
	cp "${RUNTIME:-$BUILD/bin/caisson-oci}" "$WORK/runtime"
	: >"$WORK/nothing" # standard input: not the host's null device, which a bad runtime would give away
	export RT=$WORK/runtime STATE=$WORK/state
}

teardown_file() {
	[ -n "${WORK:-}" ] || return 0
	local id
	for id in "$STATE"/*; do
		[ -d "$id" ] && "$RT" --root "$STATE" delete --force "${id##*/}" >/dev/null 2>&1 <"$WORK/nothing"
	done
	rm -rf "$WORK"
}

setup() {
	BUNDLE=$(mktemp -d "$WORK/bundle.XXXXXX")
	ID=${BUNDLE##*.}
	mkdir -p "$BUNDLE/rootfs"/{bin,dev,etc,proc,sys,tmp}
	cp /bin/busybox "$BUNDLE/rootfs/bin/busybox"
	cp "$ATTACK" "$BUNDLE/rootfs/bin/attack"
	local applet
	for applet in sh cat ls sleep stat id true readlink grep pwd; do ln -s busybox "$BUNDLE/rootfs/bin/$applet"; done
	echo "root:x:0:0:root:/root:/bin/sh" >"$BUNDLE/rootfs/etc/passwd"
	(cd "$BUNDLE" && "$RT" spec)
	config '.process.terminal=false | .root.readonly=false'
	HOST=$(mktemp -d "$WORK/host.XXXXXX")
}

teardown() {
	[ -z "${ATTACKER:-}" ] || kill "$ATTACKER" 2>/dev/null || true
	"$RT" --root "$STATE" delete --force "$ID" >/dev/null 2>&1 <"$WORK/nothing" || true
}

config() { # JQ-FILTER [ARGS...]
	local filter=$1
	shift
	jq "$@" "$filter" "$BUNDLE/config.json" >"$BUNDLE/new" && mv "$BUNDLE/new" "$BUNDLE/config.json"
}
command_is() { config '.process.args=($words | rtrimstr("\n") | split("\n"))' --arg words "$(printf '%s\n' "$@")"; }
rt() { "$RT" --root "$STATE" "$@" <"$WORK/nothing"; }
runs() { rt run --bundle "$BUNDLE" "$ID"; }
starts() { # detached, with a file for its output
	rt run --detach --bundle "$BUNDLE" "$ID" >"$BUNDLE/out" 2>&1
}
# attacked [RUNTIME...]: the program "attack" in the container is told to end, and has ended: its output is all there.
attacked() {
	local runtime=("${@:-rt}") pid
	pid=$("${runtime[@]}" state "$ID" | jq .pid)
	"${runtime[@]}" kill "$ID" TERM <"$WORK/nothing"
	while [ -e "/proc/$pid/exe" ]; do sleep 0.02; done
}
empty() { [ -z "$(ls -A "$1")" ]; }
fails_cleanly() { # the last run failed, by an error and not by a signal
	[ "$status" -ne 0 ] && [ "$status" -lt 128 ] || [ "$status" -eq 255 ]
}

@test "CVE-2019-5736: a program that is #!/proc/self/exe does not get at the runtime's binary" {
	local before
	before=$(sha256sum <"$RT")
	printf '#!/proc/self/exe --version\n' >"$BUNDLE/rootfs/bin/evil"
	chmod 755 "$BUNDLE/rootfs/bin/evil"
	config '.process.capabilities |= with_entries(.value += ["CAP_SYS_PTRACE","CAP_DAC_OVERRIDE"])'
	command_is /bin/attack overwrite runtime 1000
	starts
	for _ in $(seq 15); do rt exec "$ID" /bin/evil >/dev/null 2>&1 || true; done
	attacked
	[ "$(sha256sum <"$RT")" = "$before" ]
	run ! grep WROTE "$BUNDLE/out"
}

@test "CVE-2019-5736: exec into a container with CAP_SYS_PTRACE does not offer the runtime's binary" {
	local before
	before=$(sha256sum <"$RT")
	config '.process.capabilities |= with_entries(.value += ["CAP_SYS_PTRACE","CAP_DAC_OVERRIDE"])'
	command_is /bin/attack overwrite runtime 1000
	starts
	for _ in $(seq 30); do rt exec "$ID" /bin/true >/dev/null 2>&1 || true; done
	attacked
	[ "$(sha256sum <"$RT")" = "$before" ]
	run ! grep WROTE "$BUNDLE/out"
}

@test "CVE-2016-9962: descriptors of the runtime are not readable from inside during exec" {
	command_is /bin/attack fds 1000
	starts
	for _ in $(seq 40); do rt exec "$ID" /bin/true >/dev/null 2>&1; done
	attacked
	# The process's own standard streams are its business; anything else is ours.
	grep -v -x -e /dev/null -e "$WORK/nothing" "$BUNDLE/out" >"$BUNDLE/leaked" || true
	run cat "$BUNDLE/leaked"
	[ -z "$output" ]
}

@test "CVE-2019-19921: a rootfs whose /proc is a link is refused" {
	rmdir "$BUNDLE/rootfs/proc"
	mkdir "$BUNDLE/rootfs/elsewhere"
	ln -s elsewhere "$BUNDLE/rootfs/proc"
	command_is /bin/true
	run runs
	fails_cleanly
	[[ "$output" == *"must be mounted on ordinary directory"* ]]
}

@test "CVE-2023-27561: a rootfs whose /sys is a link is refused" {
	rmdir "$BUNDLE/rootfs/sys"
	ln -s /tmp "$BUNDLE/rootfs/sys"
	command_is /bin/true
	run runs
	fails_cleanly
}

@test "CVE-2019-16884: a volume cannot be mounted inside /proc" {
	mkdir "$HOST/attr"
	config '.mounts += [{"destination":"/proc/self","type":"bind","source":$host,"options":["bind"]}]' --arg host "$HOST"
	command_is /bin/true
	run runs
	fails_cleanly
	[[ "$output" == *"/proc"* ]]
}

@test "CVE-2023-28642: a link to /proc as a mount's destination is no way into it" {
	ln -s /proc "$BUNDLE/rootfs/door"
	config '.mounts += [{"destination":"/door/sys","type":"bind","source":$host,"options":["bind"]}]' --arg host "$HOST"
	command_is /bin/true
	run runs
	fails_cleanly
}

@test "CVE-2025-52881: a sysctl is written to the kernel, whatever the image has at /proc/sys" {
	mkdir -p "$BUNDLE/rootfs/proc/sys/net/ipv4"
	echo bait >"$BUNDLE/rootfs/proc/sys/net/ipv4/ip_forward"
	config '.linux.sysctl={"net.ipv4.ip_forward":"1"}'
	command_is /bin/cat /proc/sys/net/ipv4/ip_forward
	run runs
	[ "$status" -eq 0 ]
	[ "$output" = 1 ]
	[ "$(cat "$BUNDLE/rootfs/proc/sys/net/ipv4/ip_forward")" = bait ]
}

@test "CVE-2025-31133: a masked path is the null device even where the image's /dev/null is a link" {
	# Without a tmpfs on /dev the image's own is used.
	config 'del(.mounts[] | select(.destination | startswith("/dev")))'
	ln -s /proc/sysrq-trigger "$BUNDLE/rootfs/dev/null"
	command_is /bin/stat -c "%t:%T" /proc/timer_list
	run runs
	# Refusing such an image is as good.
	[ "$status" -ne 0 ] || [ "$output" = "1:3" ]
	[ -L "$BUNDLE/rootfs/dev/null" ]
}

@test "CVE-2025-31133: a masked path is a null device of the container's own, whose mode is not the host's" {
	command_is /bin/stat -c "%t:%T %d" /proc/timer_list
	run -0 runs
	[ "$output" != "1:3 $(stat -c %d /dev/null)" ]
	[[ "$output" == "1:3 "* ]]
}

@test "CVE-2026-41579: a rootfs whose /dev is a link makes no node on the host" {
	config 'del(.mounts[] | select(.destination | startswith("/dev")))'
	rmdir "$BUNDLE/rootfs/dev"
	ln -s "$HOST" "$BUNDLE/rootfs/dev"
	command_is /bin/true
	run runs
	empty "$HOST"
}

@test "CVE-2026-47766: a rootfs whose /dev leads up and out makes no link on the host" {
	config 'del(.mounts[] | select(.destination | startswith("/dev")))'
	rmdir "$BUNDLE/rootfs/dev"
	ln -s "../../../../../../../../..$HOST" "$BUNDLE/rootfs/dev"
	command_is /bin/true
	run runs
	empty "$HOST"
}

@test "CVE-2024-21626: no working directory leads to a directory of the host" {
	local fd
	for fd in $(seq 3 16); do
		config '.process.cwd="/proc/self/fd/'"$fd"'"'
		command_is /bin/sh -c 'cat ../../../../../../../../etc/hostname 2>/dev/null; pwd'
		run runs
		[ "$status" -ne 0 ] || [[ "$output" == /* && ! "$output" == *"$(cat /etc/hostname)"* ]]
	done
}

@test "CVE-2024-21626: exec --cwd does not lead out, either" {
	local fd
	command_is /bin/sleep 100
	starts
	for fd in $(seq 3 16); do
		run rt exec --cwd "/proc/self/fd/$fd" "$ID" /bin/sh -c 'ls ../../../../../../.. ; pwd'
		[ "$status" -ne 0 ] || [[ ! "$output" == *"(unreachable)"* && ! "$output" == *"caisson-security"* ]]
	done
}

@test "CVE-2024-21626: the container starts with descriptors 0, 1, 2 alone" {
	command_is /bin/sh -c 'ls /proc/self/fd | while read -r fd; do [ "$fd" -le 3 ] || echo "$fd"; done'
	exec 7</etc/hostname
	run runs
	exec 7<&-
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "CVE-2021-30465: a mount destination that is swapped for a link makes nothing on the host" {
	mkdir -p "$BUNDLE/rootfs/volume/real" "$HOST/target"
	ln -s "$HOST" "$BUNDLE/rootfs/volume/link"
	echo secret >"$WORK/source"
	"$ATTACK" swap "$BUNDLE/rootfs/volume/real" "$BUNDLE/rootfs/volume/link" 1000 3>&- &
	ATTACKER=$!
	config '.mounts += [{"destination":"/volume/real/a/b","type":"bind","source":$s,"options":["bind"]}]' --arg s "$WORK/source"
	command_is /bin/true
	local i
	for i in $(seq 60); do rt run --bundle "$BUNDLE" "$ID-$i" >/dev/null 2>&1 || true; done
	kill "$ATTACKER"
	wait "$ATTACKER"
	run ls -A "$HOST"
	[ "$output" = target ]
	empty "$HOST/target"
}

@test "CVE-2024-45310: a tmpfs destination that is swapped for a link makes no directory on the host" {
	mkdir -p "$BUNDLE/rootfs/volume/real"
	ln -s "$HOST" "$BUNDLE/rootfs/volume/link"
	"$ATTACK" swap "$BUNDLE/rootfs/volume/real" "$BUNDLE/rootfs/volume/link" 1000 3>&- &
	ATTACKER=$!
	config '.mounts += [{"destination":"/volume/real/new/dir","type":"tmpfs","source":"tmpfs"}]'
	command_is /bin/true
	local i
	for i in $(seq 60); do rt run --bundle "$BUNDLE" "$ID-$i" >/dev/null 2>&1 || true; done
	kill "$ATTACKER"
	wait "$ATTACKER"
	empty "$HOST"
}

@test "CVE-2022-29162: neither the container nor exec has inheritable capabilities by default" {
	command_is /bin/sleep 100
	starts
	run rt exec "$ID" /bin/grep CapInh /proc/1/status /proc/self/status
	[ "$status" -eq 0 ]
	[ "$(grep -c 0000000000000000 <<<"$output")" -eq 2 ]
}

@test "CVE-2022-27650: exec --cap gives no inheritable capability" {
	command_is /bin/sleep 100
	starts
	run rt exec --cap CAP_NET_RAW "$ID" /bin/grep CapInh /proc/self/status
	[ "$status" -eq 0 ]
	[[ "$output" == *0000000000000000 ]]
}

@test "CVE-2026-30892: a malformed user never becomes root" {
	command_is /bin/sleep 100
	starts
	local user
	for user in -1 :1000 4294967295 4294967296 18446744073709551616 0x0 1000x "1000:" ""; do
		run rt exec --user "$user" "$ID" /bin/id -u
		[ "$status" -ne 0 ] || [ "$output" != 0 ] || [ -z "$user" ]
	done
}

@test "malformed users in config.json are refused" {
	local user
	for user in -1 4294967295 4294967296 1.5 '"root"'; do
		config '.process.user={"uid":'"$user"',"gid":0}'
		command_is /bin/id -u
		run runs
		fails_cleanly
	done
}

@test "CVE-2021-43784: lengths that overflow are errors, not crashes" {
	local long
	long=$(head -c 3000000 /dev/zero | tr '\0' a)
	jq --rawfile long <(printf %s "$long") '.annotations={"a":$long} | .process.env += ["LONG=" + $long] | .linux.uidMappings=[]' \
		"$BUNDLE/config.json" >"$BUNDLE/new" && mv "$BUNDLE/new" "$BUNDLE/config.json"
	command_is /bin/true
	run runs
	fails_cleanly
}

@test "CVE-2022-0492: no release_agent is writable inside" {
	command_is /bin/attack release-agent
	run runs
	[ "$status" -eq 0 ]
}

@test "CVE-2023-25809: a runtime without privileges gives no host's cgroup to write to" {
	rm "$BUNDLE/config.json"
	(cd "$BUNDLE" && "$RT" spec --rootless)
	# The hard case: no cgroup namespace, and whoever is root inside owns the host's cgroups.
	config '.process.terminal=false | .linux.namespaces |= map(select(.type != "cgroup"))'
	command_is /bin/sh -c 'for d in /sys/fs/cgroup /sys/fs/cgroup/*; do /bin/busybox mkdir $d/caisson-evil 2>/dev/null && echo made $d; done; echo tried'
	run unshare --user --map-root-user --mount "$RT" --root "$BUNDLE/state" --rootless true run --bundle "$BUNDLE" "$ID" <"$WORK/nothing"
	find /sys/fs/cgroup -maxdepth 2 -name caisson-evil -exec rmdir {} +
	[ "$output" = tried ]
}

@test "CVE-2025-52565: a /dev/console that is a link takes no terminal to the host" {
	# With the image's own /dev, not a fresh one.
	config '.process.terminal=true | .mounts |= map(select(.destination | startswith("/dev") | not))'
	echo untouched >"$HOST/file"
	ln -s "$HOST/file" "$BUNDLE/rootfs/dev/console"
	mkdir "$BUNDLE/rootfs/dev/pts"
	ln -s "$HOST/file" "$BUNDLE/rootfs/dev/pts/0"
	command_is /bin/sh -c 'cat /dev/console </dev/null; echo typed >/dev/console; echo typed >/dev/pts/0'
	SHELL=/bin/sh timeout 60 script -qec "'$RT' --root '$STATE' run --bundle '$BUNDLE' '$ID'" "$HOST/typescript" <"$WORK/nothing" >"$HOST/shown" || true
	[ "$(cat "$HOST/file")" = untouched ]
	run ! grep -q " $HOST/file " /proc/self/mountinfo
	run ! grep -q untouched "$HOST/shown"
}

@test "CVE-2017-5226: nothing can be typed into the caller's terminal" {
	command_is /bin/attack tiocsti
	SHELL=/bin/sh run script -qec "'$RT' --root '$STATE' run --bundle '$BUNDLE' '$ID'" "$HOST/typescript" <"$WORK/nothing"
	[[ "$output" == *refused* ]]
}

@test "the caller's null device keeps its owner when a user's process gets it as a standard stream" {
	mknod -m 666 "$HOST/null" c 1 3
	command_is /bin/sleep 100
	starts
	"$RT" --root "$STATE" exec --user 1000:1000 "$ID" /bin/true <"$HOST/null" >"$HOST/null" 2>"$HOST/null" || true
	config '.process.user={"uid":1000,"gid":1000}'
	command_is /bin/true
	"$RT" --root "$STATE" run --bundle "$BUNDLE" "$ID-2" <"$HOST/null" >"$HOST/null" 2>"$HOST/null" || true
	[ "$(stat -c %u:%g "$HOST/null")" = 0:0 ]
}

@test "a container's session keyring is not that of another one" {
	"$ATTACK" keyring-run "$ATTACK" keyring-find >"$HOST/probe" || skip "this kernel keeps no keys: $(cat "$HOST/probe")"
	command_is /bin/attack keyring-add
	starts
	local i
	for i in $(seq 1200); do grep -q added "$BUNDLE/out" && break; sleep 0.05; done
	grep added "$BUNDLE/out"
	command_is /bin/attack keyring-find
	run rt run --bundle "$BUNDLE" "$ID-2"
	[ "$output" = nothing ]
	run rt exec "$ID" /bin/attack keyring-find
	[ "$output" = FOUND ]
}

@test "exec does not take the caller's session keyring into the container" {
	"$ATTACK" keyring-run "$ATTACK" keyring-find >"$HOST/probe" || skip "this kernel keeps no keys: $(cat "$HOST/probe")"
	command_is /bin/sleep 100
	starts
	run "$ATTACK" keyring-run "$RT" --root "$STATE" exec "$ID" /bin/attack keyring-find <"$WORK/nothing"
	[ "$output" = "added
nothing" ]
}

@test "CVE-2019-16884: nothing but a procfs is mounted in the place of /proc" {
	config '.mounts += [{"destination":"//proc/","type":"bind","source":$host,"options":["bind"]}]' --arg host "$HOST"
	command_is /bin/true
	run runs
	fails_cleanly
	[[ "$output" == *"cannot be mounted because it is not of type proc"* ]]
}

@test "a tmpfs that starts with what the image has does not copy the kernel's files" {
	ln -s /proc "$BUNDLE/rootfs/data"
	config '.mounts += [{"destination":"/data","type":"tmpfs","source":"tmpfs","options":["tmpcopyup","size=64m"]}]'
	command_is /bin/true
	run runs
	fails_cleanly
	[[ "$output" == *"inside /proc"* ]]
}

@test "a volume that an image leads to /dev gets no nodes and loses nothing" {
	echo mine >"$HOST/ptmx"
	ln -s dev "$BUNDLE/rootfs/data"
	config '.mounts += [{"destination":"/data","type":"bind","source":$host,"options":["bind"]}]' --arg host "$HOST"
	command_is /bin/true
	rt run --bundle "$BUNDLE" "$ID"
	[ "$(ls -A "$HOST")" = ptmx ]
	[ "$(cat "$HOST/ptmx")" = mine ]
}

@test "a volume over /dev gets no nodes, however its destination is written" {
	local destination
	echo mine >"$HOST/ptmx"
	config 'del(.mounts[] | select(.destination | startswith("/dev")))'
	for destination in //dev /dev/. /dev/../dev /proc/../dev/; do
		config '.mounts=([.mounts[] | select(.source != $host)] +
			[{"destination":$to,"type":"bind","source":$host,"options":["bind"]}])' --arg host "$HOST" --arg to "$destination"
		command_is /bin/true
		rt run --bundle "$BUNDLE" "$ID"
		[ "$(ls -A "$HOST")" = ptmx ]
	done
}

@test "an image's /etc/passwd that is a FIFO holds nobody" {
	rm "$BUNDLE/rootfs/etc/passwd"
	mkfifo "$BUNDLE/rootfs/etc/passwd"
	command_is /bin/sh -c 'echo "$HOME"'
	run timeout -s KILL 60 "$RT" --root "$STATE" run --bundle "$BUNDLE" "$ID" <"$WORK/nothing"
	[ "$status" -eq 0 ]
	[ "$output" = /root ]
}

# Host ids from 100000 on, as a user namespace's own.
own_users() {
	config '.linux.namespaces += [{"type":"user"}] |
		.linux.uidMappings=[{"containerID":0,"hostID":100000,"size":65536}] | .linux.gidMappings=.linux.uidMappings'
	chmod 711 "$WORK"
	chmod 755 "$BUNDLE"
	chown -R 100000:100000 "$BUNDLE/rootfs"
}

@test "a working directory that the user may not enter is an error, not another directory" {
	own_users
	mkdir -m 700 "$BUNDLE/rootfs/closed"
	config '.process.user={"uid":1000,"gid":1000} | .process.cwd="/closed"'
	command_is /bin/pwd
	run runs
	fails_cleanly
	[[ "$output" == *"chdir to cwd"*"/closed"* ]]
}

@test "CVE-2016-9962: a runtime that joins the user and pid namespaces of another container cannot be looked into" {
	local pid i
	own_users
	config '.process.capabilities |= with_entries(.value += ["CAP_SYS_PTRACE"])'
	command_is /bin/attack overwrite runtime 1000
	starts
	pid=$(rt state "$ID" | jq .pid)
	config '.linux.namespaces |= map(if .type == "pid" or .type == "user" then .path = "/proc/\($pid)/ns/\(.type)" else . end) |
		del(.linux.uidMappings, .linux.gidMappings)' --arg pid "$pid"
	command_is /bin/true
	for i in $(seq 20); do rt run --bundle "$BUNDLE" "$ID-$i"; done
	attacked
	run ! grep reached "$BUNDLE/out"
}

@test "CVE-2016-9962: the exec of a user without privileges cannot be looked into" {
	local user=12345 as
	as=(setpriv --reuid "$user" --regid "$user" --clear-groups "$WORK/runtime" --root "$HOST/state")
	config 'del(.linux.resources, .linux.uidMappings, .linux.gidMappings) | .linux.namespaces += [{"type":"user"}] |
		.linux.uidMappings=[{"containerID":0,"hostID":($u|tonumber),"size":1}] | .linux.gidMappings=.linux.uidMappings |
		.mounts |= map(select(.type != "cgroup" and .type != "mqueue") | .options |= ((. // []) | map(select(startswith("gid=") | not)))) |
		.process.capabilities |= with_entries(.value += ["CAP_SYS_PTRACE"]) | del(.process.rlimits)' --arg u "$user"
	command_is /bin/attack overwrite runtime 1000
	chmod 711 "$WORK"
	chmod 755 "$WORK/runtime" "$BUNDLE"
	chown -R "$user:$user" "$BUNDLE/rootfs" "$HOST"
	"${as[@]}" run --detach --bundle "$BUNDLE" "$ID" >"$BUNDLE/out" 2>&1 <"$WORK/nothing"
	for _ in $(seq 40); do "${as[@]}" exec "$ID" /bin/true <"$WORK/nothing"; done
	attacked "${as[@]}"
	"${as[@]}" delete --force "$ID"
	run ! grep reached "$BUNDLE/out"
}
