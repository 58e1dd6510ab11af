# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2010,SC2154,SC2178,SC2128
# shellcheck shell=bash
#
# What the tests of the engine share: a store of their own in a temporary directory, with the image "busybox" in it.

# shellcheck disable=SC2154 # output: assigned by bats' run

# shellcheck source=tests/eventually.bash
source "${BASH_SOURCE[0]%/*}/../eventually.bash"
export CAISSON_BUILD=${CAISSON_BUILD:-$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)/build}

# For setup_file: makes the store, or skips the file.
store_make()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -x "$CAISSON_BUILD/bin/caisson" ] || skip "caisson is not built"
	export STORE=$BATS_FILE_TMPDIR/store
	"${BASH_SOURCE[0]%/*}/../../tools/make-default-image" "$BATS_FILE_TMPDIR/busybox.tar"
	caisson image import -c 'CMD ["/bin/sh"]' "$BATS_FILE_TMPDIR/busybox.tar" busybox >"$BATS_FILE_TMPDIR/import.log"
	: >"$BATS_FILE_TMPDIR/empty"
}

# For teardown_file: ends whatever tests have left.
store_remove()
{
	[ -n "${STORE:-}" ] || return 0
	# shellcheck disable=SC2046 # one word per instance
	caisson rm -f $(caisson ps -aq) >"$BATS_FILE_TMPDIR/rm.log" 2>&1
	rm -rf "$STORE"
}

# Standard input is never the machine's own /dev/null.
caisson()
{
	"$CAISSON_BUILD/bin/caisson" --root "$STORE" "$@"
}

# bats' run, with an empty standard input.
try()
{
	run caisson "$@" <"$BATS_FILE_TMPDIR/empty"
}

# The same for a command that must end with 127, which bats warns about otherwise.
try_127()
{
	run -127 caisson "$@" <"$BATS_FILE_TMPDIR/empty"
}

state_of()
{
	caisson inspect -f '{{.State.Status}}' "$1"
}

# is_in_state NAME STATE
is_in_state()
{
	[ "$(state_of "$1")" = "$2" ]
}

process_of()
{
	caisson inspect -f '{{.State.Pid}}' "$1"
}

# The monitor is the parent of process 1.
monitor_of()
{
	awk '/^PPid:/ { print $2 }' "/proc/$(process_of "$1")/status"
}

no_such_process()
{
	[ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}

# nothing_left ID...: neither of these instances nor of any other in the store is anything left, anywhere.
nothing_left()
{
	local id left
	for id in "$@"; do
		left=$(find /sys/fs/cgroup -maxdepth 3 -type d -name "*$id*" 2>&1)
		[ -z "$left" ] || { echo "cgroups: $left"; return 1; }
	done
	left=$(grep -F "$STORE" /proc/self/mountinfo) && { echo "mounts: $left"; return 1; }
	left=$(pgrep -a -f -- "--root $STORE|$STORE/instances|caisson-monitor .* $STORE") && { echo "processes: $left"; return 1; }
	left=$(ls -A "$STORE/instances" "$STORE/names" "$STORE/pending" "$STORE/leases" | grep -v "^$STORE\|^$")
	[ -z "$left" ] || { echo "in the store: $left"; return 1; }
	left=$(find "$STORE/run" -mindepth 1 -maxdepth 1 ! -name "@*") # no id begins so: compiled filters
	[ -z "$left" ] || { echo "of the runtime: $left"; return 1; }
}
