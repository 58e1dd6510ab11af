#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Debian's containerd (1.6, with its ctr and runc shim) runs its containers on the runtime under test: RUNTIME,
# caisson-oci unless told.

# shellcheck disable=SC2154 # stderr: assigned by run
bats_require_minimum_version 1.5.0
load clients

# The containerd namespace, which is the cgroups' parent too.
NAMESPACE=caisson-clients

setup_file()
{
	command -v containerd containerd-shim-runc-v2 ctr >"$BATS_FILE_TMPDIR/found" || skip "needs containerd"
	clients_start
	cat >"$CLIENTS_DIR/config.toml" <<-EOF
		version = 2
		root = "$CLIENTS_DIR/root"
		state = "/run/containerd"
		disabled_plugins = [ "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
			"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
			"io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
			"io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp" ]
		[grpc]
		address = "/run/containerd/containerd.sock"
	EOF
	inside containerd --config "$CLIENTS_DIR/config.toml" >"$CLIENTS_DIR/containerd.log" 2>&1 <"$CLIENTS_DIR/null" &
	disown
	eventually answers
	make_image "$CLIENTS_DIR/image.tar"
	ctr image import "$CLIENTS_DIR/image.tar"
}

teardown_file()
{
	[ -n "${CLIENTS_DIR:-}" ] || return 0
	clients_stop "$NAMESPACE"
}

# A task of its own for each test: the shim of one that is gone may still delete it by name, and would end its successor.
setup()
{
	main=main$BATS_TEST_NUMBER
}

teardown()
{
	local id
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then
		printf 'output: %s\n' "${output:-}"
		tail -n 5 "$CLIENTS_DIR/containerd.log"
	fi
	for id in $(ctr task ls -q); do
		ctr task delete --force "$id"
	done >"$BATS_TEST_TMPDIR/tasks" 2>&1
	# shellcheck disable=SC2046 # one word per container
	ctr container rm $(ctr container ls -q) >"$BATS_TEST_TMPDIR/containers" 2>&1
	return 0
}

ctr()
{
	inside ctr --namespace "$NAMESPACE" "$@"
}

answers()
{
	ctr version >"$CLIENTS_DIR/version" 2>&1
}

# blob FILE: stores it by its digest, and prints its descriptor without the media type.
blob()
{
	local digest
	digest=$(sha256sum <"$1")
	digest=${digest%% *}
	cp "$1" "$CLIENTS_DIR/layout/blobs/sha256/$digest"
	printf '"digest":"sha256:%s","size":%d' "$digest" "$(stat -c %s "$1")"
}

# make_image TAR: an OCI image layout of the root file system.
make_image()
{
	local type=application/vnd.oci.image layer config manifest diff
	mkdir -p "$CLIENTS_DIR/layout/blobs/sha256"
	layer=$(blob "$CLIENTS_DIR/rootfs.tar")
	diff=$(sha256sum <"$CLIENTS_DIR/rootfs.tar")
	printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"],"WorkingDir":"/"},
		"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$(dpkg --print-architecture)" "${diff%% *}" \
		>"$CLIENTS_DIR/document"
	config=$(blob "$CLIENTS_DIR/document")
	printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json",%s},
		"layers":[{"mediaType":"%s.layer.v1.tar",%s}]}' "$type" "$type" "$config" "$type" "$layer" \
		>"$CLIENTS_DIR/document"
	manifest=$(blob "$CLIENTS_DIR/document")
	printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s.manifest.v1+json",%s,
		"annotations":{"io.containerd.image.name":"example.com/box:1"}}]}' "$type" "$manifest" \
		>"$CLIENTS_DIR/layout/index.json"
	echo '{"imageLayoutVersion":"1.0.0"}' >"$CLIENTS_DIR/layout/oci-layout"
	tar -C "$CLIENTS_DIR/layout" -cf "$1" .
}

# start [OPTIONS...] -- ID COMMAND...: ctr run on the runtime under test.
start()
{
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	ctr run --runc-binary "$RUNTIME" "${options[@]}" example.com/box:1 "$@"
}

# box ID [OPTIONS...]: a task that stays, and leaves with status 7 on SIGTERM.
box()
{
	local id=$1
	shift
	start -d --null-io "$@" -- "$id" \
		sh -c 'trap "exit 7" TERM; trap "echo >>/tmp/hup" HUP; echo >/tmp/ready; while :; do sleep 0.05; done'
	eventually in_box "$id" test -e /tmp/ready
}

# in_box ID COMMAND...: runs it in the task.
in_box()
{
	local id=$1
	shift
	ctr task exec --exec-id "e$RANDOM$RANDOM" "$id" "$@"
}

