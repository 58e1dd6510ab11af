/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/snapshot.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { STATE_MAX = 64 << 20 };

/* A disk of the host's goes on changing: a machine that begins here later would write an old cache over it. */
static int disks_may_save(const struct vm_config *config, struct error *err)
{
	for (size_t i = 1; i < config->disks_count; i++)
		if (!config->disks[i].read_only)
			return error_set(err, EOPNOTSUPP,
					 "the machine writes to a disk of the host's (--disk), which a snapshot cannot "
					 "keep; run it without, or with the disk read-only");
	return 0;
}

static int write_sessions(const struct sessions *sessions, int state, struct error *err)
{
	struct state_writer writer = { .out = STR_INIT };
	int ret;

	/* The guest's last words before it stood still may have been the end of its process. */
	if (sessions_may_save(sessions, NULL) < 0)
		return error_set(err, EBUSY, "the instance's process has just ended");
	sessions_save(sessions, &writer);
	ret = str_failed(&writer.out) ? -ENOMEM : file_write_all(state, writer.out.text, writer.out.length);
	str_free(&writer.out);
	return ret < 0 ? error_errno(err, -ret, "cannot write the state of the agent's channel") : 0;
}

int snapshot_write(struct engine *engine, struct sessions *sessions, const struct vm_config *config, int state,
		   int memory, struct error *err)
{
	int ret;

	if (!engine->ops->snapshot)
		return error_set(err, EOPNOTSUPP, "machines that %s runs cannot be saved", engine->ops->name);
	ret = disks_may_save(config, err);
	if (ret == 0)
		ret = sessions_may_save(sessions, err);
	if (ret == 0)
		ret = engine->ops->snapshot(engine, state, memory, err);
	if (ret < 0)
		return ret;
	ret = write_sessions(sessions, state, err);
	if (ret < 0)
		engine->ops->resume(engine);
	return ret;
}

/* The guest learns what time it is, and gets randomness that no other machine of this snapshot has. */
static int say_restored(struct sessions *sessions, struct error *err)
{
	struct {
		uint64_t clock;
		uint8_t entropy[256];
	} restored;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	restored.clock = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
	if (getrandom(restored.entropy, sizeof(restored.entropy), 0) != (ssize_t)sizeof(restored.entropy))
		return error_errno(err, errno, "getrandom");
	sessions_put(sessions, AGENT_RESTORED, &restored, sizeof(restored));
	return 0;
}

int snapshot_continue(struct sessions *sessions, int state, const int stdio[static 3], struct error *err)
{
	cleanup_free char *bytes = NULL;
	struct state_reader reader;
	size_t size = 0;
	int ret = lseek(state, 0, SEEK_SET) < 0 ? -errno : 0;

	if (ret == 0)
		ret = file_read_fd(state, STATE_MAX, &bytes, &size, NULL);
	if (ret < 0) {
		for (int i = 0; i < 3; i++)
			close(stdio[i]);
		return error_errno(err, -ret, "cannot read the snapshot");
	}
	state_reader_init(&reader, bytes, size);
	ret = sessions_restore(sessions, &reader, stdio, err);
	return ret == 0 ? say_restored(sessions, err) : ret;
}
