#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the specification leaves open and runc and crun do alike, or one of them does and images and engines count on.

load helpers
setup_file() { oci_setup_file; }
teardown_file() { oci_teardown_file; }
setup() {
	oci_setup
	# A root file system of this test's own: these tests look at what a runtime makes in it.
	ROOT=$BUNDLE/rootfs
	cp -a "$WORK/rootfs" "$ROOT"
	config '.root.path="rootfs"'
}
teardown() { oci_teardown; }

bind() { # FROM TO [OPTION...]
	config --arg from "$1" --arg to "$2" --argjson options "$(jq -cn '$ARGS.positional' --args bind "${@:3}")" \
		'.mounts += [{destination: $to, type: "bind", source: $from, options: $options}]'
}

@test "a mount point that is a link to nothing is made where the link leads" {
	ln -s ../run/resolve/stub.conf "$ROOT/etc/resolv.conf"
	ln -s /run/elsewhere "$ROOT/etc/dir"
	echo "nameserver of the host" >resolv.conf
	bind "$BUNDLE/resolv.conf" /etc/resolv.conf
	bind "$BUNDLE" /etc/dir/below
	args sh -c 'cat /etc/resolv.conf /run/resolve/stub.conf; ls /run/elsewhere/below'
	run -0 oci run "$ID"
	[ "${lines[0]} ${lines[1]}" = "nameserver of the host nameserver of the host" ]
	[[ $output == *config.json* ]]
}

@test "a mount point that is a link out of the root file system leads nowhere outside" {
	mkdir outside
	ln -s "../../../../../../../..$BUNDLE/outside/made" "$ROOT/etc/leak"
	ln -s "$BUNDLE/outside/too" "$ROOT/etc/leak2"
	echo text >text
	bind "$BUNDLE/text" /etc/leak
	bind "$BUNDLE" /etc/leak2/deep
	args sh -c 'cat /etc/leak'
	run -0 oci run "$ID"
	[ "$output" = text ]
	[ -z "$(ls outside)" ]
}

@test "a mount point of links in a circle is an error, and nothing is left" {
	ln -s /loop "$ROOT/loop"
	bind "$BUNDLE" /loop/x
	run -1 oci run "$ID"
	[[ $output == *"/loop/x"* ]]
	[ -z "$(oci list -q)" ]
}

@test "a tmpfs without a mode has that of the directory it covers" {
	mkdir "$ROOT/private" && chmod 712 "$ROOT/private"
	config '.mounts += [{destination: "/private", type: "tmpfs", source: "tmpfs"},
		{destination: "/given", type: "tmpfs", source: "tmpfs", options: ["mode=750"]},
		{destination: "/new", type: "tmpfs", source: "tmpfs"}]'
	mkdir "$ROOT/given"
	args stat -c %a /private /given /new
	run -0 oci run "$ID"
	[ "${lines[*]}" = "712 750 1777" ]
}

@test "a working directory that is missing is made, in a read-only root too" {
	local closed
	for closed in true false; do
		config ".root.readonly=$closed | .process.cwd=\"/made/here-$closed\""
		args pwd
		run -0 oci run "$ID"
		[ "$output" = "/made/here-$closed" ]
	done
}

@test "copy-symlink makes the link again instead of mounting what it leads to" {
	ln -s ../zone/Rome "$BUNDLE/localtime"
	bind "$BUNDLE/localtime" /etc/zone/localtime copy-symlink
	bind "$BUNDLE/config.json" /plain copy-symlink
	args sh -c 'readlink /etc/zone/localtime; grep -c " /plain " /proc/self/mountinfo'
	ln -sf busybox "$ROOT/bin/grep"
	run -0 oci run "$ID"
	[ "${lines[*]}" = "../zone/Rome 1" ]
	run -0 oci run "$ID" # the same link is there already
	rm "$ROOT/etc/zone/localtime"
	echo other >"$ROOT/etc/zone/localtime"
	run -1 oci run "$ID"
	[[ $output == *"there is something else"* ]]
}

@test "dest-nofollow covers a link itself, src-nofollow mounts one" {
	echo content >file
	ln -s "$BUNDLE/file" link
	ln -s point-to-nowhere "$ROOT/target"
	bind "$BUNDLE/link" /target dest-nofollow
	args cat /target
	run -0 oci run "$ID"
	[ "$output" = content ]
	config '.mounts[-1].options += ["src-nofollow"]'
	args readlink /target
	run -0 oci run "$ID"
	[ "$output" = "$BUNDLE/file" ]
	[ "$(readlink "$ROOT/target")" = point-to-nowhere ]
}