state()
{
	ctr task ls | awk -v id="$1" '$1 == id { print $3 }'
}

is()
{
	[ "$(state "$1")" = "$2" ]
}

cgroup_value()
{
	cat "/sys/fs/cgroup/$2/$NAMESPACE/$1/$3"
}

@test "run --rm: output, standard error, exit codes, and nothing left" {
	run -0 --separate-stderr start --rm -- one sh -c 'echo out; echo err >&2'
	[ "$output" = out ]
	[ "$stderr" = err ]
	run -3 start --rm -- one sh -c 'exit 3'
	run -0 ctr container ls -q
	[ -z "$output" ]
	run -0 find /sys/fs/cgroup -path "*/$NAMESPACE/one"
	[ -z "$output" ]
}

@test "run: what cannot be executed is an error of the runtime, in its words" {
	run -1 start --rm -- one no-such-program
	[[ "$output" == *"no-such-program"*"executable file not found in \$PATH"* ]]
	run -1 start --rm -- one /data/plain
	[[ "$output" == *"permission denied"* ]]
}

@test "run: standard input reaches the container" {
	# ctr 1.6 never closes it.
	run -0 start --rm -- one sh -c 'read line; echo "got $line"' <<<typed
	[ "$output" = "got typed" ]
}

@test "run --tty: a terminal" {
	run -5 inside_on_terminal ctr --namespace "$NAMESPACE" run --runc-binary "$RUNTIME" --rm --tty example.com/box:1 one \
		sh -c 'tty; test -t 0 && test -t 2 && echo both; exit 5'
	[[ "$output" == */dev/*both* ]]
}

@test "run -d, exec, exec --tty, their exit codes" {
	box $main
	[ "$(state $main)" = RUNNING ]
	run -0 in_box $main echo hello
	[ "$output" = hello ]
	run -9 in_box $main sh -c 'exit 9'
	run -0 ctr task exec --exec-id e1 --cwd /data --user 1000:2000 $main sh -c 'pwd; id -u; id -g'
	[ "$output" = $'/data\n1000\n2000' ]
	run -1 in_box $main no-such-program
	[[ "$output" == *no-such-program* ]]
	run -6 inside_on_terminal ctr --namespace "$NAMESPACE" task exec --exec-id e2 --tty $main sh -c 'tty; exit 6'
	[[ "$output" == */dev/pts/* ]]
}

@test "task pause and resume" {
	box $main
	ctr task pause $main
	[ "$(state $main)" = PAUSED ]
	[ "$(cgroup_value $main freezer freezer.state)" = FROZEN ]
	ctr task resume $main
	[ "$(state $main)" = RUNNING ]
	run -0 in_box $main echo awake
	[ "$output" = awake ]
}

@test "task kill with a signal, delete tells the exit code" {
	box $main
	ctr task kill -s SIGHUP $main
	eventually in_box $main test -e /tmp/hup
	ctr task kill -s SIGTERM $main
	eventually is $main STOPPED
	run -0 ctr task delete $main
	[[ "$output" == *"exit code 7"* ]]
	ctr container rm $main
	run -0 ctr container ls -q
	[ -z "$output" ]
	box $main
	ctr task kill -s KILL $main
	eventually is $main STOPPED
	run -0 ctr task delete $main
	[[ "$output" == *"exit code 137"* ]]
}

@test "task kill --all reaches every process of a container without a pid namespace" {
	box $main --with-ns pid:/proc/1/ns/pid
	in_box $main sh -c 'sleep 1000 >/tmp/out 2>&1 </tmp/ready & echo $! >/tmp/pid'
	run -0 in_box $main cat /tmp/pid
	[ -e "/proc/$CLIENTS_PID/root/proc/$output" ]
	ctr task kill --all -s KILL $main
	eventually is $main STOPPED
	eventually test ! -e "/proc/$CLIENTS_PID/root/proc/$output"
}

@test "task delete --force ends and removes a running task" {
	box $main
	ctr task delete --force $main
	run -0 ctr task ls -q
	[ -z "$output" ]
	run -0 find /sys/fs/cgroup -path "*/$NAMESPACE/$main"
	[ -z "$output" ]
}

@test "a container's task can be started again, in the foreground too" {
	box $main
	ctr task delete --force $main
	ctr task start -d $main
	eventually in_box $main test -e /tmp/ready
	ctr task delete --force $main
	start -d --null-io -- later sh -c 'echo started; exit 4'
	eventually is later STOPPED
	ctr task delete later
	run -4 ctr task start later
	[ "$output" = started ]
}

@test "task metrics and ps" {
	box $main --memory-limit 67108864
	run -0 ctr task metrics $main
	[[ "$output" == *memory.usage_in_bytes* ]]
	[[ "$output" == *pids.current* ]]
	run -0 ctr task ps $main
	((${#lines[@]} >= 2))
	[[ "${lines[1]}" =~ ^[0-9]+ ]]
}

@test "--memory-limit and --cpus in the container's cgroup" {
	box $main --memory-limit 67108864 --cpus 0.5
	[ "$(cgroup_value $main memory memory.limit_in_bytes)" = 67108864 ]
	[ "$(cgroup_value $main cpu cpu.cfs_quota_us)" = 50000 ]
	[ "$(cgroup_value $main cpu cpu.cfs_period_us)" = 100000 ]
	inside cat "/sys/fs/cgroup/memory/$NAMESPACE/$main/cgroup.procs" >"$BATS_TEST_TMPDIR/procs"
	grep -qx "$(ctr task ls | awk -v id="$main" '$1 == id { print $2 }')" "$BATS_TEST_TMPDIR/procs"
}

@test "--mount, --cwd and --env" {
	mkdir "$CLIENTS_DIR/shared"
	echo outside >"$CLIENTS_DIR/shared/note"
	run -0 start --rm --mount "type=bind,src=$CLIENTS_DIR/shared,dst=/mnt,options=rbind:ro" --cwd /data --env COLOUR=blue \
		-- one sh -c 'cat /mnt/note; pwd; echo $COLOUR; touch /mnt/x 2>&1 || true'
	[ "${lines[0]}" = outside ]
	[ "${lines[1]}" = /data ]
	[ "${lines[2]}" = blue ]
	[[ "${lines[3]}" == *"Read-only file system"* ]]
}

@test "--seccomp: containerd's default profile; --cap-add, --cap-drop, --privileged, --allow-new-privs" {
	run -0 start --rm --seccomp -- one sh -c 'grep Seccomp: /proc/self/status; unshare -m true 2>&1 || true'
	[[ "${lines[0]}" == *2 ]]
	[[ "${lines[1]}" == *ermi* ]]
	run -0 start --rm -- one grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status
	[ "$(awk '{ print $2 }' <<<"$output" | paste -sd ' ')" = "00000000a80425fb 1 0" ]
	run -0 start --rm --cap-drop CAP_CHOWN --cap-add CAP_NET_ADMIN --allow-new-privs -- one \
		grep -E 'NoNewPrivs|CapEff' /proc/self/status
	[ "$(awk '{ print $2 }' <<<"$output" | paste -sd ' ')" = "00000000a80435fa 0" ]
	run -0 start --rm --privileged -- one sh -c 'mount -t tmpfs none /data && echo mounted'
	[ "$output" = mounted ]
}

@test "--read-only, --net-host, --uidmap" {
	run -0 start --rm --read-only -- one sh -c 'touch /data/new 2>&1 || true'
	[[ "$output" == *"Read-only file system"* ]]
	run -0 start --rm --net-host -- one readlink /proc/self/ns/net
	[ "$output" = "$(readlink /proc/self/ns/net)" ]
	run -0 start --rm --uidmap 0:100000:5000 --gidmap 0:200000:5000 -- one \
		sh -c 'id -u; awk "{print \$2}" /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /data/file'
	[ "$output" = $'0\n100000\n200000\n0:0' ]
}

@test "many at once, and nothing is left" {
	local i pids=()
	for i in 1 2 3 4 5 6; do
		start --rm -- "many$i" sh -c "echo number $i" >"$BATS_TEST_TMPDIR/out$i" 2>&1 &
		pids+=($!)
	done
	wait "${pids[@]}" # not for all: bats has a child of its own for its time-out
	run -0 cat "$BATS_TEST_TMPDIR"/out{1,2,3,4,5,6}
	[ "$output" = $'number 1\nnumber 2\nnumber 3\nnumber 4\nnumber 5\nnumber 6' ]
	run -0 ctr container ls -q
	[ -z "$output" ]
	run -0 find /sys/fs/cgroup -path "*/$NAMESPACE/many*"
	[ -z "$output" ]
}

@test "containerd restarts, and its tasks live on" {
	box $main
	local pid
	pid=$(inside pidof containerd)
	inside kill -TERM "$pid"
	eventually test ! -e "/proc/$CLIENTS_PID/root/proc/$pid"
	inside containerd --config "$CLIENTS_DIR/config.toml" >>"$CLIENTS_DIR/containerd.log" 2>&1 <"$CLIENTS_DIR/null" &
	disown
	eventually answers
	[ "$(state $main)" = RUNNING ]
	run -0 in_box $main echo alive
	[ "$output" = alive ]
	ctr task kill -s TERM $main
	eventually is $main STOPPED
	run -0 ctr task delete $main
	[[ "$output" == *"exit code 7"* ]]
}
