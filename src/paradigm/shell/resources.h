/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resources - linux.resources of the OCI specification, as control files.
 *
 * The policy that linux/cgroup does not have: which property goes into which
 * file of which controller, in version 1 and version 2 (config-linux.md,
 * "Control groups"; conversions as in systemd and runc: shares to weight,
 * swap = memory + swap).
 */
#ifndef CAISSON_PARADIGM_SHELL_RESOURCES_H
#define CAISSON_PARADIGM_SHELL_RESOURCES_H

#include <stdbool.h>

#include "base/error.h"
#include "linux/cgroup.h"
#include "spec/runtime.h"

enum { RESOURCES_CONTROLLERS_MAX = 16 };

/*
 * The controllers that a container with these resources needs: those that its limits name, and the ones that pause,
 * statistics and process listing stand on.  Joining fewer hierarchies is what makes creation fast: the specification
 * leaves the rest to the runtime.  list is NULL-terminated.
 */
void resources_controllers(const struct oci_resources *resources, enum cgroup_layout layout,
			   const char *list[static RESOURCES_CONTROLLERS_MAX + 1]);

enum {
	/* The cgroup is in use: device rules that nobody gave are left alone, and memory limits are raised and lowered
	 * in the order the kernel needs. */
	RESOURCES_UPDATE = 1 << 0,
	/* Device rules, which no unprivileged user can set (nor needs: what a device allows is its owner's and mode's
	 * to say), are left out when the kernel refuses them. */
	RESOURCES_ROOTLESS = 1 << 1,
	/* Device rules come later, by resources_apply_devices(): the process that the cgroup is for has nodes to make.
	 */
	RESOURCES_WITHOUT_DEVICES = 1 << 2,
};

/* Writes everything that is set.  Fails on the first file that does not take its value. */
int resources_apply(const struct cgroup *cgroup, const struct oci_resources *resources, unsigned flags,
		    struct error *err);
/* The device rules alone. */
int resources_apply_devices(const struct cgroup *cgroup, const struct oci_resources *resources, unsigned flags,
			    struct error *err);

/* Whether anything but devices is limited: what a container without a cgroup cannot be given. */
bool resources_limited(const struct oci_resources *resources);

/* cpu.shares (2..262144) as cpu.weight (1..10000); 0 stays 0. */
uint64_t resources_cpu_weight(uint64_t shares);

/* blkio.weight (10..1000) as io.weight (1..10000). */
uint64_t resources_io_weight(uint64_t weight);

#endif
