#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# lab: v2
#
# With a real systemd as the manager of the cgroup tree.  It is the last file by name: systemd takes the whole tree.

@test "systemd: the unit tests of the systemd room" {
	run ./systemd-in-lab.sh --inside env CMOCKA_MESSAGE_OUTPUT=TAP \
		"$CAISSON_BUILD/tests/unit/test_systemd" "$CAISSON_BUILD/bin/caisson-systemd"
	echo "$output"
	[ "$status" = 0 ]
	[ "$(grep -c '^ok' <<<"$output")" -ge 3 ] # none of them skipped for want of a systemd
}
