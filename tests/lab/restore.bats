#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# lab: v2
#
# What goes on around a restore: pre-dumps, hooks, terminals. By the real CRIU, which does not work on every machine.

load ../eventually

setup_file() {
	command -v criu >/dev/null || skip "criu is not installed"
	criu check >/tmp/criu-check 2>&1 || skip "CRIU does not work here: $(tail -n 1 /tmp/criu-check)"
	export B=/scratch/checkpoint
	mkdir -p "$B"/rootfs/{bin,dev,proc,sys,tmp}
	cp /bin/busybox "$B/rootfs/bin/"
	ln -s busybox "$B/rootfs/bin/sh"
	printf '#!/bin/sh\njq -c "[.status, .id, .pid > 0]" >>%s/hooked\n' "$B" >"$B/hook"
	chmod +x "$B/hook"
	(cd "$B" && caisson-oci spec && mv config.json spec.json)
	# The lab's kernel gives each network namespace devices that CRIU does not know.
	program 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; busybox sleep 0.1; done'
}

setup() { cd "$B" || return; }

teardown() {
	local id
	for id in $(caisson-oci list -q); do caisson-oci delete --force "$id"; done
	rm -rf img* work* hooked socket said
}

# program SCRIPT [FILTER]: the container's.
program() {
	jq --arg script "$1" '.process.terminal = false | .process.args = ["sh", "-c", $script] | .root.readonly = false
		| .linux.namespaces |= map(select(.type != "network"))' "$B/spec.json" | jq "${2:-.}" >"$B/config.json"
}

# The standard streams may be the container's, and no file of ours.
oci() { caisson-oci --log "$B/log" "$@" </dev/null >/dev/null 2>&1 || { cat "$B/log" && return 1; }; }

counts() { [ "$(cat rootfs/tmp/count 2>/dev/null || echo 0)" -gt "$1" ]; }

@test "checkpoint: --pre-dump, --leave-running and --parent-path; restore goes on where it was" {
	rm -f rootfs/tmp/count
	oci run --detach one
	eventually counts 3
	oci checkpoint --leave-running --image-path img0 one
	caisson-oci checkpoint --pre-dump --image-path img1 one >said 2>&1
	[ ! -s said ]
	oci checkpoint --parent-path ../img1 --image-path img2 --work-path work2 one
	[ -z "$(caisson-oci list -q)" ]
	[ -s work2/dump.log ]
	local count
	count=$(cat rootfs/tmp/count)
	echo 0 >rootfs/tmp/count
	oci restore --detach --image-path img2 --pid-file pid one
	[ "$(caisson-oci state one | jq -r .status)" = running ]
	[ "$(cat pid)" = "$(caisson-oci state one | jq .pid)" ]
	eventually counts "$count"
}

@test "restore runs the hooks of the creation; one that fails leaves nothing" {
	oci run --detach one
	oci checkpoint --image-path img one
	jq '.hooks = {prestart: [{path: "/scratch/checkpoint/hook"}], createRuntime: [{path: "/scratch/checkpoint/hook"}]}' \
		config.json >new && cp config.json old && mv new config.json
	oci restore --detach --image-path img one
	[ "$(cat hooked)" = $'["created","one",true]\n["created","one",true]' ]
	oci delete --force one
	jq '.hooks.createRuntime[0].path = "/bin/false"' config.json >new && mv new config.json
	run caisson-oci restore --detach --image-path img one </dev/null
	mv old config.json
	[ "$status" = 1 ]
	[[ $output == *"error running createRuntime hook"* ]]
	[ -z "$(caisson-oci list -q)" ]
	! pgrep -f 'tmp/count'
}

@test "a terminal goes to a new console socket at restore" {
	rm -f rootfs/tmp/go
	program 'echo before; until [ -e /tmp/go ]; do busybox sleep 0.1; done; echo after' '.process.terminal = true'
	"$CAISSON_BUILD/tests/conformance/agent" console socket said >agent.log 2>&1 3>&- &
	eventually test -S socket
	oci run --detach --console-socket socket one
	eventually grep -q before said
	oci checkpoint --image-path img one
	run caisson-oci restore --detach --image-path img one </dev/null
	[ "$status" = 1 ]
	[[ $output == *"without setting console socket"* ]]
	rm -f socket said
	"$CAISSON_BUILD/tests/conformance/agent" console socket said >agent.log 2>&1 3>&- &
	eventually test -S socket
	oci restore --detach --console-socket socket --image-path img one
	touch rootfs/tmp/go
	eventually grep -q after said
}

@test "a terminal is joined to ours when a container is restored in the foreground" {
	program 'echo before; read line; echo "got $line"; exit 7' '.process.terminal = true'
	rm -f socket said
	"$CAISSON_BUILD/tests/conformance/agent" console socket said >agent.log 2>&1 3>&- &
	eventually test -S socket
	oci run --detach --console-socket socket one
	eventually grep -q before said
	oci checkpoint --image-path img one
	echo typed >keys
	run script -qec 'caisson-oci restore --image-path img one' typescript <keys
	[ "$status" = 7 ]
	[[ $output == *"got typed"* ]]
	[ -z "$(caisson-oci list -q)" ]
}
