/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* A caisson's world: calm first, then what is near water. */
static const char *const moods[] = {
	"amber",  "bold",   "brave",   "bright", "brisk",  "calm",   "clear", "clever", "cool",	  "deep",   "eager",
	"early",  "fair",   "firm",    "fleet",	 "fresh",  "gentle", "glad",  "golden", "grand",  "great",  "handy",
	"happy",  "hardy",  "keen",    "kind",	 "light",  "lively", "loyal", "lucid",	"mellow", "merry",  "mild",
	"neat",	  "noble",  "patient", "plain",	 "proud",  "quick",  "quiet", "rapid",	"ready",  "serene", "sharp",
	"silent", "silver", "sleek",   "smooth", "solid",  "sound",  "spry",  "stable", "steady", "still",  "stout",
	"sturdy", "sunny",  "swift",   "tidy",	 "trusty", "vivid",  "warm",  "wise",	"witty",
};
static const char *const things[] = {
	"anchor",  "atoll",   "barge",	"bay",	  "beacon", "berth",	"bollard", "bridge", "breeze",	"brook",
	"buoy",	   "canal",   "cape",	"cliff",  "coast",  "compass",	"coral",   "cove",   "creek",	"current",
	"cutter",  "delta",   "diver",	"dock",	  "dune",   "estuary",	"ferry",   "fjord",  "galley",	"gull",
	"harbour", "heron",   "inlet",	"island", "jetty",  "keel",	"kelp",	   "lagoon", "lantern", "ledge",
	"levee",   "lock",    "lugger", "mast",	  "marina", "mooring",	"oar",	   "otter",  "pearl",	"pelican",
	"pier",	   "pontoon", "quay",	"reef",	  "rudder", "schooner", "seal",	   "shoal",  "sloop",	"sound",
	"strait",  "tern",    "tide",	"wharf",
};

int name_check(const char *name, struct error *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t length = strlen(name);

	if (length >= INSTANCE_NAME_MAX)
		return error_set(err, EINVAL, "Invalid container name (%.20s...): more than %d characters", name,
				 INSTANCE_NAME_MAX - 1);
	if (length < 2 || strspn(name, letters) != length || strchr("_.-", *name))
		return error_set(err, EINVAL,
				 "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, two of them "
				 "at least",
				 name);
	return 0;
}

/* The instance behind a name; false when the link is gone. */
static bool read_name(struct engine *engine, const char *name, char *id)
{
	ssize_t length = readlinkat(engine->names_fd, name, id, INSTANCE_ID_LENGTH + 1);

	if (length < 0)
		return false;
	id[length <= INSTANCE_ID_LENGTH ? length : INSTANCE_ID_LENGTH] = '\0';
	return true;
}

static bool exists(struct engine *engine, const char *id)
{
	struct stat st;

	return fstatat(engine->pending_fd, id, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
	       fstatat(engine->instances_fd, id, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Whether a rename that was killed has left the name: its instance is called otherwise, and nobody is at work on it. */
static bool is_left_over(struct engine *engine, const char *name, const char *owner)
{
	cleanup_close int dir = openat(engine->instances_fd, owner, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct instance instance = { .engine = engine, .dir_fd = dir, .monitor_lock = -1 };
	bool left;

	if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0)
		return false;
	(void)snprintf(instance.id, sizeof(instance.id), "%s", owner);
	left = instance_refresh(&instance, NULL) == 0 && strcmp(instance_name(&instance), name) != 0;
	json_decref(instance.record);
	return left;
}

/* One at a time, so that nobody unlinks the name that another one has just taken over. */
static int take_over(struct engine *engine, const char *name, const char *id)
{
	cleanup_close int lock = openat(engine->names_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char owner[INSTANCE_ID_LENGTH + 1];

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return -errno;
	if (read_name(engine, name, owner)) {
		if (strcmp(owner, id) == 0)
			return 0;
		if (exists(engine, owner) && !is_left_over(engine, name, owner))
			return -EEXIST;
		(void)unlinkat(engine->names_fd, name, 0);
	}
	return symlinkat(id, engine->names_fd, name) < 0 ? -errno : 0;
}

int name_reserve(struct engine *engine, const char *name, const char *id, struct error *err)
{
	char owner[INSTANCE_ID_LENGTH + 1] = "";
	int ret = name_check(name, err);

	if (ret < 0)
		return ret;
	if (symlinkat(id, engine->names_fd, name) == 0)
		return 0;
	ret = errno == EEXIST ? take_over(engine, name, id) : -errno;
	if (ret == 0)
		return 0;
	if (ret != -EEXIST)
		return error_errno(err, -ret, "cannot reserve the name %s", name);
	(void)read_name(engine, name, owner);
	return error_set(
		err, EEXIST,
		"Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove "
		"(or rename) that container to be able to reuse that name.",
		name, owner);
}

int name_invent(struct engine *engine, const char *id, char name[static INSTANCE_NAME_MAX], struct error *err)
{
	for (int tries = 0; tries < 32; tries++) {
		unsigned int dice[3];

		if (getrandom(dice, sizeof(dice), 0) != (ssize_t)sizeof(dice))
			return error_errno(err, errno, "cannot make up a name");
		(void)snprintf(name, INSTANCE_NAME_MAX, "%s_%s", moods[dice[0] % (sizeof(moods) / sizeof(*moods))],
			       things[dice[1] % (sizeof(things) / sizeof(*things))]);
		if (tries > 3) /* many instances: a number makes it rare */
			(void)snprintf(name + strlen(name), INSTANCE_NAME_MAX - strlen(name), "%u", dice[2] % 100000);
		if (symlinkat(id, engine->names_fd, name) == 0)
			return 0;
		if (errno != EEXIST)
			return error_errno(err, errno, "cannot reserve the name %s", name);
	}
	return error_set(err, EEXIST, "cannot make up a name that is free; give one with --name");
}

void name_release(struct engine *engine, const char *name, const char *id, struct file_held *held)
{
	char owner[INSTANCE_ID_LENGTH + 1];

	if (!*name || strchr(name, '/') || !read_name(engine, name, owner) || strcmp(owner, id) != 0)
		return;
	file_hold_at(held, engine->names_fd, name);
	(void)unlinkat(engine->names_fd, name, 0);
}

void name_release_all(struct engine *engine, const char *id)
{
	int fd = openat(engine->names_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		name_release(engine, entry->d_name, id, NULL);
}
