# SPDX-License-Identifier: Apache-2.0
# config-linux.md: "Control groups": path, ownership, allowed devices, memory, CPU, block IO, huge pages, network, PIDs,
# RDMA; "Unified".  The tests read the files of the layout that is in use, v1 or v2.

load lib/helpers

# ---- Cgroups path ----

@test "config-linux.md cgroupsPath: MUST be relative to the cgroups mount point when it is absolute" {
	needs_paths
	created ".linux.cgroupsPath = \"$CF_CGROUP/$ID.abs/deep\""
	in_cgroup "$CF_CGROUP/$ID.abs/deep"
}

@test "config-linux.md cgroupsPath: MUST be created if it does not exist" {
	needs_paths
	[ ! -e "$(cgroup_dir pids $$ || cgroup_dir '' $$)$CF_CGROUP/$ID.new" ]
	created ".linux.cgroupsPath = \"$CF_CGROUP/$ID.new\""
	in_cgroup "$CF_CGROUP/$ID.new"
}

@test "config-linux.md cgroupsPath: MUST lead to the same place for the same absolute value" {
	needs_paths
	created ".linux.cgroupsPath = \"$CF_CGROUP/$ID.same\""
	runtime delete --force "$ID" 2>"$T/err"
	created ".linux.cgroupsPath = \"$CF_CGROUP/$ID.same\""
	in_cgroup "$CF_CGROUP/$ID.same"
}

@test "config-linux.md cgroupsPath: MUST lead to the same place for the same relative value" {
	needs_paths
	created ".linux.cgroupsPath = \"$ID.rel\""
	cut -d: -f2- "/proc/$PID/cgroup" | sort >"$T/first"
	runtime delete --force "$ID" 2>"$T/err"
	created ".linux.cgroupsPath = \"$ID.rel\""
	cut -d: -f2- "/proc/$PID/cgroup" | sort >"$T/second"
	cmp "$T/first" "$T/second"
	grep -q "$ID.rel" "$T/first"
}

@test "config-linux.md cgroupsPath: MAY be absent, the runtime defines the default" {
	created 'del(.linux.cgroupsPath)'
	started
}

@test "config-linux.md cgroupsPath: MUST be usable when it exists and is empty" {
	local dir
	needs_paths
	dir=$(cgroup_dir pids $$ || cgroup_dir '' $$)
	mkdir -p "${dir%/}$CF_CGROUP/$ID.there"
	created ".linux.cgroupsPath = \"$CF_CGROUP/$ID.there\""
	in_cgroup "$CF_CGROUP/$ID.there"
}

# "Runtimes MAY consider certain cgroupsPath values to be invalid, and MUST generate an error if this is the case."
@test "config-linux.md cgroupsPath: MUST be an error, or stay in the hierarchy, when it leads out of it" {
	configure ".linux.cgroupsPath = \"/x/../../../../../../..$CF_CGROUP/$ID.out\""
	create
	[ "$STATUS" -eq 0 ] || [ -n "$(said)" ] || fail "create failed without a word"
	[ ! -e "$CF_CGROUP" ] || fail "$CF_CGROUP was made, out of any cgroup mount"
}

# ---- Cgroup ownership ----

