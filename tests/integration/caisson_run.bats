#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2010,SC2154,SC2178,SC2128
#
# caisson run, as its users know it from docker: what the command sees, what it may do, and how it ends.

bats_require_minimum_version 1.5.0
load caisson

setup_file() { store_make; }
teardown_file() { store_remove; }

in_box() # [FLAGS...] -- COMMAND...
{
	local flags=()
	while [ "$1" != -- ]; do
		flags+=("$1")
		shift
	done
	shift
	try run --rm "${flags[@]}" busybox "$@"
}

@test "run prints what the command prints and leaves nothing" {
	in_box -- echo "hello from inside"
	[ "$status" -eq 0 ]
	[ "$output" = "hello from inside" ]
	eventually nothing_left
}

@test "stdout and stderr stay apart" {
	run --separate-stderr caisson run --rm busybox sh -c 'echo out; echo err >&2' <"$BATS_FILE_TMPDIR/empty"
	[ "$output" = out ]
	[ "$stderr" = err ]
}

@test "the exit code is the command's" {
	in_box -- sh -c 'exit 42'
	[ "$status" -eq 42 ]
}

@test "a command that is killed by a signal ends with 128 + N" {
	in_box --init -- sh -c 'kill -TERM $$'
	[ "$status" -eq 143 ]
}

@test "a command that is not there: 127, one that cannot be executed: 126, an engine error: 125" {
	try_127 run --rm busybox no-such-command
	[[ "$output" == *"executable file not found"* ]]
	try_127 run --rm busybox /no/such/command
	in_box -- /etc/passwd
	[ "$status" -eq 126 ]
	[[ "$output" == *"permission denied"* ]]
	try run --rm no-such-image true
	[ "$status" -eq 125 ]
	[[ "$output" == *"Unable to find image 'no-such-image' locally"* ]]
	eventually nothing_left
}

@test "a wrong flag is explained: 125" {
	try run --nmae x busybox true
	[ "$status" -eq 125 ]
	[[ "$output" == *"unknown flag: --nmae; did you mean --name?"* ]]
	[[ "$output" == *"See 'caisson run --help'."* ]]
	try run
	[ "$status" -eq 125 ]
	[[ "$output" == *'requires at least 1 argument'* ]]
}

@test "without a command the image's is run" {
	run caisson run -i --rm busybox < <(echo 'echo from the shell')
	[ "$output" = "from the shell" ]
}

@test "-i passes standard input on, and its end" {
	run caisson run -i --rm busybox sh -c 'cat; echo end' < <(printf 'a\nb\n')
	[ "$output" = $'a\nb\nend' ]
}

@test "without -i standard input is at its end, and is not the host's /dev/null" {
	before=$(stat -c '%a %u' /dev/null)
	in_box -u 1000 -- sh -c 'cat; readlink /proc/self/fd/0 | cut -c1-4'
	[ "$output" = pipe ]
	[ "$(stat -c '%a %u' /dev/null)" = "$before" ]
}

@test "ten megabytes through a pipe come out whole" {
	head -c 10000000 /dev/urandom >"$BATS_TEST_TMPDIR/data"
	caisson run -i --rm --log-driver none busybox cat <"$BATS_TEST_TMPDIR/data" >"$BATS_TEST_TMPDIR/copy"
	cmp "$BATS_TEST_TMPDIR/data" "$BATS_TEST_TMPDIR/copy"
}

@test "a reader that goes away ends the pipe, not the machine" {
	run bash -c "'$CAISSON_BUILD/bin/caisson' --root '$STORE' run --rm --log-driver none busybox yes <'$BATS_FILE_TMPDIR/empty' | head -n 3"
	[ "$output" = $'y\ny\ny' ]
	# The instance runs on without a reader, as under docker, until somebody ends it.
	id=$(caisson ps -q --no-trunc)
	[ -z "$id" ] || caisson rm -f "$id"
	eventually nothing_left
}

