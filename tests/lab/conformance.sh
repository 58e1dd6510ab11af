#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lab: v1 v2 apart
#
# conformance - what of the OCI runtime specification only the lab's kernels can show, in both cgroup layouts.  Prints
# TAP.  With LAB_FULL=1 all of it, which takes half an hour.
set -u
filter='cgroup ownership|unified|devices list: MUST (deny|allow|be applied|NOT)|hugepage|blockIO.(weight|throttleReadB)|timeOffsets: MUST be the|memory.(limit|swap): MUST be the|cpu.(shares|burst|idle|cpus): MUST be|pids.limit: MUST be (the|enf)|cgroupsPath: MUST be (rel|cre)'
[ "$LAB_CGROUP" = v2 ] || filter='hugepage|network\.(class|prio)|blockIO.weight|cpu.realtime|kernelTCP'
[ -z "${LAB_FULL:-}" ] || filter=

# A disk whose scheduler knows weights.
echo bfq >/sys/block/vda/queue/scheduler

export CF_PATIENCE=60
exec ../conformance/run --runtime "$CAISSON_BUILD/bin/caisson-oci" --format tap --filter "$filter"
