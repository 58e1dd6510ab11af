#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2010,SC2154,SC2178,SC2128
#
# What goes in and out: logs, attach, exec, terminals.

bats_require_minimum_version 1.5.0
load caisson
load terminal

setup_file() { store_make; }
teardown_file() { store_remove; }

teardown()
{
	# shellcheck disable=SC2046 # one word per instance
	caisson rm -f $(caisson ps -aq) >"$BATS_TEST_TMPDIR/rm.log" 2>&1 || true
}

log_of()
{
	caisson inspect -f '{{.LogPath}}' "$1"
}

@test "logs shows both streams, in docker's json-file format on disk" {
	caisson run --name box busybox sh -c 'echo out; echo "quote \" tab	." >&2; printf "no newline"'
	run --separate-stderr caisson logs box
	[ "$output" = $'out\nno newline' ]
	[ "$stderr" = $'quote " tab\t.' ]
	jq -es 'length == 3 and .[0].log == "out\n" and .[0].stream == "stdout" and .[1].stream == "stderr"
		and .[2].log == "no newline" and (.[0].time | test("^[0-9-]+T[0-9:]+\\.[0-9]{9}Z$"))' "$(log_of box)"
}

@test "logs --tail, --since, --until, -t" {
	caisson run --name box busybox sh -c 'for i in 1 2 3 4 5; do echo $i; done; echo late'
	# All but the last one have been said about an hour ago, a second apart.
	jq -c '(.log | rtrimstr("\n") | tonumber? // null) as $n | if $n then .time |= (.[:19] + "Z" | fromdate - 3600 + $n | todate) else . end' \
		"$(log_of box)" >"$BATS_TEST_TMPDIR/log"
	cp "$BATS_TEST_TMPDIR/log" "$(log_of box)"
	[ "$(caisson logs --tail 2 box)" = $'5\nlate' ]
	[ "$(caisson logs -n 0 box)" = "" ]
	[ "$(caisson logs --since 30m box)" = late ]
	[ "$(caisson logs --until "$(jq -rs '.[0].time' "$(log_of box)")" box)" = 1 ]
	[[ "$(caisson logs -t --tail 1 box)" == 20*Z\ late ]]
	try logs --tail many box
	[ "$status" -eq 1 ]
	try logs --since yesterday box
	[ "$status" -eq 1 ]
}

@test "logs -f follows until the end" {
	caisson run -d --name box busybox sh -c 'for i in 1 2 3; do echo $i; sleep 0.2; done'
	[ "$(timeout 60 "$CAISSON_BUILD/bin/caisson" --root "$STORE" logs -f box)" = $'1\n2\n3' ]
}

@test "long lines are split in the log and whole again in logs; what is no UTF-8 is replaced" {
	caisson run --name box busybox sh -c 'head -c 50000 /dev/zero | tr "\0" x; echo; printf "\377\n"'
	[ "$(jq -rs '[.[] | .log | length] | join(" ")' "$(log_of box)")" = "16384 16384 16384 849 2" ] ||
		{ jq -rs '[.[] | .log | length]' "$(log_of box)"; false; }
	[ "$(caisson logs box | head -1 | wc -c)" -eq 50001 ]
	[ "$(caisson logs box | tail -1)" = $'\xef\xbf\xbd' ]
}

@test "logs shows every byte that a log can hold, NUL too" {
	caisson run --name box busybox printf 'a\0b\001\033\177c\n' >"$BATS_TEST_TMPDIR/printed"
	[ "$(stat -c %s "$BATS_TEST_TMPDIR/printed")" -eq 8 ]
	caisson logs box | cmp - "$BATS_TEST_TMPDIR/printed"
}

