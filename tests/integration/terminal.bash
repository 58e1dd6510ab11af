# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What tests share that need a terminal: script(1) makes one, and somebody types when what was waited for is there.
# Whoever loads this has eventually().

# on_terminal LINE [TYPIST...]: runs LINE, for bash(1), on a terminal of its own, and prints what was to be seen there.  What
# the command TYPIST prints is typed.  After that nothing is, and no end comes either: a test that is slow to read has
# neither missed it nor taken it for its own.
on_terminal()
{
	local line=$1 typist='' status=0
	shift
	export SHOWN=$BATS_TEST_TMPDIR/shown
	rm -f "$BATS_TEST_TMPDIR/keys"
	mkfifo "$BATS_TEST_TMPDIR/keys"
	: >"$SHOWN"
	if [ $# -gt 0 ]; then
		"$@" >"$BATS_TEST_TMPDIR/keys" 3>&- &
		typist=$!
	fi
	# script(1) runs the line by $SHELL, which may be anything.
	SHELL=$BASH timeout 90 script -qefc "$line" /dev/null <>"$BATS_TEST_TMPDIR/keys" >"$SHOWN" 3>&- || status=$?
	[ -z "$typist" ] || kill "$typist" 2>"$BATS_TEST_TMPDIR/typist" || true
	cat "$SHOWN"
	return "$status"
}

# seen TEXT: waits until the terminal shows it; for typists.
seen()
{
	eventually grep -qF -- "$1" "$SHOWN" >&2
}
