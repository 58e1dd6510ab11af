# SPDX-License-Identifier: Apache-2.0
# config.md: "Mounts", "Linux mount options", "POSIX-platform Mounts".

load lib/helpers

# ---- the entries ----

@test "config.md mounts: MUST be mounted in the listed order" {
	report 'tmpfs("/m"; ["size=64k"]) | tmpfs("/m"; ["size=128k"]) | tmpfs("/m/below"; [])'
	has_option /m size=128k
	like "mount /m/below" ^tmpfs
}

@test "config.md mounts: MUST be mounted in the listed order, a later one over an earlier one" {
	runs 'tmpfs("/m/below"; []) | tmpfs("/m"; []) | sh("ls /m; echo done")'
	prints done
}

@test "config.md mounts.destination: MUST be a path inside the container" {
	report 'tmpfs("/data/tmp"; [])'
	like "mount /data/tmp" ^tmpfs
	[ -z "$(grep " $B/rootfs/data/tmp " /proc/self/mountinfo)" ]
}

@test "config.md mounts.destination: MUST be interpreted as relative to / when it is a relative path" {
	report 'tmpfs("relative/path"; [])'
	like "mount /relative/path" ^tmpfs
}

@test "config.md mounts.destination: MUST be given, REQUIRED" {
	refuses '.mounts += [{type: "tmpfs", source: "tmpfs"}]'
}

@test "config.md mounts.destination: MUST be resolved inside the container when it has symbolic links" {
	ln -s /data "$B/rootfs/link"
	mkdir "$B/rootfs/data/deep"
	report 'tmpfs("/link/deep"; [])'
	like "mount /data/deep" ^tmpfs
}

@test "config.md mounts.destination: MUST be resolved inside the container when a link says .. too often" {
	ln -s ../../../../../../../data "$B/rootfs/link"
	report 'tmpfs("/link"; [])'
	like "mount /data" ^tmpfs
}

@test "config.md mounts.source: MAY be a directory for bind mounts, absolute" {
	mkdir "$T/src" && echo here >"$T/src/file"
	runs 'bind($T + "/src"; "/m"; []) | sh("cat /m/file")'
	prints here
}

@test "config.md mounts.source: MAY be a directory for bind mounts, relative to the bundle" {
	mkdir "$B/src" && echo here >"$B/src/file"
	runs 'bind("src"; "/m"; []) | sh("cat /m/file")'
	prints here
}

@test "config.md mounts.source: MAY be a file for bind mounts" {
	echo bound >"$T/file"
	runs 'bind($T + "/file"; "/etc/passwd"; []) | sh("cat /etc/passwd")'
	prints bound
}

@test "config.md mounts.source: MAY be a file for bind mounts onto what does not exist" {
	echo bound >"$T/file"
	runs 'bind($T + "/file"; "/new/place/file"; []) | sh("cat /new/place/file")'
	prints bound
}

@test "config.md mounts.source: MUST exist for bind mounts, else an error is generated" {
	refuses 'bind($T + "/no-such-source"; "/m"; [])'
}

@test "config.md mounts.source: MAY be absent where the file system needs none" {
	report '.mounts += [{destination: "/m", type: "tmpfs"}]'
	like "mount /m" ^tmpfs
}

@test "config.md mounts.type: MUST be the type of the file system" {
	report 'mount("/q"; "mqueue"; "mqueue"; ["nosuid"]) | mount("/p"; "proc"; "proc"; [])'
	like "mount /q" ^mqueue
	like "mount /p" ^proc
}

@test "config.md mounts.type: MUST generate an error for a type that the kernel does not have" {
	refuses 'mount("/m"; "nosuchfs"; "none"; [])'
}

@test "config.md mounts.type: MAY be absent for bind mounts" {
	mkdir "$T/src" && echo here >"$T/src/file"
	runs '.mounts += [{destination: "/m", source: ($T + "/src"), options: ["rbind"]}] | sh("cat /m/file")'
	prints here
}