@test "environment: -e, -e NAME, --env-file, and the image's PATH" {
	cat >"$BATS_TEST_TMPDIR/env" <<-EOF
		# a comment
		FROM_FILE=file
		WINS=file
	EOF
	export CALLER=caller
	in_box -e A=1 -e CALLER -e WINS=flag --env-file "$BATS_TEST_TMPDIR/env" -- \
		sh -c 'echo "$A $CALLER $FROM_FILE $WINS $HOME $PATH"'
	[ "$output" = "1 caller file flag /root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" ]
}

@test "-w, -u, --hostname, --entrypoint, --group-add" {
	in_box -w /tmp/deep/er -- pwd
	[ "$output" = /tmp/deep/er ]
	in_box -u 1000:2000 --group-add 3000 -- id
	[[ "$output" == "uid=1000 gid=2000 groups="*3000* ]]
	in_box -u nobody -- id -un
	[ "$output" = nobody ]
	in_box --hostname box -- sh -c 'hostname; cat /etc/hostname'
	[ "$output" = $'box\nbox' ]
	in_box --entrypoint echo -- a b
	[ "$output" = "a b" ]
	in_box --entrypoint '["echo", "x"]' -- y
	[ "$output" = "x y" ]
}

@test "an instance finds its own host name, and its group among its groups" {
	in_box --hostname box.test --name its-name -- grep box.test /etc/hosts
	[ "$output" = $'127.0.0.1\tbox.test its-name' ]
	in_box -u 1000:2000 -- grep Groups: /proc/self/status
	[[ "$output" =~ ^Groups:.*2000 ]]
}

@test "paths of /proc are masked, and unmasked when asked" {
	in_box -- sh -c 'mount | grep -c " on /proc/"'
	[ "$output" -gt 4 ]
	in_box --security-opt systempaths=unconfined -- sh -c 'mount | grep " on /proc/"'
	[ "$output" = "" ]
	in_box --security-opt unmask=/proc/sys:/proc/acpi --security-opt mask=/proc/version -- \
		sh -c 'cat /proc/version; mount'
	[[ "$output" != *"on /proc/sys type"* ]]
	[[ "$output" == *"on /proc/version type"* ]]
	[[ "$output" == *"on /proc/irq type"* ]]
	[[ "$output" != *"Linux version"* ]]
}

@test "lists of CPUs that are none are refused" {
	for cpus in a 0- 1-0 0,,1 '0,' -1; do
		in_box --cpuset-cpus "$cpus" -- true
		[ "$status" -eq 125 ]
		[[ "$output" == *"Invalid value $cpus for cpuset-cpus"* ]]
	done
}

@test "users that are none never become root" {
	for user in -1 :1000 4294967296 4294967295 "" nosuchuser; do
		in_box -u "$user" -- id
		[ "$status" -eq 125 ]
		[[ "$output" != *uid=0* ]]
	done
}

@test "-v binds a directory, and :ro keeps it" {
	mkdir "$BATS_TEST_TMPDIR/data"
	in_box -v "$BATS_TEST_TMPDIR/data:/data" -- sh -c 'echo inside >/data/file'
	[ "$status" -eq 0 ]
	[ "$(cat "$BATS_TEST_TMPDIR/data/file")" = inside ]
	in_box -v "$BATS_TEST_TMPDIR/data:/data:ro" -- sh -c 'cat /data/file; echo no >/data/file'
	[ "$status" -ne 0 ]
	[[ "$output" == inside*"Read-only file system"* ]]
}

@test "-v makes a missing source, --mount refuses it" {
	in_box -v "$BATS_TEST_TMPDIR/new/dir:/data" -- touch /data/x
	[ -e "$BATS_TEST_TMPDIR/new/dir/x" ]
	in_box --mount "type=bind,source=$BATS_TEST_TMPDIR/none,target=/data" -- true
	[ "$status" -eq 125 ]
	[[ "$output" == *"bind source path does not exist: $BATS_TEST_TMPDIR/none"* ]]
}

