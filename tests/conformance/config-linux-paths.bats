# SPDX-License-Identifier: Apache-2.0
# config-linux.md: "Default Filesystems", "Devices", "Default Devices", "Rootfs Mount Propagation", "Masked Paths",
# "Readonly Paths", "Mount Label".

load lib/helpers

# ---- Default file systems ----

@test "config-linux.md default filesystems: SHOULD be available: /proc, proc" {
	report
	like "mount /proc" ^proc
	runs 'sh("cat /proc/self/comm")'
	prints cat
}

@test "config-linux.md default filesystems: SHOULD be available: /sys, sysfs" {
	report
	like "mount /sys" ^sysfs
}

@test "config-linux.md default filesystems: SHOULD be available: /dev/pts, devpts, an instance of its own" {
	report
	like "mount /dev/pts" ^devpts
	runs 'sh("ls /dev/pts")'
	prints ptmx
}

@test "config-linux.md default filesystems: SHOULD be available: /dev/shm, tmpfs, writable" {
	report
	like "mount /dev/shm" ^tmpfs
	runs 'sh("echo x > /dev/shm/file && cat /dev/shm/file")'
	prints x
}

# ---- Devices ----

# device PATH ENTRY-WITHOUT-PATH: the container with one more device.
device() {
	report ".linux.devices = [{path: \"$1\"} + $2] | .linux.resources.devices += [{allow: true, access: \"rwm\"}]"
}

@test "config-linux.md devices: MUST be available in the container: type c" {
	device /dev/cf '{type: "c", major: 1, minor: 5}'
	like "dev /dev/cf" '^c 1:5 '
}

@test "config-linux.md devices: MUST be available in the container: type b" {
	device /dev/cf '{type: "b", major: 7, minor: 0}'
	like "dev /dev/cf" '^b 7:0 '
}

@test "config-linux.md devices: MUST be available in the container: type u, unbuffered" {
	device /dev/cf '{type: "u", major: 1, minor: 5}'
	like "dev /dev/cf" '^c 1:5 '
}

@test "config-linux.md devices: MUST be available in the container: type p" {
	device /dev/cf '{type: "p"}'
	like "dev /dev/cf" '^p '
}

@test "config-linux.md devices: MUST work: bytes come from a device that is allowed" {
	runs '.linux.devices = [{path: "/dev/cf", type: "c", major: 1, minor: 5}]
		| .linux.resources.devices += [{allow: true, type: "c", major: 1, minor: 5, access: "r"}]
		| sh("head -c 3 /dev/cf | wc -c")'
	prints 3
}

@test "config-linux.md devices.path: MAY be anywhere in the container, notably outside of /dev" {
	runs '.linux.devices = [{path: "/data/deep/node", type: "c", major: 1, minor: 3}] | sh("stat -c %F:%t:%T /data/deep/node")'
	prints "character special file:1:3"
}

@test "config-linux.md devices.path: MUST generate an error if a file exists there that is not the device" {
	refuses '.linux.devices = [{path: "/data/file", type: "c", major: 1, minor: 3}]'
}

@test "config-linux.md devices.path: MUST generate an error if another device exists there" {
	mknod "$B/rootfs/data/node" c 1 7
	refuses '.linux.devices = [{path: "/data/node", type: "c", major: 1, minor: 3}]'
}

@test "config-linux.md devices.path: MUST accept a file that exists there if it is the device" {
	mknod "$B/rootfs/data/node" c 1 3
	runs '.linux.devices = [{path: "/data/node", type: "c", major: 1, minor: 3}] | probe("exit 0")'
}

@test "config-linux.md devices.major, minor: MUST be given, REQUIRED unless type is p" {
	refuses '.linux.devices = [{path: "/dev/cf", type: "c"}]'
}

@test "config-linux.md devices.type: MUST generate an error when it is unknown" {
	refuses '.linux.devices = [{path: "/dev/cf", type: "x", major: 1, minor: 3}]'
}

@test "config-linux.md devices.fileMode: MUST be the mode of the device" {
	device /dev/cf '{type: "c", major: 1, minor: 5, fileMode: 416}'
	like "dev /dev/cf" '^c 1:5 0640 '
}

@test "config-linux.md devices.fileMode: MUST be the mode of the device whatever the umask is" {
	(
		umask 077
		device /dev/cf '{type: "c", major: 1, minor: 5, fileMode: 438}'
		like "dev /dev/cf" '^c 1:5 0666 '
	)
}

