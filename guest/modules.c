/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's modules, in the order of the initramfs's list: see boot.h.
 * Nothing is resolved here; whoever wrote the list knew what needs what.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "guest/boot.h"

enum { LIST_MAX = 65536, NAME_MAX_SIZE = 64, SMALL_FILE_MAX = 4096 };

static bool is_word(const char *word, size_t length, const char *wanted)
{
	return wanted && strlen(wanted) == length && strncmp(word, wanted, length) == 0;
}

bool boot_module_wanted(const char *line, const char *kind, const char *word, bool (*has)(const char *word),
			char name[static 64])
{
	static const char *const devices[] = { "pci", "net", "vsock" };
	size_t length = strcspn(line, " \t\n");
	bool kinds = false, right_kind = false, right_moment = !word, lacks = false;

	if (length == 0 || length >= NAME_MAX_SIZE || *line == '#')
		return false;
	memcpy(name, line, length);
	name[length] = '\0';
	for (line += length; *(line += strspn(line, " \t")) && *line != '\n'; line += length) {
		length = strcspn(line, " \t\n");
		if (is_word(line, length, "pv") || is_word(line, length, "vm")) {
			kinds = true;
			right_kind |= is_word(line, length, kind);
		} else if (is_word(line, length, "share") || is_word(line, length, "late")) {
			right_moment = is_word(line, length, word);
		} else {
			for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
				lacks |= is_word(line, length, devices[i]) && !has(devices[i]);
		}
	}
	return right_moment && (!kinds || right_kind) && !lacks;
}

/* Whether a device of that bus has an attribute that begins so. */
static bool has_device(const char *bus, const char *attribute, const char *value)
{
	cleanup_closedir DIR *devices = opendir(bus);
	const struct dirent *device;

	while (devices && (device = readdir(devices))) {
		char path[sizeof(device->d_name) + 16];
		cleanup_free char *text = NULL;

		if (*device->d_name == '.')
			continue;
		if (!attribute)
			return true;
		(void)snprintf(path, sizeof(path), "%s/%s", device->d_name, attribute);
		if (file_read(dirfd(devices), path, SMALL_FILE_MAX, &text, NULL, NULL) == 0 && str_starts(text, value))
			return true;
	}
	return false;
}

/* What would be loaded for nothing. */
static bool machine_has(const char *word)
{
	static const char pci[] = "/sys/bus/pci/devices", virtio[] = "/sys/bus/virtio/devices";

	if (strcmp(word, "pci") == 0)
		return has_device(pci, NULL, NULL);
	if (strcmp(word, "vsock") == 0)
		return has_device(virtio, "device", "0x0013");
	return has_device(virtio, "device", "0x0001") || has_device(pci, "class", "0x02");
}

static void load(struct boot *boot, const char *name)
{
	char path[16 + NAME_MAX_SIZE];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "modules/%s", name);
	fd = openat(boot->initramfs, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0) {
		if (fd >= 0 && (errno == EEXIST || errno == ENODEV))
			boot_debug(boot, "%s: %s", name, errno == EEXIST ? "is there" : "no such device");
		else if (fd >= 0 || boot->words.debug)
			boot_say("cannot load %s: %s", name, error_words(errno));
	} else {
		boot_debug(boot, "%s", name);
	}
	/* Its memory is the machine's. */
	(void)unlinkat(boot->initramfs, path, 0);
}

int boot_load_modules(struct boot *boot, const char *word, void (*loaded)(void *context), void *context,
		      struct error *err)
{
	/* What has virtio may know it; the other kind of machine has a serial line. */
	const char *kind = str_starts(boot->words.agent, "tty") ? "vm" : "pv";
	cleanup_free char *list = NULL;
	size_t size;
	int ret = file_read(boot->initramfs, "modules.list", LIST_MAX, &list, &size, err);

	/* A kernel that has everything built in. */
	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	for (const char *line = list; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		char name[NAME_MAX_SIZE];

		if (!boot_module_wanted(line, kind, word, machine_has, name))
			continue;
		load(boot, name);
		if (loaded)
			loaded(context);
	}
	return 0;
}
