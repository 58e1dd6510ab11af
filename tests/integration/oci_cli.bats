#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The command line itself: help, versions, logs, wrong usage; spec, features, checkpoint.

load helpers
setup_file() { oci_setup_file; }
teardown_file() { oci_teardown_file; }
setup() { oci_setup; }
teardown() { oci_teardown; }

@test "each command has help with examples" {
	local command
	for command in checkpoint create delete events exec features kill list pause ps restore resume run spec start state update; do
		run -0 oci "$command" --help
		[ "${lines[0]}" = NAME: ]
		[[ ${lines[1]} == *"$command"* ]]
		[[ $output == *EXAMPLE:*OPTIONS:* ]]
		run -0 oci "$command" -h
	done
	run -0 oci --help
	[[ ${lines[1]} == *"Open Container Initiative runtime"* ]]
	run -0 oci help run
	[[ $output == *--no-subreaper* ]]
}

@test "the version is printed in the form that engines parse" {
	run -0 oci --version
	[[ ${lines[0]} =~ ^[a-z-]+\ version\ [0-9]+\.[0-9]+\.[0-9]+ ]]
	[[ $output == *"spec: "[0-9]* ]]
}

@test "what is wrong with the command line is said, with status 1, or 3 for no such command" {
	run -3 oci nope
	[[ $output == *"No help topic for 'nope'"* ]]
	run -1 oci state
	[[ $output == *'\"state\" requires exactly 1 argument(s)'* ]]
	run -1 oci kill
	[[ $output == *'\"kill\" requires a minimum of 1 argument(s)'* ]]
	run -1 oci create --nope "$ID"
	[[ $output == *"--nope"* ]]
	run -1 oci create --pid-file
	[[ $output == *"needs an argument"* ]]
	run -1 oci --log-format xml list
	[[ $output == *"invalid log-format: xml"* ]]
	run -1 oci state ''
	[[ $output == *"container id cannot be empty"* ]]
	run -1 oci --rootless=perhaps list
}

@test "flags may have one dash, as in runc" {
	args true
	run -0 oci run -bundle "$BUNDLE" -keep "$ID"
	run -0 oci delete -force "$ID"
}

@test "errors go to the log, in text or JSON, and to standard error" {
	run -1 oci state nobody
	[[ $output =~ ^time=\"20.*Z\"\ level=error\ msg=.*container\ does\ not\ exist ]]
	run -1 --separate-stderr oci --log log --log-format json state nobody
	# shellcheck disable=SC2154 # bats sets it
	[[ $stderr == *"container does not exist"* ]]
	[ "$(jq -r .level log)" = error ]
	[[ $(jq -r .msg log) == *"container does not exist"* ]]
}

@test "spec writes a configuration once, which runs" {
	mkdir fresh
	run -0 oci spec --bundle fresh
	[ "$(jq -r '.process.args[0]' fresh/config.json)" = sh ]
	run -1 oci spec -b fresh
	[[ $output == *"File config.json exists. Remove it first"* ]]
	run -1 oci spec -b nowhere
	mkdir rootless && run -0 oci spec --rootless -b rootless
	[ "$(jq '[.linux.namespaces[].type] | index("user") != null' rootless/config.json)" = true ]
}

@test "features is JSON that names what the specification asks for" {
	run -0 oci features
	[ "$(jq -r '.linux.namespaces | join(" ")' <<<"$output")" = "cgroup ipc mount network pid time user uts" ]
	[ "$(jq '.mountOptions | index("rro") != null' <<<"$output")" = true ]
	[ "$(jq .linux.seccomp.enabled <<<"$output")" = true ]
}

@test "checkpoint without criu says what to install, and the container goes on" {
	oci_start "$ID"
	run -1 oci --criu /nowhere/criu checkpoint "$ID"
	[[ $output == *"executable file not found"*"install"*criu* ]]
	is "$ID" running
	run -1 oci checkpoint nobody
	[[ $output == *"container does not exist"* ]]
}

@test "a criu that fails is quoted from its log" {
	cat >fake-criu <<-'END'
		#!/bin/sh
		[ "$1" = swrk ] || exit 2
		for log in dump restore; do echo "(00.1) Error (criu/made-up.c:7): no luck today" >img/$log.log; done
		exit 1
	END
	chmod +x fake-criu
	oci_start "$ID"
	run -1 oci --criu "$BUNDLE/fake-criu" checkpoint --image-path img "$ID"
	[[ $output == *"criu failed: type DUMP"*"dump.log"*"no luck today"* ]]
	is "$ID" running
	run -1 oci --criu "$BUNDLE/fake-criu" restore --image-path img "$ID-2"
	[[ $output == *"criu failed: type RESTORE"*"no luck today"* ]]
	run -1 oci state "$ID-2"
}