@test "config.md mounts.type: MUST be a dummy for bind mounts: it is one if it has bind or rbind in the options" {
	mkdir "$T/src" && echo here >"$T/src/file"
	runs 'mount("/m"; "tmpfs"; $T + "/src"; ["bind"]) | sh("cat /m/file")'
	prints here
}

@test "config.md mounts.options: MAY be absent" {
	report '.mounts += [{destination: "/m", type: "tmpfs", source: "tmpfs"}]'
	has_option /m rw
}

@test "config.md mounts.options: SHOULD pass unknown options to the file system" {
	report 'tmpfs("/m"; ["size=96k", "nr_inodes=77", "mode=0711"])'
	has_option /m size=96k
	has_option /m nr_inodes=77
	has_option /m mode=711
}

@test "config.md mounts.options: MUST generate an error when the file system does not know one" {
	refuses 'tmpfs("/m"; ["no-such-option=1"])'
}

# ---- the options of the table; "sets OPTION FLAG": /proc/self/mountinfo shows FLAG ----

sets() {
	report "tmpfs(\"/m\"; [\"$1\"])"
	has_option /m "$2"
}

# clears FLAG OPTION: OPTION after FLAG takes it away again.
clears() {
	report "tmpfs(\"/m\"; [\"$1\", \"$2\"])"
	lacks_option /m "$1"
}

# Nothing shows these: the runtime must take them for what they are, not pass them to the file system as data, which
# tmpfs would refuse.
known() {
	report "tmpfs(\"/m\"; [\"$1\"])"
	like "mount /m" ^tmpfs
	lacks_option /m "$1"
}

@test "config.md mounts.options: MUST implement async" { clears sync async; }
@test "config.md mounts.options: MUST implement atime" { clears noatime atime; }
@test "config.md mounts.options: MUST implement defaults" { known defaults; }
@test "config.md mounts.options: MUST implement dev" { clears nodev dev; }
@test "config.md mounts.options: MUST implement diratime" { clears nodiratime diratime; }
@test "config.md mounts.options: MUST implement dirsync" { sets dirsync dirsync; }
@test "config.md mounts.options: MUST implement exec" { clears noexec exec; }
@test "config.md mounts.options: MUST implement iversion" { known iversion; }
@test "config.md mounts.options: MUST implement lazytime" { sets lazytime lazytime; }
@test "config.md mounts.options: MUST implement loud" { known loud; }
@test "config.md mounts.options: MAY implement mand" { report 'tmpfs("/m"; ["mand"])'; }
@test "config.md mounts.options: MUST implement noatime" { sets noatime noatime; }
@test "config.md mounts.options: MUST implement nodev" { sets nodev nodev; }
@test "config.md mounts.options: MUST implement nodiratime" { sets nodiratime nodiratime; }
@test "config.md mounts.options: MUST implement noexec" { sets noexec noexec; }
@test "config.md mounts.options: MUST implement noiversion" { known noiversion; }
@test "config.md mounts.options: MUST implement nolazytime" { clears lazytime nolazytime; }
@test "config.md mounts.options: MAY implement nomand" { known nomand; }
@test "config.md mounts.options: MUST implement norelatime" { known norelatime; }
@test "config.md mounts.options: MUST implement nosuid" { sets nosuid nosuid; }
@test "config.md mounts.options: SHOULD implement nosymfollow" { sets nosymfollow nosymfollow; }
@test "config.md mounts.options: MUST implement relatime" { sets relatime relatime; }
@test "config.md mounts.options: MUST implement ro" { sets ro ro; }
@test "config.md mounts.options: MUST implement rw" { clears ro rw; }
@test "config.md mounts.options: MUST implement silent" { known silent; }
@test "config.md mounts.options: MUST implement suid" { clears nosuid suid; }
@test "config.md mounts.options: SHOULD implement symfollow" { clears nosymfollow symfollow; }
@test "config.md mounts.options: MUST implement sync" { sets sync sync; }