@test "config-linux.md devices.uid: MUST be the owner of the device" {
	device /dev/cf '{type: "c", major: 1, minor: 5, uid: 12, gid: 34}'
	like "dev /dev/cf" ' 12:34$'
}

@test "config-linux.md devices: MUST be available with a user namespace too: under the path it has on the host" {
	[ -c /dev/kmsg ] || lab "the host has no /dev/kmsg"
	runs 'user_ns(200000; 65536) | .linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 11}]
		| sh("stat -c %F:%t:%T /dev/kmsg")'
	prints "character special file:1:b"
}

@test "config-linux.md devices: MUST be available with a user namespace too: under a path of its own" {
	runs 'user_ns(200000; 65536) | .linux.devices = [{path: "/dev/cf", type: "c", major: 1, minor: 5}]
		| .linux.resources.devices += [{allow: true, type: "c", major: 1, minor: 5, access: "r"}]
		| sh("head -c 3 /dev/cf | wc -c")'
	prints 3
}

# ---- Default devices ----

default_device() {
	report
	like "dev $1" "^c $2 0666 0:0\$"
}

@test "config-linux.md default devices: MUST be supplied: /dev/null" { default_device /dev/null 1:3; }
@test "config-linux.md default devices: MUST be supplied: /dev/zero" { default_device /dev/zero 1:5; }
@test "config-linux.md default devices: MUST be supplied: /dev/full" { default_device /dev/full 1:7; }
@test "config-linux.md default devices: MUST be supplied: /dev/random" { default_device /dev/random 1:8; }
@test "config-linux.md default devices: MUST be supplied: /dev/urandom" { default_device /dev/urandom 1:9; }
@test "config-linux.md default devices: MUST be supplied: /dev/tty" { default_device /dev/tty 5:0; }

@test "config-linux.md default devices: MUST work under a list of allowed devices that denies all" {
	runs 'sh("echo x > /dev/null && head -c 2 /dev/zero | wc -c && head -c 1 /dev/urandom | wc -c && ! echo x > /dev/full")'
	prints_like '^2'
}

@test "config-linux.md default devices: MUST be supplied: /dev/ptmx, the container's own /dev/pts/ptmx" {
	report
	like "dev /dev/ptmx" '^(link (/dev/)?pts/ptmx|c 5:2 )'
	runs 'probe("open /dev/ptmx rw")'
	prints "ret 0"
}

@test "config-linux.md default devices: MUST be supplied: /dev/console, the pseudoterminal, if terminal is enabled" {
	"$CF_AGENT" console "$T/socket" "$T/console" >"$T/agent" 2>&1 3>&- &
	PIDS+=($!)
	soon test -S "$T/socket" || fail "the agent has no socket" "$(<"$T/agent")"
	configure '.process.terminal = true | sh("echo on-the-console > /dev/console")'
	create --console-socket "$T/socket"
	[ "$STATUS" -eq 0 ] || fail "create failed" "$(said)"
	started
	becomes stopped
	wait "${PIDS[-1]}"
	[ "$(tr -d '\r' <"$T/console")" = on-the-console ] || fail "the terminal got: $(<"$T/console")"
}

@test "config-linux.md default devices: MUST NOT bring /dev/console of the host" {
	report
	unlike "dev /dev/null" '^x'
	[[ ${R[dev /dev/console]-} != "c 5:1"* ]] || fail "/dev/console is the host's"
}

@test "config-linux.md default devices: MUST be supplied in a container with a user namespace" {
	runs 'user_ns(200000; 65536) | sh("echo x > /dev/null && head -c 2 /dev/zero | wc -c")'
	prints 2
}

# ---- Rootfs propagation ----

# shared_rootfs: the root file system is a mount that shares with the runtime's namespace.
shared_rootfs() {
	host_mount --bind "$B/rootfs" "$B/rootfs"
	mount --make-shared "$B/rootfs"
}

@test "config-linux.md rootfsPropagation: MUST be shared: the root is in a peer group" {
	shared_rootfs
	report '.linux.rootfsPropagation = "shared"'
	like "mount /" ' [^ ]*shared:[^ ]*$'
}

@test "config-linux.md rootfsPropagation: MUST be slave: the root receives events" {
	shared_rootfs
	report '.linux.rootfsPropagation = "slave"'
	like "mount /" ' master:[0-9]+[^ ]*$'
	unlike "mount /" shared:
}

