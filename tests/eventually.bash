# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# eventually CONDITION...: tries for a minute and a half, for a machine may be slow, or shared; what the condition said
# at last is shown if it never came true.
eventually()
{
	local i said=${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/eventually
	for ((i = 0; i < 900; i++)); do
		"$@" >"$said" 2>&1 && return 0
		sleep 0.1
	done
	echo "never came true: $*"
	cat "$said"
	return 1
}