@test "named volumes keep what is written, and start with what the image has there" {
	in_box -v keep:/etc -- sh -c 'head -c 4 /etc/passwd; echo more >/etc/extra'
	[ "$output" = root ]
	in_box --mount type=volume,source=keep,target=/kept,readonly -- sh -c 'cat /kept/extra; head -c 4 /kept/passwd'
	[ "$output" = $'more\nroot' ]
	caisson volume ls -q | grep -x keep
	caisson volume rm keep
	run ! caisson volume inspect keep
}

@test "anonymous volumes go with --rm" {
	in_box -v /data -- touch /data/x
	[ "$status" -eq 0 ]
	[ -z "$(caisson volume ls -q)" ]
}

@test "--tmpfs, --read-only, --shm-size" {
	in_box --tmpfs /scratch:size=1m,mode=700 --read-only -- \
		sh -c 'touch /scratch/x && stat -c %a /scratch; touch /x 2>&1; df -k /scratch | tail -1'
	[[ "$output" == 700*"Read-only file system"*1024* ]]
	in_box --shm-size 3m -- sh -c 'df -k /dev/shm | tail -1'
	[[ "$output" == *3072* ]]
}

@test "capabilities are docker's fourteen; --cap-drop and --cap-add change them" {
	in_box -- grep CapEff /proc/self/status
	[[ "$output" == *00000000a80425fb ]]
	in_box --cap-drop ALL -- grep CapEff /proc/self/status
	[[ "$output" == *0000000000000000 ]]
	in_box --cap-drop ALL --cap-add net_admin,CAP_CHOWN -- grep CapEff /proc/self/status
	[[ "$output" == *0000000000001001 ]]
	in_box -u 1000 -- grep -E 'Cap(Prm|Eff|Inh|Amb)' /proc/self/status
	[ "$(grep -c 0000000000000000 <<<"$output")" -eq 4 ]
	in_box --cap-add NO_SUCH -- true
	[ "$status" -eq 125 ]
}

@test "--privileged has all capabilities, the host's devices, and no filter" {
	# Any that others do not get.
	device=$(find /dev -maxdepth 1 \( -type b -o -type c \) ! -name null ! -name zero ! -name full ! -name '*random' \
		! -name 'tty*' ! -name console ! -name ptmx -print -quit)
	in_box -- test ! -e "$device"
	[ "$status" -eq 0 ]
	in_box --privileged -- sh -c 'grep -E "CapEff|Seccomp:" /proc/self/status; test -e "$1" && echo devices' sh "$device"
	[[ "$output" == *"Seccomp:	0"* ]]
	[[ "$output" == *devices* ]]
	[[ "$output" != *00000000a80425fb* ]]
}

@test "no_new_privileges and seccomp, by file or not at all" {
	in_box --security-opt no-new-privileges -- grep NoNewPrivs /proc/self/status
	[[ "$output" == *1 ]]
	in_box -- grep Seccomp: /proc/self/status
	[[ "$output" == *2 ]]
	in_box --security-opt seccomp=unconfined -- grep Seccomp: /proc/self/status
	[[ "$output" == *0 ]]
	echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' \
		>"$BATS_TEST_TMPDIR/profile.json"
	in_box --security-opt "seccomp=$BATS_TEST_TMPDIR/profile.json" -- mkdir /x
	[ "$status" -ne 0 ]
	[[ "$output" == *"Operation not permitted"* ]]
	in_box --security-opt seccomp=/no/such/file -- true
	[ "$status" -eq 125 ]
}

@test "the default filter refuses new namespaces and mounts" {
	in_box -- unshare -U true
	[ "$status" -ne 0 ]
	[[ "$output" == *"Operation not permitted"* ]]
	in_box --cap-add SYS_ADMIN -- unshare -m true
	[ "$status" -eq 0 ]
}

