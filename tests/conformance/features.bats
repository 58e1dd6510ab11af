# SPDX-License-Identifier: Apache-2.0
# features.md, features-linux.md.

load lib/helpers

# Every test here begins with this; runtimes without a features document are fine ("A runtime MAY provide ...").
document() {
	runtime features >"$T/features.json" 2>"$T/err" || skip "the runtime provides no features document"
	[ "$(jq -r type "$T/features.json" 2>"$T/err")" = object ] || fail "features printed no JSON object" "$(said)"
}

# features FILTER: of the document.
features() {
	jq -r "$1" "$T/features.json"
}

# lists FILTER: the elements of an array, one a line, into $T/list; skips when it is absent or null.
lists() {
	document
	features "$1 // empty | .[]" >"$T/list"
	[ -s "$T/list" ] || skip "the features document has no $1"
}

@test "features.md: MAY be provided as a JSON document" {
	document
	[ "$(features type)" = object ]
}

@test "features.md ociVersionMin: MUST be given, REQUIRED, in SemVer format" {
	document
	[[ $(features .ociVersionMin) =~ ^[0-9]+\.[0-9]+\.[0-9]+ ]]
}

@test "features.md ociVersionMax: MUST be given, REQUIRED, in SemVer format" {
	document
	[[ $(features .ociVersionMax) =~ ^[0-9]+\.[0-9]+\.[0-9]+ ]]
}

@test "features.md ociVersionMin: MUST be accepted as the ociVersion of config.json" {
	document
	report '.ociVersion = $version' --arg version "$(features .ociVersionMin)"
}

@test "features.md ociVersionMax: MUST be accepted as the ociVersion of config.json" {
	document
	report '.ociVersion = $version' --arg version "$(features .ociVersionMax)"
}

@test "features.md ociVersionMax: MUST NOT be less than ociVersionMin" {
	document
	[ "$(features '.ociVersionMin, .ociVersionMax' | sort -V | tail -n 1)" = "$(features .ociVersionMax)" ]
}

@test "features.md: MUST NOT contain properties that are not defined in the specification" {
	document
	features '(keys - ["ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations",
		"potentiallyUnsafeConfigAnnotations"])
		+ ((.linux // {} | keys) - ["namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "intelRdt",
			"mountExtensions", "netDevices", "memoryPolicy"])
		+ ((.linux.cgroup // {} | keys) - ["v1", "v2", "systemd", "systemdUser", "rdma"])
		+ ((.linux.seccomp // {} | keys) - ["enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"])
		+ ((.linux.intelRdt // {} | keys) - ["enabled", "schemata", "monitoring"])
		+ ((.linux.memoryPolicy // {} | keys) - ["modes", "flags"]) | .[]' >"$T/unknown"
	[ ! -s "$T/unknown" ] || fail "not defined: $(tr '\n' ' ' <"$T/unknown")"
}

@test "features.md: SHOULD be determined on the compilation time of the runtime, not on the execution time" {
	document
	jq -r . "$T/features.json" >"$T/first"
	unshare --user --map-root-user --mount --propagation private --ipc --uts \
		"$CF_RUNTIME" features >"$T/second" 2>"$T/err" || skip "features does not run without privileges"
	jq -r . "$T/second" | cmp - "$T/first"
}

@test "features.md hooks: MUST all be supported in the hooks of config.json" {
	local kind filter='probe("exit 0")'
	lists .hooks
	while read -r kind; do
		filter+=" | $(log_hook "$kind")"
	done <"$T/list"
	created "$filter"
	started
	becomes stopped
	runtime delete "$ID"
	[ "$(hooks_run | wc -w)" = "$(wc -l <"$T/list")" ] || fail "hooks that ran: $(hooks_run)"
}

@test "features.md mountOptions: MUST all be recognized in the options of mounts" {
	local option
	lists .mountOptions
	while read -r option; do
		case $option in
		bind | rbind) configure 'bind($B; "/m"; [$o]) | probe("exit 0")' --arg o "$option" ;;
		remount) configure 'tmpfs("/m"; []) | tmpfs("/m"; [$o, "ro"]) | probe("exit 0")' --arg o "$option" ;;
		idmap | ridmap)
			configure '.mounts += [{destination: "/m", type: "none", source: $B, options: ["bind", $o],
				uidMappings: [{containerID: 0, hostID: 100000, size: 65536}],
				gidMappings: [{containerID: 0, hostID: 100000, size: 65536}]}] | probe("exit 0")' --arg o "$option" ;;
		copy-symlink | src-nofollow | dest-nofollow)
			configure 'bind($B; "/m"; [$o]) | probe("exit 0")' --arg o "$option" ;;
		acl | noacl) continue ;; # tmpfs and most others need a kernel option for them
		*) configure 'tmpfs("/m"; [$o]) | probe("exit 0")' --arg o "$option" ;;
		esac
		contain
		[ "$STATUS" -eq 0 ] || echo "$option: $(said)" >>"$T/refused"
	done <"$T/list"
	[ ! -s "$T/refused" ] || fail "$(cat "$T/refused")"
}

