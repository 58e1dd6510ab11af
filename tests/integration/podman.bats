#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Debian's podman (4.3, with conmon) runs its containers on the runtime under test: RUNTIME, caisson-oci unless told.

# shellcheck disable=SC2154 # stderr: assigned by run
bats_require_minimum_version 1.5.0
load clients

setup_file()
{
	command -v podman conmon >"$BATS_FILE_TMPDIR/found" || skip "needs podman and conmon"
	clients_start
	clients_podman
	podman import "$CLIENTS_DIR/rootfs.tar" box:1
}

teardown_file()
{
	[ -n "${CLIENTS_DIR:-}" ] || return 0
	clients_stop libpod_parent
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || printf 'output: %s\n' "${output:-}"
	# Again where it fails: conmon's own clean-up of an ended container may come between.
	eventually podman pod rm --all --force --time 0
	eventually podman rm --all --force --time 0
}

podman()
{
	inside "$CLIENTS_DIR/podman" "$@"
}

# once ARGUMENTS...: podman run in the foreground, removed afterwards.
once()
{
	podman run --rm --network none "$@"
}

# box NAME [OPTIONS...]: a container that stays, and leaves with status 7 on SIGTERM.
box()
{
	local name=$1
	shift
	podman run -d --network none --name "$name" "$@" box:1 \
		sh -c 'trap "exit 7" TERM; trap "echo hup" HUP; echo ready; while :; do sleep 0.05; done'
	eventually logged "$name" ready
}

logged()
{
	[[ "$(podman logs "$1" 2>&1)" == *"$2"* ]]
}

state()
{
	podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1"
}

# cgroup_value CONTAINER CONTROLLER FILE: what the container's cgroup says on the host.
cgroup_value()
{
	cat "/sys/fs/cgroup/$2$(podman inspect --format '{{.State.CgroupPath}}' "$1")/$3"
}

@test "run: output, standard error and exit codes 0 and 3" {
	run -0 --separate-stderr once box:1 sh -c 'echo out; echo err >&2'
	[ "$output" = out ]
	[ "$stderr" = err ]
	run -3 once box:1 sh -c 'exit 3'
}

@test "run: exit codes 125, 126 and 127" {
	run -125 once --no-such-option box:1 true
	run -126 once box:1 /data/plain
	[[ "$output" == *"ermission denied"* ]]
	run -127 once box:1 no-such-program
	[[ "$output" == *"no-such-program"* ]]
	run -127 once box:1 /no/such/program
	[[ "$output" == *"no such file or directory"* ]]
}

@test "run -i: standard input reaches the container, and its end too" {
	run -0 once -i box:1 sh -c 'cat; echo end' <<<typed
	[ "$output" = $'typed\nend' ]
}

@test "run -t: the container has a terminal, and its exit code is podman's" {
	run -5 inside_on_terminal "$CLIENTS_DIR/podman" run --rm --network none -t box:1 \
		sh -c 'tty; test -t 0 && test -t 1 && test -t 2 && echo all three; exit 5'
	[[ "$output" == */dev/pts/0*"all three"* || "$output" == */dev/console*"all three"* ]]
}

answers()
{
	seen ask
	echo hello
}

@test "run -it: what is typed reaches the container" {
	TYPIST=answers run -0 inside_on_terminal "$CLIENTS_DIR/podman" run --rm --network none -it box:1 \
		sh -c 'stty -echo; echo ask; read answer; echo "got $answer"'
	[[ "$output" == *"got hello"* ]]
}

@test "run -d and logs, both streams" {
	podman run -d --network none --name speaker box:1 sh -c 'echo one; echo two >&2; exit 4'
	run -0 podman wait speaker
	[ "$output" = 4 ]
	run -0 --separate-stderr podman logs speaker
	[ "$output" = one ]
	[ "$stderr" = two ]
	[ "$(state speaker)" = "exited 4" ]
	run -4 podman start --attach speaker
}

