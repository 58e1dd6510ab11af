/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in until shell/seccomp.c is there; goes then. */
#include "paradigm/shell/seccomp.h"

#include <errno.h>

int seccomp_compile_cached(const struct oci_seccomp *profile, int cache_fd, struct seccomp_filter *filter,
			   struct error *err)
{
	(void)profile;
	(void)cache_fd;
	(void)filter;
	return error_set(err, ENOSYS, "seccomp is not built in yet");
}

int seccomp_filter_load(const struct seccomp_filter *filter, struct error *err)
{
	(void)filter;
	return error_set(err, ENOSYS, "seccomp is not built in yet");
}

int seccomp_listener_send(const char *path, int listener, pid_t pid, const char *metadata, const char *state_json,
			  struct error *err)
{
	(void)path;
	(void)listener;
	(void)pid;
	(void)metadata;
	(void)state_json;
	return error_set(err, ENOSYS, "seccomp is not built in yet");
}
