/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp - the OCI runtime specification's linux.seccomp, translated into the
 * program that the kernel takes (config-linux.md, "Seccomp"; seccomp(2)).
 *
 * libseccomp writes the program; this room feeds it the profile as runc does
 * (unknown system calls are left out, conditions on the same argument are
 * alternatives), and puts a few instructions of its own before it: a system
 * call newer than every one in the profile fails with ENOSYS instead of the
 * default action, so that C libraries fall back to the older call.
 *
 * Compiling takes milliseconds, so programs are kept in a directory that the
 * caller names, by the SHA-256 of all that they depend on.  What is found
 * there is never trusted: another owner, a writable file, a wrong checksum or
 * form means compiling again.
 */
#ifndef CAISSON_PARADIGM_SHELL_SECCOMP_H
#define CAISSON_PARADIGM_SHELL_SECCOMP_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "spec/runtime.h"

struct seccomp_filter {
	struct sock_filter *code; /* owned */
	size_t count;		  /* instructions */
	unsigned int flags;	  /* SECCOMP_FILTER_FLAG_*, NEW_LISTENER included when an action is SCMP_ACT_NOTIFY */
	bool from_cache;	  /* for tests and measurements */
};

/* Translates a profile.  -EINVAL with the name of what is wrong; -EOPNOTSUPP when the kernel lacks an action or flag.
 * The caller frees the filter with seccomp_filter_free(). */
int seccomp_compile(const struct oci_seccomp *profile, struct seccomp_filter *filter, struct error *err);

/* The same, by the cache in the directory behind cache_fd (-1: none).  A cache that cannot be read or written is no
 * error. */
int seccomp_compile_cached(const struct oci_seccomp *profile, int cache_fd, struct seccomp_filter *filter,
			   struct error *err);

/*
 * For a guest that is to compile nothing: makes sure that the cache has the program, and opens its file (O_RDONLY,
 * owned by the caller).  -ENOENT: it cannot be kept there.
 */
int seccomp_cache_open(const struct oci_seccomp *profile, int cache_fd, struct error *err);
/* Puts such a file, name beneath dirfd on the same file system, into a cache as the program of that profile here. */
int seccomp_cache_adopt(const struct oci_seccomp *profile, int cache_fd, int dirfd, const char *name);

/* Loads the filter into the calling thread: see seccomp_install() in linux/seccomp.h for what is returned. */
int seccomp_filter_load(const struct seccomp_filter *filter, struct error *err);

void seccomp_filter_free(struct seccomp_filter *filter);

/*
 * Gives the listener to the agent at listenerPath: one message of a containerProcessState (config-linux.md) with the
 * listener as its only descriptor.  state_json is the container's OCI state document; metadata may be NULL.
 */
int seccomp_listener_send(const char *path, int listener, pid_t pid, const char *metadata, const char *state_json,
			  struct error *err);

#endif
