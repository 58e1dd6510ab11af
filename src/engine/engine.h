/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine - instances on this machine: their directories, names and locks.
 *
 * There is no daemon and no database: an instance is a directory,
 *
 *     ROOT/instances/ID/      ID: 64 hex digits
 *         instance.json       the record (document.h), replaced in one step
 *         diff, work          overlay's upper and work directory
 *         hostname, hosts, resolv.conf
 *         run                 exists from the moment a start could have left something until all of it is gone again:
 *                             {"Pid", "StartedAt", ...}
 *         exit.json           how the last run ended: {"ExitCode", "OOMKilled", "FinishedAt"}
 *         last-run            what run was, once all of it was gone
 *         paused, stopped     marks: frozen; stopped by a user (no restart)
 *         restart             mark: waits for being started again
 *         rename              mark: is being renamed, so that two names may lead here
 *         keep                mark: this end is not one that --rm is about
 *         container.log       what it printed (docker's json-file)
 *         monitor             locked (fcntl) by the monitor as long as it lives
 *         ctl                 the monitor's socket
 *     ROOT/names/NAME         symbolic link to ID: made and taken in one step
 *     ROOT/pending/ID         instances that are being made or removed: whatever is there and not locked is waste
 *     ROOT/volumes/NAME/_data
 *     ROOT/machines/NAME      saved machines: snapshot.h
 *     ROOT/rootfs             empty; here an instance attaches its root, in its own mount namespace
 *
 * ROOT is the image store's.  The runtime's own state, with the config.json of
 * every instance that runs, lives in /run/caisson, or in ROOT/run when a root
 * was given.  A command that changes an instance holds flock(2) on its
 * directory.  Any process may be killed at any instruction; recover.h tells
 * what is done about that.
 */
#ifndef CAISSON_ENGINE_ENGINE_H
#define CAISSON_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <jansson.h>

#include "base/error.h"
#include "base/file.h"
#include "engine/document.h"
#include "image/image.h"
#include "image/store.h"
#include "runtime/runtime.h"

#define ENGINE_ROOTFS "rootfs"

enum { INSTANCE_ID_LENGTH = 64, INSTANCE_NAME_MAX = 128, SHORT_ID_LENGTH = 12 };

struct engine {
	struct image_store images;
	struct runtime runtime;
	char *root;    /* as the user gave it, made absolute; NULL: the default */
	char *run_dir; /* the runtime's root; owned */
	int instances_fd, names_fd, pending_fd, volumes_fd;
	int namespace_lock; /* of a user who is not root: rootless.h; else -1 */
	char *notice;	    /* what the user should know now that the engine is open, or NULL; owned */
};

/* root NULL: /var/lib/caisson and /run/caisson, or the XDG directories of a user who is not root. */
int engine_open(struct engine *engine, const char *root, struct error *err);
void engine_close(struct engine *engine);

struct instance {
	struct engine *engine; /* not owned */
	char id[INSTANCE_ID_LENGTH + 1];
	int dir_fd;		/* the lock belongs to it: whoever inherits it holds that, too */
	bool locked;		/* by us */
	json_t *record;		/* owned */
	int monitor_lock;	/* the descriptor with the monitor's lock, in the process that holds it; else -1 */
	struct file_held *held; /* not owned; where removing puts what its caller will close, or NULL */
};
#define INSTANCE_INIT ((struct instance){ .dir_fd = -1, .monitor_lock = -1 })

enum {
	INSTANCE_LOCK = 1 << 0, /* wait for, and hold, the instance's lock */
};

/* By id, name, or a prefix of the id that is unique.  -ENOENT "No such container: X". */
int instance_open(struct engine *engine, const char *what, int flags, struct instance *instance, struct error *err);
void instance_close(struct instance *instance);

/* One of many that are looked at in turn holds its directory open only while it is looked at.  -ENOENT when it is gone.
 */
int instance_take_up(struct instance *instance, struct error *err);
void instance_put_down(struct instance *instance);

/* The id behind a name, an id, or a prefix of one. */
int instance_find(struct engine *engine, const char *what, char id[static INSTANCE_ID_LENGTH + 1], struct error *err);
#define cleanup_instance __attribute__((cleanup(instance_close)))

/* The lock can be taken after opening, and given back; -ENOENT if the instance was removed meanwhile. The record is
 * read again. */
int instance_lock(struct instance *instance, struct error *err);
void instance_unlock(struct instance *instance);

/* Reads the record again: others may have changed it. */
int instance_refresh(struct instance *instance, struct error *err);

/* Ids of all instances, in no order; the caller frees with runtime_ids_free(). */
int instance_ids(struct engine *engine, char ***ids, size_t *count, struct error *err);

/* Without the leading '/'. */
const char *instance_name(const struct instance *instance);

/* Writes the record. */
int instance_save(struct instance *instance, struct error *err);

/* ROOT/instances/ID/leaf; fresh memory or NULL. */
char *instance_path(const struct instance *instance, const char *leaf);

struct instance_create_options {
	json_t *document;    /* Config and HostConfig, complete but for what the image adds; borrowed */
	struct image *image; /* borrowed */
	const char *name;    /* NULL: one is made up */
	const char *platform;
	bool begun; /* is started at once: should the caller die before, the instance is one whose start was lost */
};

/* Makes the instance, named and with a lease on its image; returned locked.  On failure nothing is left. */
int instance_create(struct engine *engine, const struct instance_create_options *options, struct instance *instance,
		    struct error *err);

/* -EBUSY when the name is taken. */
int instance_rename(struct instance *instance, const char *name, struct error *err);

/*
 * Takes the instance out of the store: record, name, lease, files, and with volumes the anonymous volumes.  It must be
 * locked and not running (remove.h).  Once this has begun the instance is gone for everybody else.
 */
int instance_discard(struct instance *instance, bool volumes, struct error *err);

/* ROOT/pending/ID, new and locked: what is made there is waste until it is moved away.  Its descriptor. */
int engine_make_pending(struct engine *engine, const char *id, struct error *err);
/* Removes that, and the lease of its name. */
void engine_waste(struct engine *engine, const char *id);

/* Removes what creations and removals that died have left in pending/.  Cheap when there is nothing. */
void engine_sweep(struct engine *engine);

#endif
