/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal - what the runtime's own files share: see runtime.h.
 */
#ifndef CAISSON_RUNTIME_INTERNAL_H
#define CAISSON_RUNTIME_INTERNAL_H

#include "paradigm/paradigm.h"
#include "paradigm/shell/resources.h"
#include "paradigm/shell/seccomp.h"
#include "runtime/runtime.h"

enum { CONFIG_MAX = 8 << 20 }; /* bytes of a config.json */

/* state.c */
/* cgroup_host_is_v2(), asked once. */
bool runtime_cgroups_are_v2(struct runtime *runtime);
bool container_id_is_valid(const char *id);
/* Makes the container's directory, locked.  A directory that a killed creation left behind is cleaned up first. */
int container_directory_make(struct runtime *runtime, const char *id, struct container *container, struct error *err);
/* Removes the directory and everything in it. */
int container_directory_remove(struct runtime *runtime, struct container *container, struct error *err);
int container_write_pid_file(const char *path, pid_t pid, struct error *err);
/* A pidfd of its process 1 (owned by the caller), or -ESRCH: opened first, then compared, so that a pid that was used
 * again is never hit. */
int container_open_init(const struct container *container);
/* Whether its process 1 is there and is no zombie. */
bool container_is_alive(const struct container *container);
void container_debug(const struct runtime *runtime, const char *format, ...) __attribute__((format(printf, 2, 3)));
void container_warn(const struct runtime *runtime, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* document.c: state.json.
 * Writes what is known of it, but not yet under the name that makes it a container; then gives it that name. */
int container_prepare_state(const struct container *container, struct error *err);
int container_commit_state(const struct container *container, struct error *err);
/* Fills in what it says; -ENOENT when there is none. */
int container_read_state(const struct runtime *runtime, struct container *container, struct error *err);

/* lifecycle.c */
void container_run_poststop(const struct runtime *runtime, const struct container *container);

/* create.c: a container's directory with its configuration, locked, and nothing else of it. */
struct checkpoint_options;
int container_make_empty(struct runtime *runtime, const char *id, const char *bundle,
			 const struct checkpoint_options *restore, struct container *container, struct error *err);

/* seccomp.c: freed by seccomp_filter_free(); without a profile it is empty. */
int container_compile_seccomp(const struct runtime *runtime, const struct container *container,
			      struct seccomp_filter *filter, struct error *err);

/* cgroups.c */
/* Where the configuration wants the container's cgroup; sets cgroup_path (and cgroup_unit with systemd). */
int container_choose_cgroup(struct runtime *runtime, struct container *container, struct error *err);
/* Whether it has a directory in every hierarchy (CGROUP_CREATE_EVERYWHERE): who names a path looks for all controllers
 * there (kubelet, cadvisor), and runc makes them all.  A path of our own choice is made where limits need it. */
bool container_cgroup_is_named(const struct runtime *runtime, const struct container *container);
/* The controllers that a container with these resources joins: see cgroup_create(). */
void container_controllers(const struct runtime *runtime, const struct oci_resources *resources,
			   const char *list[static RESOURCES_CONTROLLERS_MAX + 1]);
/*
 * Gives the container's user the cgroup where the configuration shows it one of its own to write in (config-linux.md,
 * "Cgroup ownership": version 2, a new cgroup namespace, a cgroup mount that is not read-only).
 */
int container_delegate_cgroup(const struct container *container, const struct cgroup *cgroup, struct error *err);
/* Removes it if nothing runs in it: for a creation that did not get far enough to tell whose it is. */
void container_forget_cgroup(struct runtime *runtime, const struct container *container);
/* An empty file in the container's directory says that an update may have made it in more hierarchies. */
#define CGROUP_GREW "cgroup-grew"
/* Removes it with whatever still runs in it. */
int container_remove_cgroup(struct runtime *runtime, struct container *container, struct error *err);

/* notify.c: makes the directory for the container's NOTIFY_SOCKET, and mounts and names it in its configuration. */
int container_notify_prepare(struct container *container, struct error *err);

/* scope.c, for systemd: starts the scope with pid in it and opens what systemd made; changes it; makes systemd forget.
 */
int container_start_scope(struct runtime *runtime, const struct container *container, pid_t pid, struct cgroup *cgroup,
			  struct error *err);
int container_update_scope(const struct container *container, enum cgroup_layout layout,
			   const struct oci_resources *resources, struct error *err);
int container_stop_scope(const struct container *container, struct error *err);

/* rdt.c: linux.intelRdt.
 * Puts process pid into the groups that the configuration wants, made if need be; one more into the same; removes them.
 */
int container_apply_rdt(const struct runtime *runtime, struct container *container, pid_t pid, struct error *err);
int container_join_rdt(const struct container *container, pid_t pid, struct error *err);
int container_remove_rdt(const struct runtime *runtime, struct container *container, struct error *err);

/* paradigms.c */
/* Sets container->paradigm, if it is not set: by the annotation, else the runtime's. */
int container_choose_paradigm(const struct runtime *runtime, struct container *container, struct error *err);
/* What it has to do before there is a shell, and the end of that.  setup->rootfs_fd is set by the caller. */
int container_prepare_paradigm(const struct runtime *runtime, struct container *container, const char *config,
			       size_t size, struct paradigm_setup *setup, struct error *err);
void container_release_paradigm(const struct container *container, struct paradigm_setup *setup);
/* What it may have left elsewhere, once nothing of the container runs.  Where it is not known which paradigm it was,
 * each of them cleans. */
void container_clean_paradigm(const struct runtime *runtime, const struct container *container);

/* validate.c: what config.json may not ask for together, beyond what the parser can see.  rootless: by a caller who is
 * not root. */
int container_validate(const struct oci_spec *spec, const char *rootfs, bool rootless, struct error *err);

#endif
