#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # output, lines, status, stderr: assigned by bats' run
#
# What the programs say to somebody who got something wrong: on standard error, with the right exit code, in words that
# tell what to do next, and without colours.

bats_require_minimum_version 1.5.0
load caisson

setup_file()
{
	export CAISSON_BUILD=${CAISSON_BUILD:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build}
	store_make
	caisson run -d --name web --network none busybox sleep 1000 <"$BATS_FILE_TMPDIR/empty" >"$BATS_FILE_TMPDIR/web"
}

teardown_file()
{
	store_remove
}

setup()
{
	cd "$BATS_TEST_TMPDIR" || return
	mkdir -p bundle
	"$CAISSON_BUILD/bin/caisson-oci" spec -b bundle
}

oci()
{
	"$CAISSON_BUILD/bin/caisson-oci" --root "$BATS_TEST_TMPDIR/oci" "$@"
}

# Each line of standard input is CODE|ARGUMENTS|WORDS: PROGRAM with these arguments (split at blanks) must exit with
# CODE, print nothing on standard output, and say WORDS on standard error. All lines are tried before the test fails.
table()
{
	local program=$1 code arguments words wrong=0 tried=0 status output stderr
	while IFS='|' read -r code arguments words; do
		[ -n "$code" ] || continue
		tried=$((tried + 1))
		status=0
		# shellcheck disable=SC2086 # words
		"$program" $arguments <"$BATS_FILE_TMPDIR/empty" >out 2>err || status=$?
		output=$(cat out)
		stderr=$(cat err)
		if [ "$status" != "$code" ] || [ -n "$output" ] || [[ "$stderr" != *"$words"* ]] || [[ "$stderr" == *$'\033'* ]]; then
			echo "$program $arguments: $status, expected $code and \"$words\""
			echo "stdout: $output"
			echo "stderr: $stderr"
			wrong=1
		fi
	done
	[ "$tried" -gt 0 ] && [ "$wrong" = 0 ]
}

@test "caisson: a command or flag that is not there" {
	table caisson <<-'END'
		125||caisson COMMAND --help
		125|rnu busybox|did you mean 'caisson run'?
		125|xyzzy|'xyzzy' is not a caisson command
		125|xyzzy|See 'caisson --help'.
		125|image|Run 'caisson image COMMAND --help'
		125|image lod|did you mean 'caisson image load'?
		125|volume xyzzy|See 'caisson volume --help'.
		125|help xyzzy|See 'caisson --help'.
		125|--xyzzy ps|See 'caisson --help'.
		125|run --memroy 1m busybox|did you mean --memory?
		125|run --memroy 1m busybox|See 'caisson run --help'.
		125|run -Z busybox|unknown shorthand flag: 'Z' in -Z
		125|ps --xyzzy|unknown flag: --xyzzy
		125|run --memory|flag needs an argument: --memory
		125|run --rm=maybe busybox|expected true or false
		125|completion tcsh|bash, zsh, fish
	END
}

@test "caisson: too few or too many arguments, with the usage" {
	table caisson <<-'END'
		125|run|Usage: caisson run [OPTIONS] IMAGE [COMMAND] [ARG...]
		125|exec web|requires at least 2 arguments
		125|rename web|requires exactly 2 arguments
		125|ps extra|accepts no arguments
		125|images a b|requires at most 1 argument
		125|inspect|Usage: caisson inspect
		125|logs web web|requires exactly 1 argument
		1|update web|caisson update --help
	END
}