@test "config.md mounts.options: MUST implement strictatime" {
	report 'tmpfs("/m"; ["strictatime"])'
	lacks_option /m relatime
	lacks_option /m noatime
}

@test "config.md mounts.options: MUST implement nostrictatime" {
	report 'tmpfs("/m"; ["strictatime", "nostrictatime"])'
	has_option /m relatime
}

# ---- bind mounts, recursion, propagation: from $T/src with a mount on $T/src/sub ----

# source [OPTION-OF-MOUNT(8)...]
source_with_submount() {
	mkdir "$T/src"
	host_mount -t tmpfs "$@" tmpfs "$T/src"
	mkdir "$T/src/sub" 2>/dev/null || { mount -o remount,rw "$T/src" && mkdir "$T/src/sub" && mount -o remount,ro "$T/src"; }
	host_mount -t tmpfs "$@" tmpfs "$T/src/sub"
}

# bound OPTION...: the source with these options on /m
bound() {
	local list
	printf -v list ',"%s"' "$@"
	report "mount(\"/m\"; \"none\"; \$T + \"/src\"; [${list#,}])"
}

@test "config.md mounts.options: MUST implement bind, not recursive" {
	source_with_submount
	bound bind
	like "mount /m" ^tmpfs
	is "mount /m/sub" "(absent)"
}

@test "config.md mounts.options: MUST implement rbind, recursive" {
	source_with_submount
	bound rbind
	like "mount /m" ^tmpfs
	like "mount /m/sub" ^tmpfs
}