@test "config-linux.md rootfsPropagation: MUST be slave: mounts on the host appear in the container" {
	shared_rootfs
	created '.linux.rootfsPropagation = "slave"'
	host_mount -t tmpfs tmpfs "$B/rootfs/data"
	started
	becomes stopped
	read_report "$T/out"
	like "mount /data" ^tmpfs
}

@test "config-linux.md rootfsPropagation: MUST be slave: mounts in the container do not appear on the host" {
	shared_rootfs
	report '.linux.rootfsPropagation = "slave" | caps(["CAP_SYS_ADMIN"]) | sh("mount -t tmpfs tmpfs /data && probe report mounts; sleep 0.1")'
	like "mount /data" ^tmpfs
	! grep " $B/rootfs/data " /proc/self/mountinfo
}

@test "config-linux.md rootfsPropagation: MUST be private: the root neither sends nor receives events" {
	shared_rootfs
	created '.linux.rootfsPropagation = "private"'
	host_mount -t tmpfs tmpfs "$B/rootfs/data"
	started
	becomes stopped
	read_report "$T/out"
	like "mount /" ' private$'
	is "mount /data" "(absent)"
}

@test "config-linux.md rootfsPropagation: MUST be unbindable: the root cannot be bind-mounted" {
	report '.linux.rootfsPropagation = "unbindable"'
	like "mount /" ' unbindable$'
}

@test "config-linux.md rootfsPropagation: MUST generate an error when it is unknown" {
	refuses '.linux.rootfsPropagation = "bogus"'
}

# ---- Masked paths ----

@test "config-linux.md maskedPaths: MUST mask a file so that it cannot be read" {
	runs '.linux.maskedPaths = ["/data/file"] | sh("cat /data/file 2>/dev/null; echo done")'
	prints done
}

@test "config-linux.md maskedPaths: MUST mask a directory so that it cannot be read" {
	runs '.linux.maskedPaths = ["/data"] | sh("ls -A /data; cat /data/file 2>/dev/null; echo done")'
	prints done
}

@test "config-linux.md maskedPaths: MUST mask a directory so that nothing can be written there" {
	runs '.linux.maskedPaths = ["/data"] | sh("echo x 2>/dev/null > /data/new || echo refused")'
	prints refused
}

@test "config-linux.md maskedPaths: MUST mask paths below the mounts" {
	runs '.linux.maskedPaths = ["/proc/keys", "/proc/timer_list"] | sh("cat /proc/keys /proc/timer_list 2>/dev/null; echo done")'
	prints done
}

@test "config-linux.md maskedPaths: MUST be absolute paths" {
	refuses '.linux.maskedPaths = ["data/file"]'
}

@test "config-linux.md maskedPaths: SHOULD be ignored where nothing exists" {
	report '.linux.maskedPaths = ["/no/such/path", "/proc/no-such-file"]'
}

# ---- Read-only paths ----

@test "config-linux.md readonlyPaths: MUST make a directory read-only" {
	runs '.linux.readonlyPaths = ["/data"] | sh("cat /data/file; echo x 2>/dev/null > /data/new || echo refused")'
	prints $'from-the-image\nrefused'
}

@test "config-linux.md readonlyPaths: MUST make a file read-only" {
	runs '.linux.readonlyPaths = ["/data/file"] | sh("echo x 2>/dev/null > /data/file || echo refused; cat /data/file")'
	prints $'refused\nfrom-the-image'
}

@test "config-linux.md readonlyPaths: MUST make paths below the mounts read-only" {
	configure '.linux.readonlyPaths = ["/proc/sys"] | probe("open /proc/sys/net/ipv4/ip_forward w")'
	contain
	prints_like EROFS
}

@test "config-linux.md readonlyPaths: MUST be absolute paths" {
	refuses '.linux.readonlyPaths = ["data"]'
}

@test "config-linux.md readonlyPaths: SHOULD be ignored where nothing exists" {
	report '.linux.readonlyPaths = ["/no/such/path", "/proc/no-such-file"]'
}

# ---- Mount label ----

@test "config-linux.md mountLabel: MUST be applied, or be an error where there is no SELinux" {
	if [ -d /sys/fs/selinux ] && [ -n "$(ls /sys/fs/selinux)" ]; then
		lab "an SELinux policy is needed"
	fi
	refuses '.linux.mountLabel = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"'
}