# own_cgroup OPTIONS: a container of host user 200000 with a cgroup mount of these options.
own_cgroup() {
	created "user_ns(200000; 65536) | ns(\"cgroup\")
		| mount(\"/sys/fs/cgroup\"; \"cgroup\"; \"cgroup\"; [\"nosuid\", \"noexec\", \"nodev\", \"$1\"])"
}

# owned FILE UID
owned() {
	[ "$(stat -c %u "$1")" = "$2" ] || fail "the owner of $1 is $(stat -c %u "$1"), should be $2"
}

@test "config-linux.md cgroup ownership: SHOULD NOT be changed with cgroup v1" {
	local controller
	[ "$CF_LAYOUT" != v2 ] || skip "this is cgroup v2"
	own_cgroup rw
	for controller in memory pids cpu; do
		owned "$(cgroup_dir $controller "$PID")" 0
	done
}

@test "config-linux.md cgroup ownership: SHOULD be changed with cgroup v2 mounted read/write and a cgroup namespace" {
	local dir
	[ "$CF_LAYOUT" = v2 ] || lab "cgroup v2 is needed"
	own_cgroup rw
	dir=$(cgroup_dir '' "$PID")
	owned "$dir" 200000
	owned "$dir/cgroup.procs" 200000
	owned "$dir/cgroup.subtree_control" 200000
	owned "$dir/cgroup.threads" 200000
}

@test "config-linux.md cgroup ownership: SHOULD NOT be changed of files that are not listed as delegatable" {
	local dir file
	[ "$CF_LAYOUT" = v2 ] || lab "cgroup v2 is needed"
	own_cgroup rw
	dir=$(cgroup_dir '' "$PID")
	for file in "$dir"/*; do
		grep -qx "${file##*/}" /sys/kernel/cgroup/delegate && continue
		owned "$file" 0
	done
}

@test "config-linux.md cgroup ownership: SHOULD NOT be changed when the cgroup mount is read-only" {
	[ "$CF_LAYOUT" = v2 ] || lab "cgroup v2 is needed"
	own_cgroup ro
	owned "$(cgroup_dir '' "$PID")" 0
}

@test "config-linux.md cgroup ownership: SHOULD NOT be changed without a new cgroup namespace" {
	[ "$CF_LAYOUT" = v2 ] || lab "cgroup v2 is needed"
	created 'user_ns(200000; 65536) | mount("/sys/fs/cgroup"; "cgroup"; "cgroup"; ["rw"])'
	owned "$(cgroup_dir '' "$PID")" 0
}

@test "config-linux.md cgroup ownership: SHOULD NOT be changed when no cgroup is mounted" {
	[ "$CF_LAYOUT" = v2 ] || lab "cgroup v2 is needed"
	created 'user_ns(200000; 65536) | ns("cgroup")'
	owned "$(cgroup_dir '' "$PID")" 0
}

# ---- Allowed device list.  Character device 240:77 has no driver: ENXIO says that the open was allowed. ----

