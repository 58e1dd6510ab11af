/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

enum { NUMBER_MAX = 32, WAIT_MS = 10000, LOOK_AGAIN_MS = 5 };

/* Host, channel, target, unit of a SCSI device, by the name of what /sys/block/sdX/device points to. */
static bool ata_place(const char *sys_block, const char *name, uint64_t *place)
{
	unsigned host, channel, target, unit;
	char path[PATH_MAX], where[PATH_MAX];
	const char *last;
	ssize_t length;

	(void)snprintf(path, sizeof(path), "%s/%s/device", sys_block, name);
	length = readlink(path, where, sizeof(where) - 1);
	where[length > 0 ? length : 0] = '\0';
	last = strrchr(where, '/') ? strrchr(where, '/') + 1 : where;
	if (sscanf(last, "%u:%u:%u:%u", &host, &channel, &target, &unit) != 4)
		return false;
	*place = (uint64_t)(host & 0xffff) << 48 | (uint64_t)(channel & 0xffff) << 32 |
		 (uint64_t)(target & 0xffff) << 16 | (unit & 0xffff);
	return true;
}

static int compare(const void *left, const void *right)
{
	const struct guest_disk *a = left, *b = right;

	return a->place < b->place ? -1 : a->place > b->place;
}

/* Paravirtual disks are found in the host's order, so their names have it: a, ..., z, aa. */
static uint64_t name_place(const char *letters)
{
	uint64_t place = 0;

	for (; *letters; letters++)
		place = place << 8 | (uint8_t)*letters;
	return place;
}

size_t disks_find(const char *sys_block, struct guest_disk disks[static GUEST_DISKS_MAX])
{
	cleanup_closedir DIR *all = opendir(sys_block);
	const struct dirent *entry;
	size_t count = 0;

	while (all && count < GUEST_DISKS_MAX && (entry = readdir(all))) {
		struct guest_disk *disk = &disks[count];
		bool ata = str_starts(entry->d_name, "sd");

		if ((!ata && !str_starts(entry->d_name, "vd")) || strlen(entry->d_name) >= sizeof(disk->name))
			continue;
		memcpy(disk->kernel_name, entry->d_name, strlen(entry->d_name) + 1);
		memcpy(disk->name, disk->kernel_name, sizeof(disk->name));
		disk->place = name_place(entry->d_name + 2);
		count += !ata || ata_place(sys_block, entry->d_name, &disk->place);
	}
	qsort(disks, count, sizeof(*disks), compare);
	for (size_t i = 0; i < count; i++) {
		if (disks[i].name[0] == 's')
			(void)snprintf(disks[i].name, sizeof(disks[i].name), "sd%c", (char)('a' + (int)(i % 26)));
	}
	return count;
}

bool disks_find_first_ata(const char *sys_block, char name[static 16])
{
	struct guest_disk disks[GUEST_DISKS_MAX];
	size_t count = disks_find(sys_block, disks);

	/* The lowest that is there may not be the lowest that there is. */
	if (count == 0 || disks[0].kernel_name[0] != 's' || disks[0].place != 0)
		return false;
	memcpy(name, disks[0].kernel_name, sizeof(disks[0].kernel_name));
	return true;
}

/* ---- the container's ---- */

static size_t disks_wanted(const struct oci_spec *spec)
{
	const char *line = oci_spec_annotation(spec, "org.caisson.vm.disk");
	size_t count = 1;

	for (; line && *line; line += strcspn(line, "\n"), line += *line == '\n')
		count += *line != '\n';
	return count;
}

