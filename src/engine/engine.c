/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/rootless.h"
#include "engine/volume.h"
#include "runtime/paradigms.h"

#define ENGINE_CLOSED                                                                                        \
	{                                                                                                    \
		.instances_fd = -1, .names_fd = -1, .pending_fd = -1, .volumes_fd = -1, .namespace_lock = -1 \
	}

/* Where the runtime keeps what is known of running containers. */
static char *find_run_dir(const struct engine *engine)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");

	if (engine->root)
		return path_join(engine->root, "run");
	if (engine->images.rootless && runtime_dir && *runtime_dir == '/')
		return path_join(runtime_dir, "caisson");
	if (engine->images.rootless)
		return path_join(engine->images.root, "run");
	return strdup("/run/caisson");
}

static int open_part(struct engine *engine, const char *name, mode_t mode, int *fd, struct error *err)
{
	*fd = openat(engine->images.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0 && errno == ENOENT && (mkdirat(engine->images.fd, name, mode) == 0 || errno == EEXIST))
		*fd = openat(engine->images.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? error_errno(err, errno, "cannot open %s/%s", engine->images.root, name) : 0;
}

/* Into the namespace in which the user is root, and the store opened again there: layers can only be mounted by whoever
 * opened them in the same mount namespace. */
static int become_root(struct engine *engine, struct error *err)
{
	cleanup_free char *root = strdup(engine->images.root), *instances = path_join(engine->images.root, "instances");
	int ret = error_errno(err, ENOMEM, "cannot open the store");

	if (root && instances)
		ret = rootless_enter(engine->run_dir, instances, &engine->namespace_lock, &engine->notice, err);

	if (ret < 0)
		return ret;
	image_store_close(&engine->images);
	return image_store_open(&engine->images, root, err);
}

int engine_open(struct engine *engine, const char *root, struct error *err)
{
	/* A set-user-ID program that an instance made must not be in the reach of the host's users (CVE-2021-41091). */
	static const mode_t private = 0700;
	int ret;

	*engine = (struct engine)ENGINE_CLOSED;
	ret = image_store_open(&engine->images, root, err);
	if (ret < 0)
		return ret;
	engine->root = root ? strdup(engine->images.root) : NULL;
	engine->run_dir = find_run_dir(engine);
	if ((root && !engine->root) || !engine->run_dir)
		ret = error_errno(err, ENOMEM, "cannot open the store");
	if (ret == 0 && geteuid() != 0)
		ret = become_root(engine, err);
	if (ret == 0)
		ret = open_part(engine, "instances", private, &engine->instances_fd, err);
	if (ret == 0)
		ret = open_part(engine, "names", private, &engine->names_fd, err);
	if (ret == 0)
		ret = open_part(engine, "pending", private, &engine->pending_fd, err);
	if (ret == 0)
		ret = open_part(engine, "volumes", private, &engine->volumes_fd, err);
	if (ret == 0)
		ret = runtime_open(&engine->runtime, engine->run_dir, err);
	engine->runtime.rootless = engine->images.rootless;
	engine->runtime.own_names = true;
	engine->runtime.paradigms = paradigms_all;
	if (ret < 0)
		engine_close(engine);
	else
		engine_sweep(engine);
	return ret;
}

void engine_close(struct engine *engine)
{
	int *const fds[] = { &engine->instances_fd, &engine->names_fd, &engine->pending_fd, &engine->volumes_fd,
			     &engine->namespace_lock };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	if (engine->runtime.root)
		runtime_close(&engine->runtime);
	free(engine->run_dir);
	free(engine->root);
	free(engine->notice);
	image_store_close(&engine->images);
	*engine = (struct engine)ENGINE_CLOSED;
}