@test "caisson: values that cannot be, with those that can" {
	table caisson <<-'END'
		125|run --memory much busybox|write it like 512k, 64m, 2g
		125|run --memory 1k busybox|Minimum memory limit allowed is 512KB
		125|run --cpus -1 busybox|like 0.5 or 2
		125|run --network bridge busybox|none (the default), host and container:NAME
		125|run --isolation wasm busybox|comes in a later release
		125|run --isolation xyzzy busybox|known are container, pv, vm, auto
		125|run --vcpus 2 busybox|say --isolation pv, or vm
		125|run --isolation pv --vcpus many busybox|expected a number of virtual CPUs
		125|run --isolation pv --hugepages 4k busybox|known are 2M and 1G
		125|run --isolation pv --engine xen busybox|known are auto, kvm and qemu
		125|run --isolation pv --network host busybox|has a kernel of its own and shares no namespace
		125|run --isolation vm --pid host busybox|has a kernel of its own and shares no namespace
		125|run --isolation vm --device /dev/null busybox|has no device files of the host
		125|run -v here:there busybox|mount path must be absolute
		125|run --mount type=xyzzy busybox|known are bind, volume and tmpfs
		125|run --mount type=bind,source=/none/such,target=/x busybox|does not exist
		125|run --name -x busybox|only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed
		125|run --cap-add XYZZY busybox|see capabilities(7)
		125|run --security-opt xyzzy busybox|no-new-privileges
		125|run --ulimit nofile busybox|write it like nofile=1024:2048
		125|run --sysctl kernel.panic=1 busybox|net.*
		125|run --restart sometimes busybox|on-failure[:N]
		125|run --log-driver syslog busybox|known are json-file and none
		125|run --log-opt colour=red busybox|known are max-size and max-file
		125|run --stop-signal XYZZY busybox|invalid signal: XYZZY
		125|run --userns private busybox|known is host
		125|run --pid xyzzy busybox|known are host, private and container:NAME
		125|run --tmpfs here busybox|not an absolute path
		125|run --device here busybox|write it like /dev/fuse
		125|run --device-read-bps /dev/x busybox|write it like /dev/sda:10mb
		125|run --add-host here busybox|write it like name:192.0.2.1
		125|run -w here busybox|absolute path
		125|run --env-file none busybox|open none: no such file
		125|run --rm --restart always busybox|Conflicting options
		125|run -it busybox|leave -t out
		125|run --platform linux/m68k busybox|the image is for linux/
		1|kill -s XYZZY web|signal(7)
		1|logs --tail x web|a number of lines, or all
		1|logs --since x web|42m
		1|ps --filter colour=red|known are id, name, label
		1|ps --filter status=happy|created, running, paused
		1|ps --filter colour|expected name=value
		1|ps --format {{.Xyzzy}}|no field "Xyzzy"
		1|volume create ../x|use absolute path
	END
}

@test "caisson: what is not UTF-8 is refused, not left out" {
	local latin=$'\xff'
	printf 'LATIN=%s\n' "$latin" >"env"
	run -125 caisson run busybox echo one "$latin"
	[[ "$output" == *"argument "*" is not valid UTF-8"* ]]
	run -125 caisson run --env-file env busybox
	[[ "$output" == *"'LATIN' is not valid UTF-8"* ]]
	BAD=$latin run -125 caisson run -e BAD busybox
	[[ "$output" == *"'BAD' is not valid UTF-8"* ]]
}

@test "caisson: what is not there, with where to look" {
	table caisson <<-'END'
		125|run nobody|caisson image load
		125|run Nobody|must be lowercase
		125|run --network container:nobody busybox|No such container: nobody; `caisson ps -a` lists
		1|start nobody|`caisson ps -a` lists
		1|stop nobody|No such container: nobody
		1|exec nobody ls|No such container: nobody
		1|rm nobody|No such container: nobody
		1|logs nobody|No such container: nobody
		1|attach nobody|No such container: nobody
		1|wait nobody|No such container: nobody
		1|top nobody|No such container: nobody
		1|stats --no-stream nobody|No such container: nobody
		1|rmi nobody|No such image: nobody; `caisson images` lists
		1|history nobody|No such image: nobody
		1|save nobody|No such image: nobody
		1|tag nobody x|No such image: nobody
		1|volume rm nobody|`caisson volume ls` lists
		125|run --user nobody9 busybox|a user of the image
		127|run --network none busybox xyzzy|executable file not found in $PATH
		126|run --network none busybox /etc/passwd|permission denied
		127|exec web xyzzy|executable file not found in $PATH
	END
}