/* One node.  directory is the disk's or the partition's. */
static int add_node(struct oci_spec *spec, const char *directory, const char *name, struct error *err)
{
	struct oci_linux *linux_ = &spec->linux_;
	struct oci_device_node *node = &linux_->devices[linux_->devices_count];
	struct oci_device_rule *rule = &linux_->resources.devices[linux_->resources.devices_count];
	cleanup_free char *text = NULL;
	uint32_t major, minor;
	char path[PATH_MAX];
	int ret;

	(void)snprintf(path, sizeof(path), "%s/dev", directory);
	ret = file_read(AT_FDCWD, path, NUMBER_MAX, &text, NULL, err);
	if (ret < 0)
		return ret;
	if (sscanf(text, "%" SCNu32 ":%" SCNu32, &major, &minor) != 2)
		return error_set(err, EINVAL, "%s: \"%s\" is no device", path, text);
	*node = (struct oci_device_node){ .type = 'b',
					  .path = arena_printf(&spec->arena, "/dev/%s", name),
					  .major = major,
					  .minor = minor,
					  .file_mode = { .set = true, .value = 0660 } };
	*rule = (struct oci_device_rule){ .allow = true,
					  .type = 'b',
					  .major = { .set = true, .value = major },
					  .minor = { .set = true, .value = minor },
					  .read = true,
					  .write = true,
					  .mknod = true };
	linux_->devices_count++;
	linux_->resources.devices_count++;
	return node->path ? 0 : error_errno(err, ENOMEM, "cannot name a disk");
}

/* Room for one more of both. */
static bool make_room(struct oci_spec *spec)
{
	struct oci_linux *linux_ = &spec->linux_;
	struct oci_resources *resources = &linux_->resources;
	struct oci_device_node *nodes = arena_alloc(&spec->arena, linux_->devices_count + 1, sizeof(*nodes));
	struct oci_device_rule *rules = arena_alloc(&spec->arena, resources->devices_count + 1, sizeof(*rules));

	if (!nodes || !rules)
		return false;
	if (linux_->devices_count)
		memcpy(nodes, linux_->devices, linux_->devices_count * sizeof(*nodes));
	if (resources->devices_count)
		memcpy(rules, resources->devices, resources->devices_count * sizeof(*rules));
	linux_->devices = nodes;
	resources->devices = rules;
	return true;
}

static int add_disk(struct oci_spec *spec, const char *sys_block, const struct guest_disk *disk, struct error *err)
{
	size_t length = strlen(disk->kernel_name);
	char path[PATH_MAX], name[NAME_MAX + 1];
	cleanup_closedir DIR *parts = NULL;
	const struct dirent *entry;
	int ret;

	(void)snprintf(path, sizeof(path), "%s/%s", sys_block, disk->kernel_name);
	if (!make_room(spec))
		return error_errno(err, ENOMEM, "cannot name a disk");
	ret = add_node(spec, path, disk->name, err);
	parts = opendir(path);
	while (ret == 0 && parts && (entry = readdir(parts))) {
		const char *number = entry->d_name + length;

		if (!str_starts(entry->d_name, disk->kernel_name) || *number < '1' || *number > '9')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s/%s", sys_block, disk->kernel_name, entry->d_name);
		(void)snprintf(name, sizeof(name), "%s%s", disk->name, number);
		if (!make_room(spec))
			return error_errno(err, ENOMEM, "cannot name a disk");
		ret = add_node(spec, path, name, err);
	}
	return ret;
}

int disks_add(struct oci_spec *spec, const char *sys_block, struct error *err)
{
	size_t wanted = disks_wanted(spec), count;
	struct guest_disk disks[GUEST_DISKS_MAX];
	int ret = 0;

	if (wanted == 1)
		return 0;
	count = disks_find(sys_block, disks);
	for (int waited = 0; count < wanted && waited < WAIT_MS; waited += LOOK_AGAIN_MS) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = LOOK_AGAIN_MS * 1000000 }, NULL);
		count = disks_find(sys_block, disks);
	}
	if (count < wanted)
		return error_set(err, ENODEV, "of the machine's %zu disks, %zu are there", wanted, count);
	for (size_t i = 1; ret == 0 && i < count; i++)
		ret = add_disk(spec, sys_block, &disks[i], err);
	return ret;
}
