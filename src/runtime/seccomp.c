/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's seccomp filter, by the cache of compiled ones in the state directory.  In the parent: a child in a
 * user namespace could neither read the cache nor write to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "paradigm/shell/seccomp.h"
#include "runtime/internal.h"

static int open_cache(const struct runtime *runtime)
{
	cleanup_free char *path = path_join(runtime->root, RUNTIME_SECCOMP_CACHE);

	if (!path || (mkdir(path, 0700) < 0 && errno != EEXIST))
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int container_compile_seccomp(const struct runtime *runtime, const struct container *container,
			      struct seccomp_filter *filter, struct error *err)
{
	const struct oci_seccomp *profile = &container->spec.linux_.seccomp;
	cleanup_close int cache = -1;

	*filter = (struct seccomp_filter){ .code = NULL };
	if (!profile->set)
		return 0;
	cache = open_cache(runtime);
	return seccomp_compile_cached(profile, cache, filter, err);
}