@test "features.md mountOptions: SHOULD NOT contain file-system-specific options" {
	lists .mountOptions
	! grep -E '^(size|mode|uid|gid|nr_inodes|lowerdir|upperdir|workdir|subvol|ptmxmode|newinstance)' "$T/list"
}

@test "features.md mountOptions: SHOULD name every option that the specification says MUST be implemented" {
	local missing
	lists .mountOptions
	missing=$(sed -n 's/^@test "config.md mounts.options: MUST implement \([a-z]*\)".*/\1/p' \
		"${BATS_TEST_FILENAME%/*}/config-mounts.bats" | grep -vx defaults | grep -vxFf "$T/list" || true)
	[ -z "$missing" ] || fail "not named: $missing"
}

@test "features.md annotations: MUST be a key-value map of strings" {
	document
	[ "$(features '.annotations // {} | type')" = object ]
	[ "$(features '[.annotations // {} | .[] | type] | unique - ["string"] | length')" = 0 ]
	[ "$(features '.annotations // {} | has("")')" = false ]
}

@test "features.md potentiallyUnsafeConfigAnnotations: MUST be an array of annotation names" {
	document
	[ "$(features 'has("potentiallyUnsafeConfigAnnotations")')" = true ] || skip "the features document has no such property"
	[ "$(features '.potentiallyUnsafeConfigAnnotations | map(type) | unique | join(" ")')" = string ]
}

@test "features-linux.md namespaces: MUST all be recognized as types of linux.namespaces" {
	local type
	lists .linux.namespaces
	while read -r type; do
		[ "$type" != user ] || continue
		[ "$type" != time ] || [ -e /proc/self/ns/time ] || continue
		runs 'ns($type) | probe("exit 0")' --arg type "$type"
	done <"$T/list"
}

@test "features-linux.md capabilities: MUST all be recognized in process.capabilities" {
	lists .linux.capabilities
	configure '.process.capabilities = {bounding: [$names | split("\n")[] | select(. != "")]} | probe("exit 0")' \
		--rawfile names "$T/list"
	timeout 60 "$CF_RUNTIME" --log "$T/log" --root "$STATE" run --bundle "$B" "$ID" <"$T/in" >"$T/out" 2>"$T/err" 3>&- ||
		fail "it did not run" "$(said)"
	! grep -h CAP_ "$T/log" "$T/err" 2>/dev/null || fail "not all are known"
}

@test "features-linux.md cgroup: MUST be true of the version that is in use" {
	document
	case $CF_LAYOUT in
	v2) [ "$(features '.linux.cgroup.v2')" = true ] ;;
	*) [ "$(features '.linux.cgroup.v1')" = true ] ;;
	esac
}

@test "features-linux.md seccomp.actions: MUST all be recognized" {
	local action
	lists .linux.seccomp.actions
	while read -r action; do
		[ "$action" != SCMP_ACT_NOTIFY ] || continue # needs a listener; see seccomp.listenerPath
		configure 'seccomp([{names: ["getsid"], action: $action}]) | probe("exit 0")' --arg action "$action"
		succeed || fail "$action" "$(said)"
	done <"$T/list"
}