@test "caisson: what cannot be done now, with what can" {
	table caisson <<-'END'
		1|rm web|caisson rm -f web
		125|run --name web busybox|already in use
		1|unpause web|not paused
		1|rmi busybox|remove that first, or say -f
		1|container prune|say -f to do it
		1|system prune|say -f to do it
		1|image prune|say -f to do it
		1|volume prune|say -f to do it
		125|pull busybox|caisson load
		125|push busybox|caisson save
		125|build .|caisson load
		125|cp a b|-v
		125|network ls|--network none
		125|run -p 80:80 busybox|--network host
		125|run --pull always busybox|load or import
	END
}

@test "caisson: a store that cannot be" {
	run --separate-stderr "$CAISSON_BUILD/bin/caisson" --root /etc ps
	[ "$status" = 1 ]
	[ -z "$output" ]
	[[ "$stderr" == *"is not an image store"*"--root"* ]]
	: >file
	run --separate-stderr "$CAISSON_BUILD/bin/caisson" --root file/below ps
	[ "$status" = 1 ]
	[[ "$stderr" == *"cannot open image store"*"--root"* ]]
}

@test "caisson-oci: runc's exit codes, and what to do next" {
	table oci <<-'END'
		3|xyzzy|No help topic for 'xyzzy'; `caisson-oci --help` lists
		3|dleete x|did you mean 'delete'?
		1|--xyzzy list|See 'caisson-oci --help'.
		1|run --no-pivto x|did you mean --no-pivot?
		1|run|See 'caisson-oci run --help'.
		1|run a b|requires exactly 1 argument(s)
		1|kill|requires a minimum of 1 argument(s)
		1|spec extra|requires exactly 0 argument(s)
		1|run --preserve-fds x a|expected a whole number
		1|run -b none a|--bundle names its directory
		1|create -b bundle a/b|letters, digits and
		1|run -b bundle a|root.path of config.json
		1|state nobody|`caisson-oci list` shows
		1|start nobody|container does not exist
		1|kill nobody|container does not exist
		1|delete nobody|container does not exist
		1|pause nobody|container does not exist
		1|ps nobody|container does not exist
		255|exec nobody ls|container does not exist
		1|list --format xml|known are table and json
		1|--log-format xml list|known are text and json
		1|--log none/such list|cannot open the log
		1|--rootless maybe list|true, false or auto
		1|completion tcsh|bash, zsh, fish
		1|spec -b none|cannot open the bundle none
	END
	run --separate-stderr oci delete --force nobody
	[ "$status" = 0 ]
	[ -z "$output$stderr" ]
}

@test "no colours, on a terminal or off it, with NO_COLOR or without" {
	local colour
	for colour in '' 1; do
		# shellcheck disable=SC2016 # the inner shell's
		NO_COLOR=$colour TERM=xterm-256color script -qec '"$CAISSON_BUILD/bin/caisson" --root "$STORE" run --xyzzy busybox
			"$CAISSON_BUILD/bin/caisson" --root "$STORE" ps -a
			"$CAISSON_BUILD/bin/caisson" run --help
			"$CAISSON_BUILD/bin/caisson-oci" --root oci state nobody
			"$CAISSON_BUILD/bin/caisson-oci" --help' log <"$BATS_FILE_TMPDIR/empty" >shown
		grep -q 'unknown flag: --xyzzy' shown
		run grep -c $'\033' shown
		[ "$output" = 0 ]
	done
}

@test "stats clears the screen on a terminal only" {
	run caisson stats --no-stream web
	[[ "$output" != *$'\033'* ]]
}
