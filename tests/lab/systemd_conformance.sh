#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lab: v2 apart
#
# systemd_conformance - the control groups of the OCI runtime specification with --systemd-cgroup, below a real systemd.
# Prints TAP.  With LAB_FULL=1 all of the specification.
set -u
filter='unified: MUST be|devices list: MUST (deny|allow reading)|memory.(limit|swap): MUST be the|cpu.(shares|quota|cpus): MUST be the|pids.limit: MUST be the|cgroup ownership: SHOULD be changed|runtime.md (pause|resume|kill|delete): MUST delete'
[ -z "${LAB_FULL:-}" ] || filter=

set -o pipefail
./systemd-in-lab.sh --inside env CF_PATIENCE=60 ../conformance/run --runtime "$CAISSON_BUILD/bin/caisson-oci" \
	--format tap --filter "$filter" --systemd | sed -E 's/^((not )?ok [0-9]+ )/\1systemd: /'
