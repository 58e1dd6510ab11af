/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for what is read of the kernel's cgroup files: an input is a mountinfo file, after a NUL a
 * /proc/PID/cgroup file, after another a flat-keyed one.  The kernel is trusted, the names of mount points in it are
 * anybody's.
 */
#include "fuzz.h"
#include "linux/cgroup.h"
#include "linux/cgroup_private.h"

static void check_host(const struct cgroup_host *host)
{
	check(host->count <= CGROUP_HIERARCHIES_MAX);
	for (size_t i = 0; i < host->count; i++) {
		const struct cgroup_hierarchy *hierarchy = &host->hierarchies[i];

		check(*hierarchy->mount == '/' && *hierarchy->root == '/');
		check(!hierarchy->own || *hierarchy->own == '/');
		check(hierarchy->v2 == !*hierarchy->controllers);
		check(hierarchy->v2 == (cgroup_host_find(host, "") == (int)i));
	}
	check(host->layout == CGROUP_V1 || cgroup_host_find(host, "") >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(size + 3, 1);
	const char *own, *keys;
	struct cgroup_host host;
	uint64_t value;

	check(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	own = text + strlen(text) + 1;
	keys = own + (own < text + size ? strlen(own) + 1 : 0);
	check(cgroup_host_parse_mounts(text, &host, NULL) == 0);
	check_host(&host);
	check(cgroup_host_parse_own(own, &host, NULL) == 0);
	check_host(&host);
	cgroup_host_free(&host);
	(void)cgroup_parse_key(keys, "oom_kill", &value);
	(void)cgroup_parse_number(keys, &value);
	free(text);
	return 0;
}