@test "features-linux.md seccomp.operators: MUST all be recognized" {
	local op
	lists .linux.seccomp.operators
	while read -r op; do
		configure 'seccomp([{names: ["getsid"], action: "SCMP_ACT_ERRNO", args: [{index: 0, op: $op, value: 1, valueTwo: 1}]}])
			| probe("exit 0")' --arg op "$op"
		succeed || fail "$op" "$(said)"
	done <"$T/list"
}

@test "features-linux.md seccomp.archs: MUST all be recognized" {
	local arch
	lists .linux.seccomp.archs
	while read -r arch; do
		case $arch in # a filter has one byte order
		*MIPS | *MIPS64 | *MIPS64N32 | *PPC | *PPC64 | *S390* | *PARISC* | *M68K | *SHEB) continue ;;
		esac
		configure 'seccomp([{names: ["getsid"], action: "SCMP_ACT_ERRNO"}]) | .linux.seccomp.architectures = [$arch]
			| probe("exit 0")' --arg arch "$arch"
		contain
		[ "$STATUS" -eq 0 ] || echo "$arch: $(said)" >>"$T/refused"
	done <"$T/list"
	[ ! -s "$T/refused" ] || fail "$(cat "$T/refused")"
}

@test "features-linux.md seccomp.supportedFlags: MUST all be recognized and supported" {
	local flag
	lists .linux.seccomp.supportedFlags
	while read -r flag; do
		[ "$flag" != SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV ] || continue # needs a listener
		configure 'seccomp([{names: ["getsid"], action: "SCMP_ACT_ERRNO"}]) | .linux.seccomp.flags = [$flag] | probe("exit 0")' \
			--arg flag "$flag"
		succeed || fail "$flag" "$(said)"
	done <"$T/list"
}

@test "features-linux.md seccomp.supportedFlags: MUST be known ones" {
	lists .linux.seccomp.supportedFlags
	[ "$(features '(.linux.seccomp.supportedFlags - .linux.seccomp.knownFlags) | length')" = 0 ]
}

@test "features-linux.md mountExtensions.idmap: MUST be true if uidMappings and gidMappings of mounts are used" {
	document
	"$CF_AGENT" idmap "$T" || lab "no id-mapped mounts on this file system"
	mkdir "$T/src" && touch "$T/src/file"
	configure '.mounts += [{destination: "/m", type: "none", source: ($T + "/src"), options: ["bind", "idmap"],
		uidMappings: [{containerID: 0, hostID: 100000, size: 65536}],
		gidMappings: [{containerID: 0, hostID: 100000, size: 65536}]}] | sh("stat -c %u /m/file")'
	contain
	if [ "$STATUS" -eq 0 ] && [ "$(<"$T/out")" = 100000 ]; then
		[ "$(features '.linux.mountExtensions.idmap.enabled')" = true ]
	else
		[ "$(features '.linux.mountExtensions.idmap.enabled')" != true ]
	fi
}

@test "features-linux.md memoryPolicy.modes: MUST all be recognized (1.3)" {
	local mode
	lists .linux.memoryPolicy.modes
	while read -r mode; do
		case $mode in
		MPOL_DEFAULT | MPOL_LOCAL) configure '.linux.memoryPolicy = {mode: $mode} | probe("exit 0")' --arg mode "$mode" ;;
		MPOL_WEIGHTED_INTERLEAVE) continue ;; # only newer kernels have it
		*) configure '.linux.memoryPolicy = {mode: $mode, nodes: "0"} | probe("exit 0")' --arg mode "$mode" ;;
		esac
		succeed || fail "$mode" "$(said)"
	done <"$T/list"
}

@test "features-linux.md memoryPolicy.flags: MUST all be recognized (1.3)" {
	local flag
	lists .linux.memoryPolicy.flags
	while read -r flag; do
		configure '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "0", flags: [$flag]} | probe("exit 0")' --arg flag "$flag"
		succeed || fail "$flag" "$(said)"
	done <"$T/list"
}