@test "the log is rotated by --log-opt, and logs reads all of it" {
	caisson run --name box --log-opt max-size=10k --log-opt max-file=3 busybox sh -c 'i=0; while [ $i -lt 400 ]; do echo "line $i"; i=$((i+1)); done'
	log=$(log_of box)
	[ -e "$log.1" ] && [ -e "$log.2" ] && [ ! -e "$log.3" ]
	[ "$(stat -c %s "$log.1")" -le 20000 ]
	[ "$(caisson logs box | tail -1)" = "line 399" ]
	first=$(caisson logs box | head -1)
	[ "$(caisson logs box | wc -l)" -eq $((400 - ${first#line })) ]
	try run --log-opt max-size=lots busybox true
	[ "$status" -eq 125 ]
}

@test "--log-driver none keeps no log" {
	caisson run --name box --log-driver none busybox echo x
	[ ! -e "$(log_of box)" ]
	try logs box
	[ "$status" -eq 1 ]
}

@test "attach sees what comes, and gives the exit code" {
	caisson run -d --name box busybox sh -c 'until [ -e /go ]; do echo up; sleep 0.05; done; echo now; exit 5'
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" attach box >"$BATS_TEST_TMPDIR/seen" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	attached=$!
	eventually grep up "$BATS_TEST_TMPDIR/seen"
	caisson exec box touch /go
	code=0
	wait "$attached" || code=$?
	[ "$code" -eq 5 ]
	[ "$(tail -1 "$BATS_TEST_TMPDIR/seen")" = now ]
	try attach box
	[ "$status" -eq 1 ]
	[[ "$output" == *"cannot attach to a stopped container"* ]]
}

@test "attach feeds an instance that was started with -i" {
	caisson run -d -i --name box busybox sh -c 'read x; echo "got $x"'
	run caisson attach box < <(echo hello)
	[ "$output" = "got hello" ]
}

@test "two can attach at once, and a signal of one is the instance's" {
	caisson run -d --name box busybox sh -c 'trap "echo bye; exit 6" TERM; while :; do echo up; sleep 0.05; done'
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" attach box >"$BATS_TEST_TMPDIR/one" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	first=$!
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" attach box >"$BATS_TEST_TMPDIR/two" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	second=$!
	eventually grep up "$BATS_TEST_TMPDIR/one"
	eventually grep up "$BATS_TEST_TMPDIR/two"
	kill -TERM "$first"
	code=0
	wait "$second" || code=$?
	[ "$code" -eq 6 ]
	code=0
	wait "$first" || code=$?
	[ "$code" -eq 6 ]
	[ "$(tail -1 "$BATS_TEST_TMPDIR/one")" = bye ]
	[ "$(tail -1 "$BATS_TEST_TMPDIR/two")" = bye ]
}

@test "a foreground run passes signals on" {
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" run --rm --name box busybox \
		sh -c 'trap "exit 12" INT; echo up; while :; do sleep 0.05; done' >"$BATS_TEST_TMPDIR/out" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	pid=$!
	eventually grep up "$BATS_TEST_TMPDIR/out"
	kill -INT "$pid"
	code=0
	wait "$pid" || code=$?
	[ "$code" -eq 12 ]
	eventually nothing_left
}

@test "a signal that comes while a run starts is the instance's, too" {
	command -v strace >"$BATS_TEST_TMPDIR/strace" || skip "needs strace"
	# Process 1 of an instance does not hear a signal for which it has no handler: only the command could die of it.
	run strace -o "$BATS_TEST_TMPDIR/trace" -e trace=clone,fork,vfork,read -e inject=clone,fork,vfork:signal=SIGTERM \
		"$CAISSON_BUILD/bin/caisson" --root "$STORE" run --rm -v "$BATS_TEST_TMPDIR:/test" busybox \
		sh -c 'until grep "^read([0-9]*, \"\\\\17\\\\0" /test/trace; do sleep 0.05; done; exit 5' <"$BATS_FILE_TMPDIR/empty"
	[ "$status" -eq 5 ]
	eventually nothing_left
}

@test "--sig-proxy=false keeps signals from the instance" {
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" run --sig-proxy=false --name box busybox \
		sh -c 'trap "exit 12" TERM; echo up; while :; do sleep 0.05; done' >"$BATS_TEST_TMPDIR/out" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	pid=$!
	eventually grep up "$BATS_TEST_TMPDIR/out"
	kill -TERM "$pid"
	code=0
	wait "$pid" || code=$?
	[ "$code" -eq 143 ]
	[ "$(state_of box)" = running ]
}

@test "an attach on a terminal that is ended gives the terminal back" {
	caisson run -dit --name box busybox sh <"$BATS_FILE_TMPDIR/empty"
	run on_terminal "$(me) attach box </dev/tty & until stty -a | grep -e -icanon; do sleep 0.05; done
		kill -TERM \$!; wait \$!; stty -a"
	[[ "$output" == *" -icanon "*" icanon "* ]]
	[ "$(state_of box)" = running ]
}

@test "start -a attaches, start -ai feeds" {
	caisson create --name box busybox sh -c 'echo hello; exit 8'
	try start -a box
	[ "$status" -eq 8 ]
	[ "$output" = hello ]
	caisson create -i --name cat busybox cat
	run caisson start -ai cat < <(echo fed)
	[ "$output" = fed ]
}

@test "exec: output, exit code, environment, directory, user" {
	caisson run -d --name box -e IN=image busybox sleep 100
	try exec -e A=1 -w /tmp box sh -c 'echo "$A $IN $PWD"; exit 9'
	[ "$status" -eq 9 ]
	[ "$output" = "1 image /tmp" ]
	[ "$(caisson exec -e IN=exec box sh -c 'env | grep IN=')" = IN=exec ]
	try exec -u 1000:1000 box sh -c 'id; grep -E "CapEff|CapPrm" /proc/self/status'
	[[ "$output" == "uid=1000 gid=1000"*0000000000000000*0000000000000000 ]]
	try exec --privileged box grep CapEff /proc/self/status
	[[ "$output" != *00000000a80425fb ]]
	run caisson exec -i box cat < <(echo through)
	[ "$output" = through ]
	try exec -d box sh -c 'echo made >/made'
	[ "$status" -eq 0 ]
	eventually caisson exec box test -e /made
}

@test "exec: 127, 126, and an instance that does not run" {
	caisson run -d --name box busybox sleep 100
	try_127 exec box no-such
	try_127 exec -w /none box true
	try exec -w /etc/hosts box true
	[ "$status" -eq 126 ]
	try exec -u nobody-knows box true
	[ "$status" -eq 126 ]
	try exec box /etc/passwd
	[ "$status" -eq 126 ]
	caisson stop -t 0 box
	try exec box true
	[ "$status" -eq 1 ]
	[[ "$output" == *"is not running"* ]]
}

@test "exec does not end with the instance's output, and a signal reaches the process" {
	caisson run -d --name box busybox sleep 100
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" exec box sh -c 'trap "exit 33" TERM; echo up; while :; do sleep 0.05; done' \
		>"$BATS_TEST_TMPDIR/out" <"$BATS_FILE_TMPDIR/empty" 3>&- &
	pid=$!
	eventually grep up "$BATS_TEST_TMPDIR/out"
	kill -TERM "$pid"
	code=0
	wait "$pid" || code=$?
	[ "$code" -eq 33 ]
}

me()
{
	echo "'$CAISSON_BUILD/bin/caisson' --root '$STORE'"
}

@test "-it gives a terminal of the right size" {
	run on_terminal "stty rows 33 cols 77; $(me) run -it --rm busybox sh -c 'tty; stty size; echo \$TERM'"
	[[ "$output" == */dev/*33\ 77*xterm* ]]
}

@test "-it follows when the window changes" {
	# The instance says when it is there, by its log; then the window changes, and it waits for seeing that.
	run on_terminal "stty rows 20 cols 40
		(until $(me) logs box | grep -q there; do sleep 0.1; done; stty rows 50 cols 120 </dev/tty) &
		$(me) run -it --rm --name box busybox sh -c 'echo there
		i=0; until stty size | grep -q ^50 || [ \$i = 600 ]; do i=\$((i+1)); sleep 0.1; done; stty size'"
	[[ "$output" == *"50 120"* ]] || { echo "$output"; false; }
}

# types_to_shell END: for a shell at its prompt: a sum, and END once the answer is there.
types_to_shell()
{
	seen '# '
	printf 'echo $((6*7))\n'
	seen 42
	printf '%b' "$1"
}

@test "what is typed reaches the shell, ctrl-d ends it" {
	run on_terminal "$(me) run -it --rm busybox sh" types_to_shell '\004'
	[ "$status" -eq 0 ]
	[[ "$output" == *42* ]]
	eventually nothing_left
}

interrupts()
{
	seen ready
	printf '\003'
}

@test "ctrl-c reaches the program, not the command" {
	run on_terminal "$(me) run -it --rm busybox sh -c 'trap \"echo caught; exit 0\" INT; echo ready; while :; do sleep 0.05; done'" \
		interrupts
	[ "$status" -eq 0 ]
	[[ "$output" == *caught* ]]
}

types_to_attached()
{
	# What the shell has said before is not shown again: a new line has it prompt once more.
	printf '\n'
	seen '# '
	printf 'echo $((9*9))\n'
	seen 81
	printf ab
}

@test "the detach keys leave it running; attach comes back" {
	run on_terminal "$(me) run -it --name box busybox sh" types_to_shell '\020\021'
	[ "$status" -eq 0 ]
	[ "$(state_of box)" = running ]
	run on_terminal "$(me) attach --detach-keys a,b box" types_to_attached
	[ "$status" -eq 0 ]
	[[ "$output" == *81* ]]
	[ "$(state_of box)" = running ]
	[[ "$(caisson logs box)" == *42*81* ]]
}

@test "exec -it gives a terminal" {
	caisson run -d --name box busybox sleep 100
	run on_terminal "stty rows 11 cols 22; $(me) exec -it box sh -c 'tty; stty size; exit 4'"
	[ "$status" -eq 4 ]
	[[ "$output" == *"11 22"* ]]
}

@test "-t without a terminal on the other side" {
	try run --rm -t busybox sh -c 'test -t 1 && echo tty'
	[ "$output" = $'tty\r' ]
	run caisson run --rm -it busybox true < <(echo)
	[ "$status" -eq 125 ]
	[[ "$output" == *"not a TTY"* ]]
}

@test "the caller's terminal does not get inside without -t" {
	run on_terminal "$(me) run --rm -i busybox sh -c 'test -t 0 || echo no terminal'"
	[[ "$output" == *"no terminal"* ]]
	caisson run -d --name box busybox sleep 100
	run on_terminal "$(me) exec -i box sh -c 'test -t 0 -o -t 1 || echo no terminal'"
	[[ "$output" == *"no terminal"* ]]
}

@test "exec -i takes what the process prints while it has not read all of its input" {
	caisson run -d --name box busybox sleep 60
	yes 0123456789 | head -c 1000000 >"$BATS_TEST_TMPDIR/input"
	timeout -s KILL 90 "$CAISSON_BUILD/bin/caisson" --root "$STORE" exec -i box od -v <"$BATS_TEST_TMPDIR/input" >"$BATS_TEST_TMPDIR/output"
	caisson run --rm -i busybox od -v <"$BATS_TEST_TMPDIR/input" | cmp - "$BATS_TEST_TMPDIR/output"
}
