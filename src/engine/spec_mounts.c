/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts of config.json: docker's own, then the user's, shallow destinations before the deep ones below them. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "engine/document.h"
#include "engine/spec.h"

static const struct {
	const char *destination, *type, *source, *options;
} own_mounts[] = {
	{ "/proc", "proc", "proc", "nosuid,noexec,nodev" },
	{ "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
	{ "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" },
	{ "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro" },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev" },
	{ "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev" },
	{ "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777" },
};

static json_t *word_list(const char *words)
{
	json_t *list = json_array();

	while (*words) {
		size_t length = strcspn(words, ",");

		(void)json_array_append_new(list, json_stringn(words, length));
		words += length + (words[length] == ',');
	}
	return list;
}

static bool has_destination(const json_t *mounts, const char *destination)
{
	size_t i;
	json_t *mount;

	json_array_foreach ((json_t *)(uintptr_t)mounts, i, mount) {
		const char *own = document_text(mount, "Destination");

		if (strcmp(*own ? own : document_text(mount, "destination"), destination) == 0)
			return true;
	}
	return false;
}

/* What differs from the table: sharing with the host, privileges, sizes. */
static json_t *own_mount(size_t i, const json_t *record, const struct spec_facts *facts)
{
	const char *destination = own_mounts[i].destination, *type = own_mounts[i].type, *source = own_mounts[i].source;
	json_t *options = word_list(own_mounts[i].options);
	bool writable = document_bool(record, "HostConfig.Privileged");
	bool ipc_host = strcmp(document_text(record, "HostConfig.IpcMode"), "host") == 0;

	/* A new mqueue mount shows the queues of the IPC namespace by itself. */
	if (ipc_host && strcmp(destination, "/dev/shm") == 0) {
		type = "bind";
		source = destination;
		json_decref(options);
		options = json_pack("[s,s,s,s]", "rbind", "nosuid", "noexec", "nodev");
	} else if (strcmp(destination, "/dev/shm") == 0) {
		(void)json_array_append_new(options, json_sprintf("size=%" JSON_INTEGER_FORMAT,
								  document_int(record, "HostConfig.ShmSize")));
	} else if (writable && str_starts(destination, "/sys")) {
		json_decref(options);
		options = json_pack("[s,s,s,s]", "nosuid", "noexec", "nodev", "rw");
	}
	/* A sysfs shows the devices of a network namespace, whose owner alone may mount it: for the host's that is not
	 * a rootless user. */
	if (facts->rootless && strcmp(destination, "/sys") == 0 &&
	    strcmp(document_text(record, "HostConfig.NetworkMode"), "host") == 0) {
		type = "bind";
		source = destination;
		json_decref(options);
		options = json_pack("[s,s,s,s,s]", "rbind", "nosuid", "noexec", "nodev", "ro");
	}
	/* A rootless user's namespace maps no group 5. */
	if (facts->rootless && strcmp(type, "devpts") == 0)
		(void)json_array_remove(options, json_array_size(options) - 1);
	return json_pack("{s:s,s:s,s:s,s:o}", "destination", destination, "type", type, "source", source, "options",
			 options);
}

static json_t *user_mount(const json_t *mount)
{
	const char *type = document_text(mount, "Type"), *propagation = document_text(mount, "Propagation");
	json_t *own = document_at(mount, "Options"), *options;
	bool tmpfs = strcmp(type, "tmpfs") == 0;

	options = tmpfs ? json_pack("[s,s,s]", "nosuid", "nodev", "noexec") : json_array();
	if (!tmpfs && !document_lists(mount, "Options", "bind"))
		(void)json_array_append_new(options, json_string("rbind"));
	if (own)
		(void)json_array_extend(options, own);
	(void)json_array_append_new(options, json_string(document_bool(mount, "RW") ? "rw" : "ro"));
	if (!tmpfs)
		(void)json_array_append_new(options, json_string(*propagation ? propagation : "rprivate"));
	return json_pack("{s:s,s:s,s:s,s:o}", "destination", document_text(mount, "Destination"), "type",
			 tmpfs ? "tmpfs" : "bind", "source", tmpfs ? "tmpfs" : document_text(mount, "Source"),
			 "options", options);
}

static void add_file(json_t *list, const json_t *mounts, const char *destination, const char *directory,
		     const char *leaf)
{
	if (!has_destination(mounts, destination))
		(void)json_array_append_new(list, json_pack("{s:s,s:s,s:o,s:[s,s]}", "destination", destination, "type",
							    "bind", "source", json_sprintf("%s/%s", directory, leaf),
							    "options", "rbind", "rprivate"));
}

static int depth(const char *path)
{
	int count = 0;

	for (; *path; path++)
		count += *path == '/' && path[1];
	return count;
}

/* Stable: mounts of one depth stay in the order in which they were asked for. */
static void sort_by_depth(json_t *list)
{
	for (size_t i = 1; i < json_array_size(list); i++) {
		json_t *mount = json_incref(json_array_get(list, i));
		int own = depth(document_text(mount, "destination"));
		size_t at = i;

		while (at > 0 && depth(document_text(json_array_get(list, at - 1), "destination")) > own)
			at--;
		(void)json_array_remove(list, i);
		(void)json_array_insert_new(list, at, mount);
	}
}

json_t *spec_build_mounts(const json_t *record, const struct spec_facts *facts)
{
	json_t *mounts = document_at(record, "Mounts"), *list = json_array(), *users = json_array(), *mount;
	size_t i;

	for (i = 0; i < sizeof(own_mounts) / sizeof(*own_mounts); i++) {
		if (!has_destination(mounts, own_mounts[i].destination))
			(void)json_array_append_new(list, own_mount(i, record, facts));
	}
	json_array_foreach (mounts, i, mount)
		(void)json_array_append_new(users, user_mount(mount));
	add_file(users, mounts, "/etc/resolv.conf", facts->directory, "resolv.conf");
	add_file(users, mounts, "/etc/hostname", facts->directory, "hostname");
	add_file(users, mounts, "/etc/hosts", facts->directory, "hosts");
	if (document_bool(record, "HostConfig.Init") && facts->init)
		(void)json_array_append_new(users,
					    json_pack("{s:s,s:s,s:s,s:[s,s]}", "destination", SPEC_INIT_PATH, "type",
						      "bind", "source", facts->init, "options", "bind", "ro"));
	sort_by_depth(users);
	(void)json_array_extend(list, users);
	json_decref(users);
	return list;
}
