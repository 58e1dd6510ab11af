/* SPDX-License-Identifier: Apache-2.0 */
/* linux.resources and linux.devices: limits and devices out of HostConfig. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "engine/document.h"
#include "engine/spec.h"

/* What docker lets every container use; mknod of anything else makes a node that cannot be opened. */
static const struct {
	char type;
	int major, minor; /* -1: any */
	const char *access;
} default_rules[] = {
	{ 'c', -1, -1, "m" }, { 'b', -1, -1, "m" }, { 'c', 1, 3, "rwm" },    { 'c', 1, 5, "rwm" },
	{ 'c', 1, 7, "rwm" }, { 'c', 1, 8, "rwm" }, { 'c', 1, 9, "rwm" },    { 'c', 5, 0, "rwm" },
	{ 'c', 5, 1, "rwm" }, { 'c', 5, 2, "rwm" }, { 'c', 136, -1, "rwm" },
};

static json_t *rule(bool allow, char type, long major, long minor, const char *access)
{
	char text[2] = { type, '\0' };
	json_t *made = json_pack("{s:b,s:s,s:s}", "allow", allow, "type", text, "access", access);

	if (major >= 0)
		(void)json_object_set_new(made, "major", json_integer(major));
	if (minor >= 0)
		(void)json_object_set_new(made, "minor", json_integer(minor));
	return made;
}

/* "c 1:3 rwm", "a *:* rwm" */
static json_t *rule_of_text(const char *text, struct error *err)
{
	char type, major[12], minor[12], access[4];
	long numbers[2] = { -1, -1 };
	const char *const words[2] = { major, minor };
	int end = 0;

	if (sscanf(text, "%c %11[0-9*]:%11[0-9*] %3[rwm]%n", &type, major, minor, access, &end) != 4 || text[end] ||
	    !strchr("abc", type)) {
		(void)error_set(err, EINVAL, "invalid device cgroup format: '%s'; write it like 'c 1:3 rwm'", text);
		return NULL;
	}
	for (int i = 0; i < 2; i++) {
		if (strcmp(words[i], "*") != 0)
			numbers[i] = strtol(words[i], NULL, 10);
	}
	return rule(true, type, numbers[0], numbers[1], access);
}

static int build_rules(const json_t *record, json_t *rules, struct error *err)
{
	size_t i;
	json_t *item;

	if (document_bool(record, "HostConfig.Privileged")) {
		(void)json_array_append_new(rules, rule(true, 'a', -1, -1, "rwm"));
		return 0;
	}
	(void)json_array_append_new(rules, rule(false, 'a', -1, -1, "rwm"));
	for (i = 0; i < sizeof(default_rules) / sizeof(*default_rules); i++)
		(void)json_array_append_new(rules, rule(true, default_rules[i].type, default_rules[i].major,
							default_rules[i].minor, default_rules[i].access));
	json_array_foreach (document_at(record, "HostConfig.DeviceCgroupRules"), i, item) {
		json_t *made = rule_of_text(json_string_value(item), err);

		if (!made)
			return -EINVAL;
		(void)json_array_append_new(rules, made);
	}
	return 0;
}

static void set_positive(json_t *resources, const char *path, json_int_t value)
{
	if (value != 0)
		(void)document_set(resources, path, json_integer(value));
}

static void build_memory(const json_t *record, json_t *resources)
{
	json_int_t limit = document_int(record, "HostConfig.Memory"),
		   swap = document_int(record, "HostConfig.MemorySwap");

	set_positive(resources, "memory.limit", limit);
	set_positive(resources, "memory.reservation", document_int(record, "HostConfig.MemoryReservation"));
	/* docker: as much swap as memory, unless it is said otherwise. */
	if (limit > 0 && swap == 0 && limit <= INT64_MAX / 2)
		swap = limit * 2;
	set_positive(resources, "memory.swap", swap);
	if (json_is_integer(document_at(record, "HostConfig.MemorySwappiness")) &&
	    document_int(record, "HostConfig.MemorySwappiness") >= 0)
		(void)document_set(resources, "memory.swappiness",
				   json_integer(document_int(record, "HostConfig.MemorySwappiness")));
	if (document_bool(record, "HostConfig.OomKillDisable"))
		(void)document_set(resources, "memory.disableOOMKiller", json_true());
}