@test "limits reach the cgroup" {
	local memory=/sys/fs/cgroup/memory/memory.limit_in_bytes
	[ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ] || skip "needs cgroup v1's memory controller"
	in_box --memory 64m --pids-limit 33 --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 -- \
		sh -c "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.shares cpuset/cpuset.cpus"
	[ "$output" = $'67108864\n134217728\n33\n50000\n512\n0' ] || { echo "$output ($memory)"; false; }
}

@test "a limit of processes holds" {
	in_box --pids-limit 5 -- sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'
	[[ "$output" == *"fork"* ]]
}

@test "out of memory: 137, and inspect says why" {
	try run --name oom --memory 8m --memory-swap 8m busybox sh -c 'x=a; while :; do x=$x$x; done'
	[ "$status" -eq 137 ]
	[ "$(caisson inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom)" = "true 137" ]
	caisson rm oom
}

@test "--ulimit, --sysctl, --oom-score-adj" {
	in_box --ulimit nofile=128:256 --ulimit core=-1 -- sh -c 'ulimit -n; ulimit -Hn; ulimit -c'
	[ "$output" = $'128\n256\nunlimited' ]
	in_box --sysctl net.ipv4.ip_forward=1 -- cat /proc/sys/net/ipv4/ip_forward
	[ "$output" = 1 ]
	in_box --oom-score-adj 500 -- cat /proc/self/oom_score_adj
	[ "$output" = 500 ]
}

@test "--device adds a device and nothing else" {
	[ -e /dev/fuse ] || skip "needs /dev/fuse"
	in_box --device /dev/fuse:/dev/mine:r -- sh -c 'test -c /dev/mine && test ! -e /dev/fuse && echo yes'
	[ "$output" = yes ]
	in_box --device /dev/no-such -- true
	[ "$status" -eq 125 ]
}

@test "devices that were not given cannot be opened, even by mknod" {
	in_box -- sh -c 'mknod /tmp/mem c 1 1 && cat /tmp/mem'
	[ "$status" -ne 0 ]
	[[ "$output" == *"Operation not permitted"* ]]
}

@test "networks: none has a loopback, host has the host's, container: shares" {
	in_box -- sh -c 'ip -o link | wc -l; ip -o addr show lo | grep -o 127.0.0.1'
	# As many as a fresh one has: where tunnels are loaded, each has some.
	[ "$output" = "$(unshare --net busybox ip -o link | wc -l)"$'\n127.0.0.1' ]
	in_box --network host -- readlink /proc/self/ns/net
	[ "$output" = "$(readlink /proc/self/ns/net)" ]
	caisson run -d --name net busybox sleep 100
	in_box --network container:net -- readlink /proc/self/ns/net
	[ "$output" = "$(readlink "/proc/$(process_of net)/ns/net")" ]
	caisson rm -f net
	in_box --network container:net -- true
	[ "$status" -eq 125 ]
	in_box --network bridge -- true
	[ "$status" -eq 125 ]
	[[ "$output" == *"come later"* ]]
}

@test "namespaces: --pid, --ipc, --uts, --cgroupns host" {
	for pair in "--pid pid" "--ipc ipc" "--uts uts" "--cgroupns cgroup"; do
		# shellcheck disable=SC2086 # two words
		set -- $pair
		in_box "$1" host -- readlink "/proc/self/ns/$2"
		[ "$output" = "$(readlink "/proc/self/ns/$2")" ]
		in_box -- readlink "/proc/self/ns/$2"
		[ "$output" != "$(readlink "/proc/self/ns/$2")" ]
	done
}

@test "--add-host and --dns reach the files" {
	in_box --add-host db:192.0.2.7 --dns 192.0.2.53 --dns-search example.org -- cat /etc/hosts /etc/resolv.conf
	[[ "$output" == *$'192.0.2.7\tdb'* ]]
	[[ "$output" == *"nameserver 192.0.2.53"* ]]
	[[ "$output" == *"search example.org"* ]]
}