@test "exec: output, exit codes, user, directory, environment" {
	box main
	run -0 podman exec main echo hello
	[ "$output" = hello ]
	run -9 podman exec main sh -c 'exit 9'
	run -0 podman exec --user app -w /data -e COLOUR=blue main sh -c 'id; pwd; echo $COLOUR'
	[ "${lines[0]}" = "uid=1000(app) gid=1000(app) groups=2000(extra)" ]
	[ "${lines[1]}" = /data ]
	[ "${lines[2]}" = blue ]
	run -0 podman exec --user 1234:77 main id
	[[ "$output" == "uid=1234 gid=77"* ]]
	run -126 podman exec main /data/plain
	run -127 podman exec main no-such-program
	run -0 podman exec -i main cat <<<"to exec"
	[ "$output" = "to exec" ]
}

@test "exec -it: a terminal of its own" {
	box main
	run -6 inside_on_terminal "$CLIENTS_DIR/podman" exec -it main sh -c 'tty; exit 6'
	[[ "$output" == */dev/pts/* ]]
}

@test "exec -d, and exec's process dies with the container" {
	box main
	podman exec -d main sh -c 'echo here >/tmp/mark; sleep 1000'
	eventually podman exec main test -s /tmp/mark
	run -0 podman top main pid comm
	[ "$(grep -c sleep <<<"$output")" -ge 1 ]
	run -0 podman stop -t 5 main
	[ "${#lines[@]}" -eq 1 ]
}

@test "pause and unpause" {
	box main
	run -0 podman pause main
	[ "$(state main)" = "paused 0" ]
	[ "$(cgroup_value main freezer freezer.state)" = FROZEN ]
	run -255 podman exec main true
	[[ "$output" == *paused* ]] || [[ "$output" == *"improper"* ]]
	run -0 podman unpause main
	[ "$(state main)" = "running 0" ]
	run -0 podman exec main echo awake
	[ "$output" = awake ]
}

@test "stop: SIGTERM and the program's own exit code" {
	box main
	run -0 podman stop -t 10 main
	[ "$(state main)" = "exited 7" ]
	podman start main
	[ "$(state main)" = "running 0" ]
}

@test "stop: SIGKILL after the time-out, and exit code 137" {
	podman run -d --network none --name stubborn box:1 sleep 1000
	run -0 podman stop -t 1 stubborn
	[ "$(state stubborn)" = "exited 137" ]
	run -0 podman wait stubborn
	[ "$output" = 137 ]
}

@test "kill: any signal, and SIGKILL" {
	box main
	podman kill -s HUP main
	eventually logged main hup
	podman kill main
	run -0 podman wait main
	[ "$output" = 137 ]
	run -125 podman kill main
}

@test "stop a paused container by force" {
	box main
	podman pause main
	run -0 podman rm -f -t 1 main
	run -1 podman container exists main
}

@test "ps, top, stats and inspect" {
	box main
	run -0 podman ps --format '{{.Names}} {{.Status}}'
	[[ "$output" == "main Up"* ]]
	run -0 podman top main pid user comm
	[[ "${lines[1]}" == 1*root*sh* ]]
	run -0 podman stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' main
	[[ "$output" =~ ^main\ [12]\ [0-9.]+[kM]B\ / ]]
	run -0 podman inspect --format '{{.OCIRuntime}} {{.State.Pid}}' main
	[ "${output% *}" = "$RUNTIME" ]
	[ "$(inside cat "/proc/${output##* }/comm")" = sh ]
}

@test "--memory, --cpus, --pids-limit and others arrive in the container's cgroup" {
	box main --memory 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 50
	[ "$(cgroup_value main memory memory.limit_in_bytes)" = 67108864 ]
	[ "$(cgroup_value main memory memory.soft_limit_in_bytes)" = 33554432 ]
	[ "$(cgroup_value main cpu cpu.cfs_quota_us)" = 50000 ]
	[ "$(cgroup_value main cpu cpu.shares)" = 512 ]
	[ "$(cgroup_value main cpuset cpuset.cpus)" = 0 ]
	[ "$(cgroup_value main pids pids.max)" = 50 ]
	run -0 podman exec main cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max
	[ "$output" = $'67108864\n50' ]
}

@test "update changes a running container" {
	box main --memory 64m
	run -0 podman update --memory 96m --cpus 0.25 --cpu-shares 256 main
	[ "$(cgroup_value main memory memory.limit_in_bytes)" = 100663296 ]
	[ "$(cgroup_value main cpu cpu.cfs_quota_us)" = 25000 ]
	[ "$(cgroup_value main cpu cpu.shares)" = 256 ]
	run -0 podman exec main echo alive
	[ "$output" = alive ]
}

@test "--memory: what eats more is killed" {
	run -137 once --memory 16m --memory-swap 16m box:1 sh -c 'head -c 64m /dev/zero | tail -c 64m >/tmp/eaten'
	run -0 once --memory 256m --memory-swap 256m box:1 sh -c 'head -c 64m /dev/zero | tail -c 64m | wc -c'
	[ "$output" = 67108864 ]
}

@test "pod: containers share network, ipc and uts, not the file system" {
	podman pod create --name crew --network none --hostname crew-host
	podman run -d --pod crew --name first box:1 sh -c 'echo mine >/tmp/mine; nc -l -p 7000 -e echo hello from first'
	podman run -d --pod crew --name second box:1 sleep 1000
	eventually podman exec first test -s /tmp/mine
	run -0 podman exec second hostname
	[ "$output" = crew-host ]
	run -0 podman exec second sh -c 'for i in $(seq 300); do nc 127.0.0.1 7000 </dev/null 2>/dev/null && break; sleep 0.2; done'
	[ "$output" = "hello from first" ]
	run ! podman exec second test -e /tmp/mine
	run -0 podman pod ps --format '{{.Name}} {{.NumberOfContainers}}'
	[ "$output" = "crew 3" ]
	podman pod stop -t 0 crew
	podman pod start crew
	[ "$(state second)" = "running 0" ]
	podman pod pause crew
	[ "$(state second)" = "paused 0" ]
	podman pod unpause crew
	podman pod rm -f -t 0 crew
}

@test "--pid container:, --ipc container: and --network container: join what is there" {
	box main --ipc shareable
	run -0 podman run --rm --network container:main --pid container:main --ipc container:main box:1 \
		sh -c 'cat /proc/1/comm; for n in net ipc; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] && echo same $n; done'
	[ "$output" = $'sh\nsame net\nsame ipc' ]
}

@test "--init: catatonit is process 1 and reaps" {
	box main --init
	run -0 podman exec main cat /proc/1/comm
	[[ "$output" == catatonit* || "$output" == podman-init* ]]
	run -0 podman stop -t 5 main
	[ "$(state main)" = "exited 7" ]
}

@test "-v: bind mounts, writable and read-only" {
	mkdir "$CLIENTS_DIR/shared"
	echo outside >"$CLIENTS_DIR/shared/note"
	run -0 once -v "$CLIENTS_DIR/shared:/mnt/rw" -v "$CLIENTS_DIR/shared:/mnt/ro:ro" \
		-v "$CLIENTS_DIR/shared/note:/data/file:ro" box:1 \
		sh -c 'cat /mnt/ro/note /data/file; echo inside >/mnt/rw/made; touch /mnt/ro/no 2>&1 || true; touch /data/file 2>&1 || true'
	[ "${lines[0]}" = outside ]
	[ "${lines[1]}" = outside ]
	[ "$(grep -c "Read-only file system" <<<"$output")" -eq 2 ]
	[ "$(cat "$CLIENTS_DIR/shared/made")" = inside ]
	[ ! -e "$CLIENTS_DIR/shared/no" ]
}

@test "named volumes: filled from the image, kept between containers" {
	run -0 once -v store:/data box:1 sh -c 'cat /data/file; echo kept >/data/new'
	[ "$output" = "from the image" ]
	run -0 once --mount type=volume,source=store,target=/elsewhere,ro box:1 sh -c 'cat /elsewhere/new; ! touch /elsewhere/x'
	[ "${lines[0]}" = kept ]
	podman volume rm store
}

@test "tmpfs by --tmpfs and --mount, --shm-size, --mount type=bind" {
	run -0 once --tmpfs /scratch:size=1m,mode=700,noexec --mount type=tmpfs,destination=/data,tmpfs-size=2m --shm-size 3m \
		--mount "type=bind,source=$CLIENTS_DIR,target=/host,readonly" box:1 \
		sh -c 'stat -c %a /scratch; grep -E " (/scratch|/data|/dev/shm|/host) " /proc/mounts; ls /data; ls /host'
	[ "${lines[0]}" = 700 ]
	[[ "$output" == *" /scratch tmpfs rw,"*noexec*size=1024k* ]]
	[[ "$output" == *" /data tmpfs rw,"*size=2048k* ]]
	[[ "$output" == *" /dev/shm tmpfs rw,"*size=3072k* ]]
	[[ "$output" == *rootfs.tar* ]]
}

@test "user namespace: --uidmap and --gidmap" {
	run -0 once --uidmap 0:100000:5000 --gidmap 0:200000:5000 box:1 \
		sh -c 'id -u; awk "{print \$2}" /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /data/file; echo x >/data/written && cat /data/written'
	[ "$output" = $'0\n100000\n200000\n0:0\nx' ]
	box mapped --uidmap 0:100000:5000
	local pid
	pid=$(podman inspect --format '{{.State.Pid}}' mapped)
	[ "$(inside stat -c %u "/proc/$pid")" = 100000 ]
	run -0 podman exec --user app mapped id -u
	[ "$output" = 1000 ]
}

@test "--read-only: the root is read-only, /tmp and /dev/shm are not" {
	run -0 once --read-only box:1 sh -c 'touch /data/new 2>&1 || echo refused; touch /tmp/new /dev/shm/new && echo written'
	[[ "$output" == *"Read-only file system"*refused*written ]]
}

@test "capabilities: podman's default, --cap-drop, --cap-add, --privileged" {
	run -0 once box:1 grep CapEff /proc/self/status
	[ "${lines[0]##*$'\t'}" = 00000000a80425fb ]
	run -0 once --cap-drop all --cap-add net_admin,sys_time box:1 grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status
	[ "$(awk '{print $2}' <<<"$output" | uniq)" = 0000000002001000 ]
	run -0 once --user app box:1 grep CapEff /proc/self/status
	[ "${lines[0]##*$'\t'}" = 0000000000000000 ]
	run -0 once --privileged box:1 sh -c 'grep -c . /proc/self/mountinfo; grep Seccomp: /proc/self/status'
	[[ "${lines[1]}" == *0 ]]
}

@test "seccomp: podman's default profile filters, unconfined does not, a profile of one's own does" {
	run -0 once box:1 sh -c 'grep Seccomp: /proc/self/status; unshare -m true 2>&1 || true; mount -t tmpfs none /tmp 2>&1 || true'
	[[ "${lines[0]}" == *2 ]]
	[ "$(grep -c "ermi" <<<"$output")" -eq 2 ]
	run -0 once --cap-add sys_admin box:1 sh -c 'unshare -m true && echo unshared'
	[ "$output" = unshared ]
	run -0 once --security-opt seccomp=unconfined box:1 grep Seccomp: /proc/self/status
	[[ "$output" == *0 ]]
	cat >"$CLIENTS_DIR/seccomp.json" <<-EOF
		{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [ "SCMP_ARCH_X86_64" ],
		  "syscalls": [ { "names": [ "mkdir", "mkdirat" ], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 } ] }
	EOF
	run -1 once --security-opt "seccomp=$CLIENTS_DIR/seccomp.json" box:1 mkdir /tmp/new
	[[ "$output" == *"No space left"* ]]
}

@test "no-new-privileges, masked paths and --security-opt unmask" {
	run -0 once --security-opt no-new-privileges box:1 sh -c 'grep NoNewPrivs /proc/self/status; wc -c </proc/timer_list; ls /proc/acpi | wc -l'
	[[ "${lines[0]}" == *1 ]]
	[ "${lines[1]}" = 0 ]
	[ "${lines[2]}" = 0 ]
	run -0 once box:1 sh -c 'echo 1 2>&1 >/proc/sys/kernel/panic || true'
	[[ "$output" == *"Read-only file system"* ]]
}

@test "--hostname, --sysctl, --ulimit, --oom-score-adj, --env, --workdir, --user" {
	run -0 once --hostname harbour --sysctl kernel.msgmax=4096 --ulimit nofile=300:400 --ulimit nproc=8192:8192 --oom-score-adj 200 --env A=1 \
		--workdir /data --user app:extra box:1 \
		sh -c 'hostname; cat /proc/sys/kernel/msgmax; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; echo $A; pwd; id -u; id -g'
	[ "$output" = $'harbour\n4096\n300\n400\n200\n1\n/data\n1000\n2000' ]
}

@test "--device: a node that can be used, while others cannot" {
	run -0 once --device /dev/zero:/dev/mine:rw box:1 sh -c 'head -c 3 /dev/mine | wc -c; stat -c %t:%T /dev/mine'
	[ "$output" = $'3\n1:5' ]
	run -0 once --cap-add mknod box:1 sh -c 'mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem 2>&1 || true'
	[[ "$output" == *"Operation not permitted"* ]]
}

@test "create, start, restart, rename, rm" {
	podman create --name later --network none box:1 sh -c 'trap "exit 0" TERM; echo up; while :; do sleep 0.05; done'
	[ "$(state later)" = "created 0" ]
	podman start later
	eventually logged later up
	podman restart -t 5 later
	[ "$(state later)" = "running 0" ]
	run ! podman rm later
	podman rm -f -t 0 later
	run -1 podman container exists later
}

@test "cp into and out of a running container, diff and export" {
	box main
	echo copied >"$CLIENTS_DIR/copy"
	podman cp "$CLIENTS_DIR/copy" main:/tmp/copy
	run -0 podman exec main cat /tmp/copy
	[ "$output" = copied ]
	podman cp main:/data/file "$CLIENTS_DIR/back"
	[ "$(cat "$CLIENTS_DIR/back")" = "from the image" ]
	run -0 podman diff main
	[[ "$output" == *"A /tmp/copy"* ]]
}

@test "health checks run in the container" {
	box main --health-cmd 'test -e /data/file' --health-interval disable
	run -0 podman healthcheck run main
	podman exec main rm /data/file
	run -1 podman healthcheck run main
}

@test "checkpoint without a working CRIU: an error, and the container lives on" {
	if inside criu check >"$BATS_TEST_TMPDIR/criu" 2>&1; then skip "CRIU works here"; fi
	box main
	run ! podman container checkpoint main
	[[ "$output" == *CRIU* || "$output" == *criu* ]]
	run -0 podman exec main echo alive
	[ "$output" = alive ]
}

# nothing_left ID...: of the containers that podman knows, and of these in the cgroups, which are everybody's.
nothing_left()
{
	local id
	[ -z "$(podman ps -a -q)" ] || return
	for id in "$@"; do
		[ -z "$(find /sys/fs/cgroup -path "*/libpod_parent/libpod-$id*" -prune)" ] || return
	done
}

@test "many at once, and nothing is left" {
	local i pids=()
	for i in 1 2 3 4 5 6; do
		# Its name is the first part of its id.
		once box:1 sh -c "hostname >&2; echo number $i" >"$BATS_TEST_TMPDIR/out$i" 2>"$BATS_TEST_TMPDIR/id$i" &
		pids+=($!)
	done
	wait "${pids[@]}" # not for all: bats has a child of its own for its time-out
	run -0 cat "$BATS_TEST_TMPDIR"/out{1,2,3,4,5,6}
	[ "$output" = $'number 1\nnumber 2\nnumber 3\nnumber 4\nnumber 5\nnumber 6' ]
	mapfile -t ids < <(cat "$BATS_TEST_TMPDIR"/id{1,2,3,4,5,6})
	[ "${#ids[@]}" -eq 6 ]
	eventually nothing_left "${ids[@]}"
}