static void build_cpu(const json_t *record, json_t *resources)
{
	enum { DEFAULT_PERIOD = 100000, NANO_PER_CPU = 1000000000 };
	json_int_t nano = document_int(record, "HostConfig.NanoCpus"),
		   period = document_int(record, "HostConfig.CpuPeriod");
	json_int_t quota = document_int(record, "HostConfig.CpuQuota");

	if (nano > 0) {
		period = DEFAULT_PERIOD;
		quota = nano * (DEFAULT_PERIOD / 1000) / (NANO_PER_CPU / 1000);
	}
	set_positive(resources, "cpu.shares", document_int(record, "HostConfig.CpuShares"));
	set_positive(resources, "cpu.period", period);
	set_positive(resources, "cpu.quota", quota);
	if (*document_text(record, "HostConfig.CpusetCpus"))
		(void)document_set_text(resources, "cpu.cpus", document_text(record, "HostConfig.CpusetCpus"));
	if (*document_text(record, "HostConfig.CpusetMems"))
		(void)document_set_text(resources, "cpu.mems", document_text(record, "HostConfig.CpusetMems"));
}

/* [{"Path": "/dev/sda", "Rate": 1048576}] -> [{"major", "minor", "rate"}] */
static int build_block_devices(const json_t *record, json_t *resources, const char *from, const char *key,
			       const char *to, const char *out_key, struct error *err)
{
	size_t i;
	json_t *item;

	json_array_foreach (document_at(record, from), i, item) {
		const char *path = document_text(item, "Path");
		struct stat st;

		if (stat(path, &st) < 0)
			return error_errno(err, errno, "cannot limit the device %s", path);
		if (!S_ISBLK(st.st_mode))
			return error_set(err, ENOTBLK, "cannot limit %s: it is not a block device", path);
		(void)document_add(resources, to,
				   json_pack("{s:i,s:i,s:I}", "major", (int)major(st.st_rdev), "minor",
					     (int)minor(st.st_rdev), out_key, document_int(item, key)));
	}
	return 0;
}

static int build_block_io(const json_t *record, json_t *resources, struct error *err)
{
	static const struct {
		const char *from, *key, *to, *out_key;
	} lists[] = {
		{ "HostConfig.BlkioWeightDevice", "Weight", "blockIO.weightDevice", "weight" },
		{ "HostConfig.BlkioDeviceReadBps", "Rate", "blockIO.throttleReadBpsDevice", "rate" },
		{ "HostConfig.BlkioDeviceWriteBps", "Rate", "blockIO.throttleWriteBpsDevice", "rate" },
		{ "HostConfig.BlkioDeviceReadIOps", "Rate", "blockIO.throttleReadIOPSDevice", "rate" },
		{ "HostConfig.BlkioDeviceWriteIOps", "Rate", "blockIO.throttleWriteIOPSDevice", "rate" },
	};
	int ret = 0;

	set_positive(resources, "blockIO.weight", document_int(record, "HostConfig.BlkioWeight"));
	for (size_t i = 0; ret == 0 && i < sizeof(lists) / sizeof(*lists); i++)
		ret = build_block_devices(record, resources, lists[i].from, lists[i].key, lists[i].to, lists[i].out_key,
					  err);
	return ret;
}

json_t *spec_build_resources(const json_t *record, struct error *err)
{
	json_t *resources = json_pack("{s:[]}", "devices");
	json_int_t pids = document_int(record, "HostConfig.PidsLimit");

	if (build_rules(record, document_at(resources, "devices"), err) < 0 ||
	    build_block_io(record, resources, err) < 0) {
		json_decref(resources);
		return NULL;
	}
	build_memory(record, resources);
	build_cpu(record, resources);
	if (pids != 0)
		(void)document_set(resources, "pids.limit", json_integer(pids));
	return resources;
}

