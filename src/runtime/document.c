/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two documents about a container: state.json, which is ours, and the
 * state of runtime.md, which hooks, engines and users read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/internal.h"
#include "runtime/members.h"
#include "runtime/paradigms.h"

#define STATE_NEW "state.json.new"

enum { STATE_MAX = 1 << 20, INDENT_MAX = 8 };

static bool is_json(const struct str *text)
{
	const struct json_value *root;
	struct arena arena = { 0 };
	bool good = json_parse(text->text, text->length, &arena, &root, NULL) == 0;

	arena_free(&arena);
	return good;
}

int container_prepare_state(const struct container *container, struct error *err)
{
	cleanup_str struct str text = STR_INIT;
	struct members members = { .out = &text };
	cleanup_close int fd = -1;
	int ret;

	open_object(&members);
	member_text(&members, "id", container->id);
	member_number(&members, "pid", (uint64_t)container->pid);
	member_number(&members, "pidStart", container->pid_start);
	member_text(&members, "bundle", container->bundle);
	member_text(&members, "rootfs", container->rootfs);
	member_text(&members, "created", container->created);
	member_number(&members, "owner", container->owner);
	member_text(&members, "cgroupPath", container->cgroup_path);
	member_name(&members, "systemdCgroup");
	str_append(&text, container->systemd_cgroup ? "true" : "false");
	member_text(&members, "unit", container->cgroup_unit);
	member_text(&members, "intelRdtPath", container->intel_rdt_path);
	member_text(&members, "intelRdtMonitor", container->intel_rdt_monitor);
	if (container->intel_rdt_made) {
		member_name(&members, "intelRdtMade");
		str_append(&text, "true");
	}
	member_text(&members, "keyring", container->keyring);
	member_text(&members, "paradigm", container->paradigm ? container->paradigm->name : NULL);
	close_object(&members);
	if (str_failed(&text))
		return error_errno(err, ENOMEM, "cannot write the state of container %s", container->id);
	/* What cannot be read again must not be written: a path may be any bytes, JSON may not. */
	if (!is_json(&text))
		return error_set(err, EINVAL, "cannot write the state of container %s: a name is not UTF-8",
				 container->id);
	fd = openat(container->dir_fd, STATE_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ret = fd < 0 ? -errno : file_write_all(fd, text.text, text.length);
	return ret < 0 ? error_errno(err, -ret, "cannot write %s/" STATE_NEW, container->dir) : 0;
}

int container_commit_state(const struct container *container, struct error *err)
{
	if (renameat(container->dir_fd, STATE_NEW, container->dir_fd, "state.json") < 0)
		return error_errno(err, errno, "cannot write %s/state.json", container->dir);
	return 0;
}

/* Fresh copy of a string member; NULL when it is missing. */
static char *text_of(const struct json_value *object, const char *name)
{
	const struct json_value *value = json_find(object, name);

	return value && value->kind == JSON_KIND_STRING ? strdup(value->text) : NULL;
}

static uint64_t number_of(const struct json_value *object, const char *name, uint64_t max)
{
	const struct json_value *value = json_find(object, name);

	return value && value->kind == JSON_KIND_INTEGER && !value->truth && value->magnitude <= max ? value->magnitude
												     : 0;
}

static bool is_true(const struct json_value *object, const char *name)
{
	const struct json_value *value = json_find(object, name);

	return value && value->kind == JSON_KIND_BOOL && value->truth;
}

/* NULL: by a program that had another; older ones wrote none. */
static const struct paradigm *paradigm_of(const struct runtime *runtime, const struct json_value *root)
{
	const struct json_value *name = json_find(root, "paradigm");

	return paradigm_find(runtime->paradigms, name && name->kind == JSON_KIND_STRING ? name->text : "container");
}

static void take_members(struct container *container, const struct json_value *root)
{
	container->pid = (pid_t)number_of(root, "pid", INT32_MAX);
	container->pid_start = number_of(root, "pidStart", UINT64_MAX);
	container->owner = (uid_t)number_of(root, "owner", UINT32_MAX);
	container->systemd_cgroup = is_true(root, "systemdCgroup");
	container->bundle = text_of(root, "bundle");
	container->rootfs = text_of(root, "rootfs");
	container->created = text_of(root, "created");
	container->cgroup_path = text_of(root, "cgroupPath");
	container->cgroup_unit = text_of(root, "unit");
	container->intel_rdt_path = text_of(root, "intelRdtPath");
	container->intel_rdt_monitor = text_of(root, "intelRdtMonitor");
	container->intel_rdt_made = is_true(root, "intelRdtMade");
	container->keyring = text_of(root, "keyring");
}

int container_read_state(const struct runtime *runtime, struct container *container, struct error *err)
{
	cleanup_free char *text = NULL;
	const struct json_value *root;
	struct arena arena = { 0 };
	size_t size;
	int ret = file_read(container->dir_fd, "state.json", STATE_MAX, &text, &size, err);

	if (ret < 0)
		return ret;
	if (json_parse(text, size, &arena, &root, NULL) == 0) {
		take_members(container, root);
		container->paradigm = paradigm_of(runtime, root);
	}
	arena_free(&arena);
	if (!container->bundle || !container->rootfs || !container->created)
		return error_set(err, EINVAL, "the state file %s/state.json is damaged; remove that directory",
				 container->dir);
	if (!container->paradigm)
		return error_set(err, ENOTSUP, "container %s is of a paradigm that this program does not have",
				 container->id);
	return 0;
}

char *container_describe(const struct container *container, enum runtime_status status, const char *owner, int indent)
{
	const struct oci_pairs *annotations = &container->spec.annotations;
	struct str text = STR_INIT;
	struct members members = { .out = &text, .indent = indent > INDENT_MAX ? INDENT_MAX : indent };

	open_object(&members);
	member_text(&members, "ociVersion", container->spec.oci_version);
	member_text(&members, "id", container->id);
	member_number(&members, "pid", status == RUNTIME_STOPPED ? 0 : (uint64_t)container->pid);
	member_text(&members, "status", runtime_status_name(status));
	member_text(&members, "bundle", container->bundle);
	member_text(&members, "rootfs", container->rootfs);
	member_text(&members, "created", container->created);
	if (annotations->count) {
		member_name(&members, "annotations");
		open_object(&members);
		for (size_t i = 0; i < annotations->count; i++)
			member_text(&members, annotations->items[i].key, annotations->items[i].value);
		close_object(&members);
	}
	member_text(&members, "owner", owner);
	close_object(&members);
	return str_take(&text);
}

char *container_state_json(const struct container *container, enum runtime_status status, int indent)
{
	return container_describe(container, status, "", indent);
}
