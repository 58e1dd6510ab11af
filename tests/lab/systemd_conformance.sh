#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lab: v2 apart
#
# systemd_conformance - the control groups of the OCI runtime specification with --systemd-cgroup, below a real systemd.
# Prints TAP.  With LAB_FULL=1 all of the specification.
set -u
filter='runtime.md (create|delete)|devices list: MUST (deny|allow)|memory.limit|memory.swap|cpu.(shares|quota|cpus)|pids|unified|cgroup ownership'
[ -z "${LAB_FULL:-}" ] || filter=

exec ./systemd-in-lab.sh --inside env CF_PATIENCE=60 ../conformance/run --runtime "$CAISSON_BUILD/bin/caisson-oci" \
	--format tap --filter "$filter" --systemd