static json_t *device_node(const char *path, const struct stat *st)
{
	const char *type = S_ISBLK(st->st_mode) ? "b" : S_ISCHR(st->st_mode) ? "c" : "p";

	return json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:i}", "path", path, "type", type, "major", (int)major(st->st_rdev),
			 "minor", (int)minor(st->st_rdev), "fileMode", (int)(st->st_mode & 0777), "uid",
			 (int)st->st_uid, "gid", (int)st->st_gid);
}

/* A device, or all devices below a directory. */
static int add_device(const char *host, const char *inside, const char *access, bool required, json_t *devices,
		      json_t *rules, int depth, struct error *err)
{
	cleanup_closedir DIR *dir = NULL;
	struct dirent *entry;
	struct stat st;

	if (stat(host, &st) < 0)
		return required ? error_errno(err, errno,
					      "error gathering device information while adding custom device "
					      "\"%s\"",
					      host)
				: 0;
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		(void)json_array_append_new(devices, device_node(inside, &st));
		if (rules)
			(void)json_array_append_new(rules,
						    rule(true, S_ISBLK(st.st_mode) ? 'b' : 'c', (long)major(st.st_rdev),
							 (long)minor(st.st_rdev), access));
		return 0;
	}
	if (!S_ISDIR(st.st_mode) || depth > 8)
		return required ? error_set(err, EINVAL, "\"%s\" is not a device node", host) : 0;
	dir = opendir(host);
	while (dir && (entry = readdir(dir))) {
		cleanup_free char *below = NULL, *below_inside = NULL;
		int ret;

		if (*entry->d_name == '.' || entry->d_type == DT_LNK)
			continue;
		if (asprintf(&below, "%s/%s", host, entry->d_name) < 0 ||
		    asprintf(&below_inside, "%s/%s", inside, entry->d_name) < 0)
			return error_errno(err, ENOMEM, "cannot list devices");
		ret = add_device(below, below_inside, access, false, devices, rules, depth + 1, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* All of the host's, but for what a container has of its own. */
static int add_host_devices(json_t *devices, struct error *err)
{
	static const char *const own[] = { "pts",  "shm",  "fd",       "mqueue", "hugepages", "console",
					   "ptmx", "null", "zero",     "full",	 "random",    "urandom",
					   "tty",  "lxc",  "lxd-fuse", ".lxc",	 "core" };
	cleanup_closedir DIR *dir = opendir("/dev");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		cleanup_free char *path = NULL;
		bool skip = *entry->d_name == '.' || entry->d_type == DT_LNK;

		for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
			skip = skip || strcmp(entry->d_name, own[i]) == 0;
		if (skip)
			continue;
		if (asprintf(&path, "/dev/%s", entry->d_name) < 0)
			return error_errno(err, ENOMEM, "cannot list devices");
		if (add_device(path, path, "rwm", false, devices, NULL, 0, err) < 0)
			return -EINVAL;
	}
	return 0;
}

json_t *spec_build_devices(const json_t *record, const struct spec_facts *facts, json_t *rules, struct error *err)
{
	json_t *devices = json_array(), *item;
	int ret = 0;
	size_t i;

	/* On a kernel of its own their numbers mean other devices, or none. */
	if (document_bool(record, "HostConfig.Privileged") && !facts->own_kernel)
		ret = add_host_devices(devices, err);
	json_array_foreach (document_at(record, "HostConfig.Devices"), i, item) {
		if (ret == 0)
			ret = add_device(document_text(item, "PathOnHost"), document_text(item, "PathInContainer"),
					 document_text(item, "CgroupPermissions"), true, devices, rules, 0, err);
	}
	if (ret < 0) {
		json_decref(devices);
		return NULL;
	}
	return devices;
}