@test "hooks on the host run in the bundle's directory, whoever calls from wherever" {
	config --arg log "$BUNDLE/where" '.hooks = (["prestart", "createRuntime", "poststart", "poststop"] |
		map({(.): [{path: "/bin/sh", args: ["sh", "-c", "pwd >>\($log)"]}]}) | add)'
	args true
	cd /
	run -0 oci run --bundle "$BUNDLE" "$ID"
	[ "$(sort -u "$BUNDLE/where")" = "$BUNDLE" ]
	[ "$(wc -l <"$BUNDLE/where")" = 4 ]
}

@test "the bundle is called what the caller called it, by a link too" {
	ln -s "$BUNDLE" "$WORK/link-$ID"
	config --arg log "$BUNDLE/state" '.hooks.createRuntime = [{path: "/bin/sh", args: ["sh", "-c", "cat >\($log)"]}]'
	args sleep 100
	oci run --detach --bundle "$WORK/link-$ID" "$ID" >output 2>&1
	[ "$(jq -r .bundle state)" = "$WORK/link-$ID" ]
	[ "$(oci state "$ID" | jq -r .bundle)" = "$WORK/link-$ID" ]
}

@test "hooks between the container's making and its start see it created" {
	config --arg log "$BUNDLE/status" '.hooks = (["prestart", "createRuntime", "createContainer"] |
		map({(.): [{path: "/bin/sh", args: ["sh", "-c", "jq -r .status >>\($log)"]}]}) | add)'
	args true
	run -0 oci run "$ID"
	[ "$(sort -u status)" = created ]
}

@test "the host name cannot be set as a sysctl, which would contradict the hostname" {
	config '.linux.sysctl = {"kernel.hostname": "other"}'
	run -1 oci run "$ID"
	[[ $output == *'conflicts with the OCI'*hostname* ]]
	config '.linux.sysctl = {"kernel.domainname": "example.org"}'
	args cat /proc/sys/kernel/domainname
	run -0 oci run "$ID"
	[ "$output" = example.org ]
}

@test "crun's flags: --config names another configuration, --cgroup-manager who makes cgroups" {
	mkdir conf
	jq '.process.args = ["echo", "the other one"]' config.json >conf/other.json
	run -0 oci --cgroup-manager cgroupfs run --config conf/other.json "$ID"
	[ "$output" = "the other one" ]
	cd /
	run -0 oci run --bundle "$BUNDLE" --config "$BUNDLE/conf/other.json" "$ID"
	[ "$output" = "the other one" ]
	jq '.process.args = ["echo", "the usual one"]' "$BUNDLE/config.json" >"$BUNDLE/new" && mv "$BUNDLE/new" "$BUNDLE/config.json"
	run -0 oci run --bundle "$BUNDLE" --config config.json "$ID"
	[ "$output" = "the usual one" ]
	run -1 oci --cgroup-manager other run --bundle "$BUNDLE" "$ID"
	[[ $output == *"invalid value \\\"other\\\" for --cgroup-manager"* ]]
}

@test "podman's keep-groups: the caller's groups stay, unless the configuration gives others" {
	[ -n "$(command -v setpriv)" ] || skip "setpriv is missing"
	args id -G
	run -0 setpriv --groups 0,4242 "$RUNTIME" --root "$STATE" run "$ID" <"$WORK/nothing"
	[ "$output" = 0 ]
	config '.annotations = {"run.oci.keep_original_groups": "1"}'
	run -0 setpriv --groups 0,4242 "$RUNTIME" --root "$STATE" run "$ID" <"$WORK/nothing"
	[ "$output" = "0 4242" ]
	config '.process.user.additionalGids = [77]'
	run -0 setpriv --groups 0,4242 "$RUNTIME" --root "$STATE" run "$ID" <"$WORK/nothing"
	[ "$output" = "0 77" ]
}

@test "a user namespace without mappings, which are optional, has the caller as root and nobody else" {
	config '.linux.namespaces += [{type: "user"}] |
		del(.linux.uidMappings, .linux.gidMappings, (.mounts[].options | select(.) | .[] | select(. == "gid=5")))'
	oci_start "$ID"
	run -0 oci exec "$ID" sh -c 'cat /proc/self/uid_map /proc/self/gid_map'
	read -ra uids <<<"${lines[0]}"
	read -ra gids <<<"${lines[1]}"
	[ "${uids[*]}" = "0 $EUID 1" ]
	[ "${gids[*]}" = "0 $(id -g) 1" ]
	[ "$(readlink "/proc/$(pid_of "$ID")/ns/user")" != "$(readlink /proc/self/ns/user)" ]
	oci delete --force "$ID"
	# Somebody else there is not; half of the mappings are none.
	config '.process.user.uid=5'
	run -1 oci run "$ID"
	config '.process.user.uid=0 | .linux.uidMappings=[{containerID: 0, hostID: 0, size: 1}]'
	run -1 oci run "$ID"
	[[ $output == *"no gid mappings"* ]]
}