@test "config.md mounts.options: MUST implement bind with ro, nosuid, nodev, noexec" {
	source_with_submount
	bound rbind ro nosuid nodev noexec
	has_option /m ro
	has_option /m nosuid
	has_option /m nodev
	has_option /m noexec
	[ -z "$(sed -n "s# $T/src ro,##p" /proc/self/mountinfo)" ] || fail "the source became read-only"
}

@test "config.md mounts.options: MUST implement ro as not recursive" {
	source_with_submount
	bound rbind ro
	has_option /m ro
	lacks_option /m/sub ro
}

@test "config.md mounts.options: MUST implement remount" {
	report 'tmpfs("/m"; ["size=64k"]) | tmpfs("/m"; ["remount", "ro"])'
	has_option /m ro
	has_option /m size=64k
}

@test "config.md mounts.options: MUST implement remount of a bind mount" {
	mkdir "$T/src"
	report 'bind($T + "/src"; "/m"; []) | mount("/m"; "none"; $T + "/src"; ["bind", "remount", "ro"])'
	has_option /m ro
}

# propagation OPTION PATTERN: the optional fields of /m match PATTERN.
propagation() {
	source_with_submount
	mount --make-rshared "$T/src"
	bound rbind "$1"
	like "mount /m" " $2\$"
}

# The same of the mount below.
propagation_recursive() {
	propagation "$1" "$2"
	like "mount /m/sub" " $2\$"
}

@test "config.md mounts.options: MUST implement private" { propagation private private; }
@test "config.md mounts.options: MUST implement rprivate" { propagation_recursive rprivate private; }
@test "config.md mounts.options: MUST implement shared" { propagation shared '[^ ]*shared:.*'; }
@test "config.md mounts.options: MUST implement rshared" { propagation_recursive rshared '[^ ]*shared:.*'; }
@test "config.md mounts.options: MUST implement slave" { propagation slave 'master:[0-9]+[^ ]*'; }
@test "config.md mounts.options: MUST implement rslave" { propagation_recursive rslave 'master:[0-9]+[^ ]*'; }
@test "config.md mounts.options: MUST implement unbindable" { propagation unbindable 'unbindable'; }
@test "config.md mounts.options: MUST implement runbindable" { propagation_recursive runbindable 'unbindable'; }

@test "config.md mounts.options: MUST implement rslave: mounts that come to the source later are seen" {
	source_with_submount
	mkdir "$T/src/later"
	mount --make-rshared "$T/src"
	created 'mount("/m"; "none"; $T + "/src"; ["rbind", "rslave"]) | .linux.rootfsPropagation = "rslave"'
	host_mount -t tmpfs tmpfs "$T/src/later"
	started
	becomes stopped
	read_report "$T/out"
	like "mount /m/later" ^tmpfs
}

@test "config.md mounts.options: MUST implement rprivate: mounts that come to the source later are not seen" {
	source_with_submount
	mkdir "$T/src/later"
	mount --make-rshared "$T/src"
	created 'mount("/m"; "none"; $T + "/src"; ["rbind", "rprivate"])'
	host_mount -t tmpfs tmpfs "$T/src/later"
	started
	becomes stopped
	read_report "$T/out"
	like "mount /m" ^tmpfs
	is "mount /m/later" "(absent)"
}

# rsets OPTION FLAG: on the mount and on the one below it.
rsets() {
	source_with_submount
	bound rbind "$1"
	has_option /m "$2"
	has_option /m/sub "$2"
}

# rclears FLAG OPTION: both have FLAG on the host, neither has it in the container.
rclears() {
	source_with_submount -o "$1"
	bound rbind "$2"
	lacks_option /m "$1"
	lacks_option /m/sub "$1"
}

# rclears_mount FLAG OPTION: like it, where the super block keeps a flag of the same name.
rclears_ro() {
	source_with_submount
	mount -o remount,bind,ro "$T/src" && mount -o remount,bind,ro "$T/src/sub"
	bound rbind "$1"
	lacks_option /m ro
	lacks_option /m/sub ro
}

@test "config.md mounts.options: SHOULD implement ratime" { rclears noatime ratime; }
@test "config.md mounts.options: SHOULD implement rdev" { rclears nodev rdev; }
@test "config.md mounts.options: SHOULD implement rdiratime" { rclears nodiratime rdiratime; }
@test "config.md mounts.options: SHOULD implement rexec" { rclears noexec rexec; }
@test "config.md mounts.options: SHOULD implement rnoatime" { rsets rnoatime noatime; }
@test "config.md mounts.options: SHOULD implement rnodev" { rsets rnodev nodev; }
@test "config.md mounts.options: SHOULD implement rnodiratime" { rsets rnodiratime nodiratime; }
@test "config.md mounts.options: SHOULD implement rnoexec" { rsets rnoexec noexec; }
@test "config.md mounts.options: SHOULD implement rnosuid" { rsets rnosuid nosuid; }
@test "config.md mounts.options: SHOULD implement rnosymfollow" { rsets rnosymfollow nosymfollow; }
@test "config.md mounts.options: SHOULD implement rro" { rsets rro ro; }
@test "config.md mounts.options: SHOULD implement rrw" { rclears_ro rrw; }
@test "config.md mounts.options: SHOULD implement rstrictatime" { rclears relatime rstrictatime; }
@test "config.md mounts.options: SHOULD implement rsuid" { rclears nosuid rsuid; }
@test "config.md mounts.options: SHOULD implement rsymfollow" { rclears nosymfollow rsymfollow; }

@test "config.md mounts.options: SHOULD implement rrelatime" {
	source_with_submount -o noatime
	bound rbind rrelatime
	has_option /m relatime
	has_option /m/sub relatime
}

@test "config.md mounts.options: SHOULD implement rnorelatime" {
	source_with_submount
	bound rbind rnorelatime
	like "mount /m/sub" ^tmpfs
}

@test "config.md mounts.options: SHOULD implement rnostrictatime" {
	source_with_submount -o strictatime
	bound rbind rnostrictatime
	like "mount /m/sub" ^tmpfs
}

# ---- tmpcopyup ----

@test "config.md mounts.options: MAY implement tmpcopyup" {
	mkdir -p "$B/rootfs/data/deep"
	echo inner >"$B/rootfs/data/deep/file"
	chmod 604 "$B/rootfs/data/deep/file"
	chown 12:34 "$B/rootfs/data/deep/file"
	ln -s file "$B/rootfs/data/link"
	runs 'tmpfs("/data"; ["tmpcopyup"])
		| sh("cat /data/link; cat /data/deep/file; stat -c %a:%u:%g /data/deep/file; echo new > /data/file")'
	prints $'from-the-image\ninner\n604:12:34'
	[ "$(<"$B/rootfs/data/file")" = from-the-image ]
}

# ---- id-mapped mounts ----

mapped_source() {
	"$CF_AGENT" idmap "$T" || lab "no id-mapped mounts on this file system"
	mkdir "$T/src"
	host_mount -t tmpfs tmpfs "$T/src"
	touch "$T/src/file" && chown 1000:1001 "$T/src/file"
	mkdir "$T/src/sub"
	host_mount -t tmpfs tmpfs "$T/src/sub"
	touch "$T/src/sub/file" && chown 1000:1001 "$T/src/sub/file"
}

# mapped OPTIONS FILES: on-disk IDs 0..65535 become 100000... and 200000... in the mount.
mapped() {
	runs ".mounts += [{destination: \"/m\", type: \"none\", source: (\$T + \"/src\"), options: $1,
		uidMappings: [{containerID: 0, hostID: 100000, size: 65536}],
		gidMappings: [{containerID: 0, hostID: 200000, size: 65536}]}]
		| sh(\"stat -c %u:%g $2\")"
}