@test "--init reaps orphans and passes signals on" {
	in_box --init -- sh -c 'cat /proc/1/comm'
	[ "$output" = init ]
	caisson run -d --name reaper --init busybox sh -c '(sh -c "echo \$\$" &); exec sleep 1000'
	said() { orphan=$(caisson logs reaper) && [ -n "$orphan" ]; }
	eventually said
	eventually caisson exec reaper test ! -e "/proc/$orphan"
	caisson stop reaper
	[ "$(caisson inspect -f '{{.State.ExitCode}}' reaper)" = 143 ]
	caisson rm reaper
}

@test "--cidfile, --label, --annotation" {
	try run --name labelled --cidfile "$BATS_TEST_TMPDIR/id" --label a=b --annotation x=y busybox true
	[ "$status" -eq 0 ]
	[ "$(caisson inspect -f '{{.Id}} {{.Config.Labels.a}} {{.HostConfig.Annotations.x}}' labelled)" = "$(cat "$BATS_TEST_TMPDIR/id") b y" ]
	try run --cidfile "$BATS_TEST_TMPDIR/id" busybox true
	[ "$status" -eq 125 ]
	caisson rm labelled
}

@test "--isolation container and auto work, the others say that they come later" {
	in_box --isolation auto -- echo yes
	[ "$output" = yes ]
	for paradigm in sandbox wasm; do
		in_box --isolation "$paradigm" -- true
		[ "$status" -eq 125 ]
		[[ "$output" == *"comes in a later release"* ]]
	done
}

@test "--platform of another machine and --pull always are refused" {
	in_box --platform linux/s390x -- true
	[ "$status" -eq 125 ]
	[[ "$output" == *"not for linux/s390x"* ]]
	in_box --pull always -- true
	[ "$status" -eq 125 ]
	in_box --pull never -- true
	[ "$status" -eq 0 ]
}

@test "flags that contradict each other are refused" {
	in_box --restart always -- true
	[ "$status" -eq 125 ]
	in_box --memory 1m --memory-reservation 2m -- true
	[ "$status" -eq 125 ]
	in_box --memory 100k -- true
	[ "$status" -eq 125 ]
	in_box --cpus 1 --cpu-quota 1000 -- true
	[ "$status" -eq 125 ]
	eventually nothing_left
}

@test "names are unique and checked" {
	caisson run -d --name taken busybox sleep 100
	try run --name taken busybox true
	[ "$status" -eq 125 ]
	[[ "$output" == *'Conflict. The container name "/taken" is already in use'* ]]
	try run --name ../x busybox true
	[ "$status" -eq 125 ]
	caisson rm -f taken
	try run --rm --name taken busybox true
	[ "$status" -eq 0 ]
}

@test "no mount of an instance is ever seen on the host" {
	caisson run -d --name hidden busybox sleep 100
	run ! grep -F "$STORE" /proc/self/mountinfo
	caisson rm -f hidden
}

@test "no descriptor of the engine's gets inside" {
	exec 7</etc/passwd
	in_box -- sh -c 'ls /proc/self/fd | tr "\n" " "'
	[ "$output" = "0 1 2 3 " ]
	exec 7<&-
}

@test "help says what the flags are, for people and for programs" {
	try run --help
	[ "$status" -eq 0 ]
	[[ "$output" == *"Usage:  caisson run [OPTIONS] IMAGE [COMMAND] [ARG...]"* ]]
	[[ "$output" == *"-m, --memory bytes"* ]]
	try help --machine
	[[ "$output" == *$'option\tcaisson run\t--memory\t-m\tbytes\t-\tMemory limit'* ]]
	try frobnicate
	[ "$status" -eq 125 ]
	[[ "$output" == *"is not a caisson command"* ]]
}