# opens RULES MODE ERRNO
opens() {
	configure ".linux.devices = [{path: \"/dev/cf\", type: \"c\", major: 240, minor: 77}]
		| .linux.resources.devices = $1 | probe(\"open /dev/cf $2\")"
	contain
	prints_like " $3\$"
}

DENY='{allow: false, access: "rwm"}'

@test "config-linux.md devices list: MUST deny what is denied" { opens "[$DENY]" r EPERM; }

@test "config-linux.md devices list: MUST deny device nodes to be made" {
	configure ".linux.resources.devices = [$DENY, {allow: true, type: \"c\", major: 240, minor: 77, access: \"rw\"}]
		| probe(\"mknod /tmp/node c 240 77\")"
	contain
	prints_like ' EPERM$'
}

@test "config-linux.md devices list: MUST allow device nodes to be made with m" {
	runs ".linux.resources.devices = [$DENY, {allow: true, type: \"c\", major: 240, minor: 77, access: \"m\"}]
		| probe(\"mknod /tmp/node c 240 77\")"
	prints "ret 0"
}

@test "config-linux.md devices list: MUST allow reading with r" {
	opens "[$DENY, {allow: true, type: \"c\", major: 240, minor: 77, access: \"r\"}]" r ENXIO
}

@test "config-linux.md devices list: MUST NOT allow writing with r" {
	opens "[$DENY, {allow: true, type: \"c\", major: 240, minor: 77, access: \"r\"}]" w EPERM
}

@test "config-linux.md devices list: MUST allow writing with w" {
	opens "[$DENY, {allow: true, type: \"c\", major: 240, minor: 77, access: \"w\"}]" w ENXIO
}

@test "config-linux.md devices list: MUST be applied in the listed order: denied last" {
	opens "[{allow: true, type: \"c\", major: 240, minor: 77, access: \"rwm\"}, $DENY]" r EPERM
}

@test "config-linux.md devices list: MUST be applied in the listed order: one of many taken back" {
	opens "[$DENY, {allow: true, type: \"c\", access: \"rwm\"}, {allow: false, type: \"c\", major: 240, access: \"rwm\"},
		{allow: true, type: \"c\", major: 240, minor: 77, access: \"r\"}]" r ENXIO
}

@test "config-linux.md devices list: MUST take an unset minor for all" {
	opens "[$DENY, {allow: true, type: \"c\", major: 240, access: \"r\"}]" r ENXIO
}

@test "config-linux.md devices list: MUST take an unset major and minor for all" {
	opens "[$DENY, {allow: true, type: \"c\", access: \"r\"}]" r ENXIO
}

@test "config-linux.md devices list: MUST take an unset type for all" {
	opens "[$DENY, {allow: true, access: \"rwm\"}]" r ENXIO
}

@test "config-linux.md devices list: MUST take the type a for all" {
	opens "[$DENY, {allow: true, type: \"a\", access: \"rwm\"}]" r ENXIO
}

@test "config-linux.md devices list: MUST tell block from character devices" {
	opens "[$DENY, {allow: true, type: \"b\", major: 240, minor: 77, access: \"rwm\"}]" r EPERM
}

@test "config-linux.md devices list: MUST NOT allow devices that are neither listed nor default ones" {
	mknod -m 666 "$B/rootfs/data/node" c 240 77
	configure 'probe("open /data/node r")'
	contain
	prints_like ' EPERM$'
}

@test "config-linux.md devices list: MUST generate an error for an unknown type" {
	refuses '.linux.resources.devices += [{allow: true, type: "x", access: "r"}]'
}

@test "config-linux.md devices list: MUST generate an error for an unknown access" {
	refuses '.linux.resources.devices += [{allow: true, type: "c", major: 240, minor: 77, access: "q"}]'
}

# ---- Memory ----

@test "config-linux.md memory.limit: MUST be the limit of memory usage" {
	needs_file memory memory.limit_in_bytes memory.max
	created '.linux.resources.memory.limit = 67108864'
	limited memory memory.limit_in_bytes 67108864 memory.max 67108864
}

@test "config-linux.md memory.limit: MUST be enforced: a process above it is killed" {
	needs_file memory memory.limit_in_bytes memory.max
	configure '.linux.resources.memory = {limit: 16777216} | probe("memory 256")'
	if [ -n "$(sed 1d /proc/swaps)" ]; then
		needs_file memory memory.memsw.limit_in_bytes memory.swap.max
		configure '.linux.resources.memory = {limit: 16777216, swap: 16777216} | probe("memory 256")'
	fi
	contain
	[ "$STATUS" -eq 137 ] || fail "it ended with $STATUS" "$(<"$T/out")"
}

@test "config-linux.md memory.limit: MUST be unlimited for -1" {
	needs_file memory memory.limit_in_bytes memory.max
	created '.linux.resources.memory.limit = -1'
	limited memory memory.limit_in_bytes 9223372036854771712 memory.max max
}

@test "config-linux.md memory.reservation: MUST be the soft limit of memory usage" {
	needs_file memory memory.soft_limit_in_bytes memory.low
	created '.linux.resources.memory.reservation = 33554432'
	limited memory memory.soft_limit_in_bytes 33554432 memory.low 33554432
}

@test "config-linux.md memory.swap: MUST be the limit of memory and swap usage together" {
	needs_file memory memory.memsw.limit_in_bytes memory.swap.max
	created '.linux.resources.memory = {limit: 67108864, swap: 134217728}'
	limited memory memory.memsw.limit_in_bytes 134217728 memory.swap.max 67108864
}

@test "config-linux.md memory.swap: MUST be unlimited for -1" {
	needs_file memory memory.memsw.limit_in_bytes memory.swap.max
	created '.linux.resources.memory = {limit: 67108864, swap: -1}'
	limited memory memory.memsw.limit_in_bytes 9223372036854771712 memory.swap.max max
}

@test "config-linux.md memory.kernelTCP: MUST be the hard limit for kernel TCP buffer memory" {
	needs_file memory memory.kmem.tcp.limit_in_bytes -
	created '.linux.resources.memory.kernelTCP = 33554432'
	limited memory memory.kmem.tcp.limit_in_bytes 33554432 - -
}

@test "config-linux.md memory.swappiness: MUST be the swappiness" {
	needs_file memory memory.swappiness -
	created '.linux.resources.memory.swappiness = 33'
	limited memory memory.swappiness 33 - -
}

@test "config-linux.md memory.swappiness: MUST be 0 when it says 0" {
	needs_file memory memory.swappiness -
	created '.linux.resources.memory.swappiness = 0'
	limited memory memory.swappiness 0 - -
}

@test "config-linux.md memory.swappiness: MUST generate an error above 100" {
	needs_file memory memory.swappiness -
	refuses '.linux.resources.memory.swappiness = 777'
}

@test "config-linux.md memory.disableOOMKiller: MUST disable the OOM killer when true" {
	needs_file memory memory.oom_control -
	created '.linux.resources.memory = {limit: 67108864, disableOOMKiller: true}'
	[[ $(limit memory memory.oom_control -) == *"oom_kill_disable 1"* ]] || fail "$(limit memory memory.oom_control -)"
}

@test "config-linux.md memory.disableOOMKiller: MUST leave the OOM killer enabled when false" {
	needs_file memory memory.oom_control -
	created '.linux.resources.memory = {limit: 67108864, disableOOMKiller: false}'
	[[ $(limit memory memory.oom_control -) == *"oom_kill_disable 0"* ]]
}

@test "config-linux.md memory.useHierarchy: MUST enable hierarchical accounting when true" {
	needs_file memory memory.use_hierarchy -
	created '.linux.resources.memory.useHierarchy = true'
	limited memory memory.use_hierarchy 1 - -
}

# update is no operation of the specification; runtimes that have it take resources with `update --resources FILE`.
@test "config-linux.md memory.checkBeforeUpdate: MUST reject a new limit that is lower than the current usage" {
	needs_file memory memory.limit_in_bytes memory.max
	created '.linux.resources.memory.limit = 134217728 | probe("memory 64 hold")'
	started
	soon grep -q ok "$T/out" || fail "it holds no memory" "$(said)"
	echo '{"memory": {"limit": 8388608, "checkBeforeUpdate": true}}' >"$T/resources.json"
	errs update --resources "$T/resources.json" "$ID"
	limited memory memory.limit_in_bytes 134217728 memory.max 134217728
	[ "$(state .status)" = running ]
}

# ---- CPU ----

@test "config-linux.md cpu.shares: MUST be the relative share of CPU time" {
	local few
	needs_file cpu cpu.shares cpu.weight
	created '.linux.resources.cpu.shares = 512'
	if [ "$CF_LAYOUT" != v2 ]; then
		limited cpu cpu.shares 512 - -
		return
	fi
	few=$(limit cpu cpu.shares cpu.weight)
	runtime delete --force "$ID" 2>"$T/err"
	created '.linux.resources.cpu.shares = 4096'
	[ "$(limit cpu cpu.shares cpu.weight)" -gt "$few" ]
}

@test "config-linux.md cpu.quota: MUST be the CPU time in one period" {
	needs_file cpu cpu.cfs_quota_us cpu.max
	created '.linux.resources.cpu = {quota: 40000, period: 80000}'
	limited cpu cpu.cfs_quota_us 40000 cpu.max "40000 80000"
}

@test "config-linux.md cpu.quota: MUST be unlimited for -1" {
	needs_file cpu cpu.cfs_quota_us cpu.max
	created '.linux.resources.cpu = {quota: -1}'
	limited cpu cpu.cfs_quota_us -1 cpu.max "max 100000"
}

@test "config-linux.md cpu.period: MUST be the length of the period" {
	needs_file cpu cpu.cfs_period_us cpu.max
	created '.linux.resources.cpu = {period: 50000}'
	limited cpu cpu.cfs_period_us 50000 cpu.max "max 50000"
}

@test "config-linux.md cpu.burst: MUST be the accumulated time for bursts" {
	needs_file cpu cpu.cfs_burst_us cpu.max.burst
	created '.linux.resources.cpu = {quota: 50000, period: 100000, burst: 20000}'
	limited cpu cpu.cfs_burst_us 20000 cpu.max.burst 20000
}

@test "config-linux.md cpu.realtimeRuntime: MUST be the longest continuous period of real-time tasks" {
	needs_file cpu cpu.rt_runtime_us -
	created "$(realtime)"
	limited cpu cpu.rt_runtime_us 5000 - -
}

@test "config-linux.md cpu.realtimePeriod: MUST be the period of the real-time scheduler" {
	needs_file cpu cpu.rt_period_us -
	created "$(realtime) | .linux.resources.cpu.realtimePeriod = 500000"
	limited cpu cpu.rt_period_us 500000 - -
}

@test "config-linux.md cpu.cpus: MUST be the CPUs that the container will run on" {
	needs_file cpuset cpuset.cpus cpuset.cpus
	created '.linux.resources.cpu.cpus = "0"'
	limited cpuset cpuset.cpus 0 cpuset.cpus 0
	started
	becomes stopped
	read_report "$T/out"
	is affinity 0
}

@test "config-linux.md cpu.cpus: MUST generate an error for CPUs that do not exist" {
	needs_file cpuset cpuset.cpus cpuset.cpus
	refuses '.linux.resources.cpu.cpus = "7000"'
}

@test "config-linux.md cpu.mems: MUST be the memory nodes that the container will run on" {
	needs_file cpuset cpuset.mems cpuset.mems
	created '.linux.resources.cpu.mems = "0"'
	limited cpuset cpuset.mems 0 cpuset.mems 0
}

@test "config-linux.md cpu.idle: MUST be SCHED_IDLE for 1" {
	needs_file cpu cpu.idle cpu.idle
	created '.linux.resources.cpu.idle = 1'
	limited cpu cpu.idle 1 cpu.idle 1
}

# ---- Block IO ----

# A real disk, "major:minor": throttling asks for one.
disk() {
	local dir
	for dir in /sys/block/*; do
		case ${dir##*/} in
		loop* | ram* | zram* | sr* | fd* | nbd*) ;;
		*) cat "$dir/dev" && return ;;
		esac
	done
	return 1
}

# throttle PROPERTY V1-FILE V2-KEY
throttle() {
	local device
	device=$(disk) || lab "no disk"
	needs_file blkio "$2" io.max io
	created ".linux.resources.blockIO.$1 = [{major: ${device%:*}, minor: ${device#*:}, rate: 1048576}]"
	if [ "$CF_LAYOUT" = v2 ]; then
		[[ $(limit io - io.max) == *"$device "*"$3=1048576"* ]] || fail "io.max is: $(limit io - io.max)"
	else
		limited blkio "$2" "$device 1048576" - -
	fi
}

@test "config-linux.md blockIO.throttleReadBpsDevice: MUST be the limit in bytes per second" {
	throttle throttleReadBpsDevice blkio.throttle.read_bps_device rbps
}

@test "config-linux.md blockIO.throttleWriteBpsDevice: MUST be the limit in bytes per second" {
	throttle throttleWriteBpsDevice blkio.throttle.write_bps_device wbps
}

@test "config-linux.md blockIO.throttleReadIOPSDevice: MUST be the limit in operations per second" {
	throttle throttleReadIOPSDevice blkio.throttle.read_iops_device riops
}

@test "config-linux.md blockIO.throttleWriteIOPSDevice: MUST be the limit in operations per second" {
	throttle throttleWriteIOPSDevice blkio.throttle.write_iops_device wiops
}

@test "config-linux.md blockIO.throttleReadBpsDevice: MUST generate an error for a device that does not exist" {
	needs_file blkio blkio.throttle.read_bps_device io.max io
	refuses '.linux.resources.blockIO.throttleReadBpsDevice = [{major: 250, minor: 250, rate: 1048576}]'
}

# The weight's file has the name of the scheduler that does the work.
weight_file() {
	local dir
	WEIGHT=''
	if [ "$CF_LAYOUT" = v2 ]; then
		needs_controller blkio io
		dir=$(cgroup_mount)
	else
		needs_controller blkio
		dir=$(cgroup_dir blkio $$)
	fi
	mkdir "$dir/$ID.look"
	for WEIGHT in blkio.weight blkio.bfq.weight io.weight io.bfq.weight -; do
		[ -e "$dir/$ID.look/$WEIGHT" ] && break
	done
	rmdir "$dir/$ID.look"
	[ "$WEIGHT" != - ] || lab "the kernel has no weights for block IO"
}

@test "config-linux.md blockIO.weight: MUST be the weight of the group" {
	local few
	weight_file
	created '.linux.resources.blockIO.weight = 200'
	few=$(limit blkio "$WEIGHT" "$WEIGHT")
	runtime delete --force "$ID" 2>"$T/err"
	created '.linux.resources.blockIO.weight = 800'
	[ "$(limit blkio "$WEIGHT" "$WEIGHT" | tr -dc 0-9)" -gt "$(tr -dc 0-9 <<<"$few")" ]
}

@test "config-linux.md blockIO.leafWeight: MUST be the weight against child cgroups" {
	needs_file blkio blkio.leaf_weight -
	created '.linux.resources.blockIO.leafWeight = 500'
	limited blkio blkio.leaf_weight 500 - -
}

@test "config-linux.md blockIO.weightDevice: MUST be the weight for one device" {
	local device
	device=$(disk) || lab "no disk"
	needs_file blkio blkio.bfq.weight_device io.bfq.weight io
	grep -q '\[bfq\]' "/sys/dev/block/$device/queue/scheduler" || lab "the disk's scheduler is not bfq"
	created ".linux.resources.blockIO.weightDevice = [{major: ${device%:*}, minor: ${device#*:}, weight: 333}]"
	limit blkio blkio.bfq.weight_device io.bfq.weight | grep -q "^$device 333"
}

# ---- Huge pages ----

@test "config-linux.md hugepageLimits: MUST be the limit of reservations where the kernel has it, else of usage" {
	needs_controller hugetlb
	local dir file
	if [ "$CF_LAYOUT" = v2 ]; then
		needs_file hugetlb - hugetlb.2MB.max
		file=hugetlb.2MB.rsvd.max
	else
		needs_file hugetlb hugetlb.2MB.limit_in_bytes -
		file=hugetlb.2MB.rsvd.limit_in_bytes
	fi
	created '.linux.resources.hugepageLimits = [{pageSize: "2MB", limit: 4194304}]'
	dir=$(cgroup_dir hugetlb "$PID")
	[ -e "$dir/$file" ] || file=${file/.rsvd/}
	[ "$(<"$dir/$file")" = 4194304 ] || fail "$file is $(<"$dir/$file")"
}

@test "config-linux.md hugepageLimits.pageSize: MUST generate an error when the kernel has no such size" {
	needs_controller hugetlb
	refuses '.linux.resources.hugepageLimits = [{pageSize: "3MB", limit: 4194304}]'
}

# ---- Network ----

@test "config-linux.md network.classID: MUST be the class identifier" {
	needs_file net_cls net_cls.classid -
	created '.linux.resources.network.classID = 1048577'
	limited net_cls net_cls.classid 1048577 - -
}

@test "config-linux.md network.priorities: MUST be the priority for an interface" {
	needs_file net_prio net_prio.ifpriomap -
	created '.linux.resources.network.priorities = [{name: "lo", priority: 3}]'
	limit net_prio net_prio.ifpriomap - | grep -qx "lo 3"
}

# ---- PIDs ----

@test "config-linux.md pids.limit: MUST be the maximum number of tasks" {
	needs_file pids pids.max pids.max
	created '.linux.resources.pids.limit = 77'
	limited pids pids.max 77 pids.max 77
}

@test "config-linux.md pids.limit: MUST be enforced" {
	needs_file pids pids.max pids.max
	runs '.linux.resources.pids.limit = 8 | probe("forks 40")'
	prints "forks 7"
}

@test "config-linux.md pids.limit: MUST be unlimited for -1" {
	needs_file pids pids.max pids.max
	created '.linux.resources.pids.limit = -1'
	limited pids pids.max max pids.max max
}

# ---- RDMA ----

@test "config-linux.md rdma: MUST be the limit for a device" {
	local device
	needs_file rdma rdma.max rdma.max
	device=$(ls /sys/class/infiniband 2>/dev/null | head -n 1)
	[ -n "$device" ] || lab "no RDMA device"
	created ".linux.resources.rdma = {\"$device\": {hcaHandles: 3, hcaObjects: 10000}}"
	limit rdma rdma.max rdma.max | grep -q "^$device hca_handle=3 hca_object=10000"
}

# ---- Unified ----

needs_v2() {
	[ "$CF_LAYOUT" = v2 ] || lab "cgroup v2 is needed"
}

@test "config-linux.md unified: MUST be written to the file of the cgroup v2 hierarchy" {
	needs_v2
	created '.linux.resources.unified = {"cgroup.max.descendants": "33"}'
	limited '' - - cgroup.max.descendants 33
}

@test "config-linux.md unified: MUST be written to the file also when the runtime does not know it" {
	needs_v2
	created '.linux.resources.unified = {"cgroup.max.depth": "7", "cgroup.max.descendants": "9"}'
	limited '' - - cgroup.max.depth 7
	limited '' - - cgroup.max.descendants 9
}

@test "config-linux.md unified: MUST have the needed controllers enabled: memory" {
	needs_v2
	needs_controller memory
	created '.linux.resources.unified = {"memory.high": "50331648"}'
	limited '' - - memory.high 50331648
}

@test "config-linux.md unified: MUST have the needed controllers enabled: hugetlb" {
	needs_v2
	needs_controller hugetlb
	created '.linux.resources.unified = {"hugetlb.2MB.max": "8388608"}'
	limited '' - - hugetlb.2MB.max 8388608
}

@test "config-linux.md unified: MUST have the needed controllers enabled: pids" {
	needs_v2
	needs_controller pids
	created '.linux.resources.unified = {"pids.max": "55"}'
	limited '' - - pids.max 55
}

@test "config-linux.md unified: MUST generate an error for a controller that is not present" {
	needs_v2
	refuses '.linux.resources.unified = {"nosuchcontroller.max": "1"}'
}

@test "config-linux.md unified: MUST generate an error for a value that the kernel refuses" {
	needs_v2
	refuses '.linux.resources.unified = {"cgroup.max.depth": "many"}'
}

@test "config-linux.md unified: MUST generate an error, or be converted, where the hierarchy is cgroup v1" {
	[ "$CF_LAYOUT" != v2 ] || skip "this is cgroup v2"
	needs_controller pids
	configure '.linux.resources.unified = {"pids.max": "55"}'
	create
	[ "$STATUS" -eq 0 ] || return 0
	PID=$(<"$T/pid")
	limited pids pids.max 55 - -
}