@test "config.md mounts.options: SHOULD implement idmap: the mount MUST use its uidMappings and gidMappings" {
	mapped_source
	mapped '["bind", "idmap"]' /m/file
	prints 101000:201001
	[ "$(stat -c %u:%g "$T/src/file")" = 1000:1001 ]
}

@test "config.md mounts.options: SHOULD implement idmap as not recursive" {
	mapped_source
	mapped '["rbind", "idmap"]' "/m/file /m/sub/file"
	prints $'101000:201001\n1000:1001'
}

@test "config.md mounts.options: SHOULD implement ridmap, recursive" {
	mapped_source
	mapped '["rbind", "ridmap"]' "/m/file /m/sub/file"
	prints $'101000:201001\n101000:201001'
}

@test "config.md mounts.options: MUST generate an error for idmap without mappings and without a user namespace" {
	mkdir "$T/src"
	refuses 'bind($T + "/src"; "/m"; ["idmap"])'
}

@test "config.md mounts.options: MUST generate an error for ridmap without mappings and without a user namespace" {
	mkdir "$T/src"
	refuses 'bind($T + "/src"; "/m"; ["ridmap"])'
}

@test "config.md mounts.options: MAY use the container's user namespace for idmap without mappings, else an error" {
	mapped_source
	configure 'bind($T + "/src"; "/mnt"; ["idmap"]) | user_ns(300000; 65536) | sh("stat -c %u:%g /mnt/file")'
	contain
	[ "$STATUS" -ne 0 ] || prints 1000:1001
}

@test "config.md mounts.uidMappings: MUST be specified along with gidMappings" {
	mkdir "$T/src"
	refuses '.mounts += [{destination: "/m", type: "none", source: ($T + "/src"), options: ["bind", "idmap"],
		uidMappings: [{containerID: 0, hostID: 100000, size: 65536}]}]'
}

@test "config.md mounts.gidMappings: MUST be specified along with uidMappings" {
	mkdir "$T/src"
	refuses '.mounts += [{destination: "/m", type: "none", source: ($T + "/src"), options: ["bind", "idmap"],
		gidMappings: [{containerID: 0, hostID: 100000, size: 65536}]}]'
}

@test "config.md mounts.uidMappings: SHOULD be usable together with a user namespace of the container" {
	mapped_source
	runs '.mounts += [{destination: "/mnt", type: "none", source: ($T + "/src"), options: ["bind", "idmap"],
		uidMappings: [{containerID: 0, hostID: 300000, size: 65536}],
		gidMappings: [{containerID: 0, hostID: 300000, size: 65536}]}]
		| user_ns(300000; 65536) | sh("stat -c %u:%g /mnt/file")'
	prints 1000:1001
}
