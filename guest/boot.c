/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "guest/disks.h"

enum {
	LINE_MAX_SIZE = 4096, /* of the kernel's command line, with its end */
	ROOT_SECONDS = 30,    /* until the root disk must be there: ATA ports are probed one after the other */
	LOOK_AGAIN = 100,     /* ms: for what appears without an event that we know of */
	EVENT_MAX = 4096,
	SMALL_FILE_MAX = 4096,
};

/* ---- what we say ---- */

static void say(const char *format, va_list args)
{
	char line[ERROR_TEXT_MAX + 64];
	int length = snprintf(line, sizeof(line), "caisson-init: ");

	(void)vsnprintf(line + length, sizeof(line) - (size_t)length - 1, format, args);
	(void)strcat(line, "\n");
	(void)!write(STDERR_FILENO, line, strlen(line));
}

void boot_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
}

void boot_debug(const struct boot *boot, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	struct timespec now;
	va_list args;

	if (!boot->words.debug)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	boot_say("[%3lld.%03ld] %s", (long long)now.tv_sec, now.tv_nsec / 1000000, text);
}

void boot_power_off(void)
{
	sync();
	(void)reboot(RB_POWER_OFF);
	/* Where that cannot be had: the VMM takes a reset for the end, too. */
	(void)reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

/* ---- the command line ---- */

static void take_text(const char *word, size_t length, const char *name, char *room, size_t size)
{
	size_t prefix = strlen(name);

	if (length <= prefix || strncmp(word, name, prefix) != 0 || length - prefix >= size)
		return;
	memcpy(room, word + prefix, length - prefix);
	room[length - prefix] = '\0';
}

void boot_words_read(const char *line, struct boot_words *words)
{
	static const char debug[] = "caisson.debug";

	*words = (struct boot_words){ .id = "workload" };
	while (*(line += strspn(line, " \t\n"))) {
		size_t length = strcspn(line, " \t\n");

		take_text(line, length, "caisson.agent=", words->agent, sizeof(words->agent));
		take_text(line, length, "caisson.root=", words->root, sizeof(words->root));
		take_text(line, length, "caisson.id=", words->id, sizeof(words->id));
		words->debug |= length == strlen(debug) && strncmp(line, debug, length) == 0;
		line += length;
	}
}

/* ---- file systems ---- */

/* The machine's own root: no initramfs, so that pivot_root(2) works in it, and what the modules took is given back. */
#define NEW_ROOT "/root.new"

static const struct own_mount {
	const char *type, *target, *options;
	unsigned long flags;
} own_mounts[] = {
	{ "tmpfs", "", "mode=0755", MS_NOSUID | MS_NODEV },
	{ "devtmpfs", "/dev", "mode=0755", MS_NOSUID },
	{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "cgroup2", "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
};

static int make_mount(const struct own_mount *mount_, struct error *err)
{
	char target[64];

	(void)snprintf(target, sizeof(target), "%s%s", NEW_ROOT, mount_->target);
	(void)mkdir(target, 0755);
	if (mount(mount_->type, target, mount_->type, mount_->flags, mount_->options) < 0)
		return error_errno(err, errno, "cannot mount %s on %s", mount_->type, mount_->target);
	return 0;
}

static int enter_root(struct error *err)
{
	static const char *const directories[] = { "/rootfs", "/run", BOOT_MOUNTS, BOOT_SHARES };

	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return error_errno(err, errno, "cannot enter the new root");
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
		if (mkdir(directories[i], 0755) < 0)
			return error_errno(err, errno, "cannot make %s", directories[i]);
	}
	return 0;
}

/* Without a console in the initramfs the kernel starts us without any descriptor. */
static void have_console(void)
{
	int fd;

	if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
		return;
	fd = open("/dev/console", O_RDWR | O_NOCTTY);
	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < STDERR_FILENO)
		fd = dup(fd);
}

static int read_words(struct boot_words *words, struct error *err)
{
	cleanup_free char *line = NULL;
	size_t size;
	int ret = file_read(AT_FDCWD, "/proc/cmdline", LINE_MAX_SIZE, &line, &size, err);

	if (ret == 0)
		boot_words_read(line, words);
	return ret;
}

int boot_begin(struct boot *boot, struct error *err)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int ret = 0;

	*boot = (struct boot){ .uevents = -1 };
	/* Mounts are made below it, so it must be one that does not propagate; the kernel's first one does not. */
	boot->initramfs = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; ret == 0 && i < sizeof(own_mounts) / sizeof(*own_mounts); i++)
		ret = make_mount(&own_mounts[i], err);
	if (ret == 0)
		ret = enter_root(err);
	have_console();
	if (ret == 0)
		ret = read_words(&boot->words, err);
	if (ret < 0)
		return ret;
	/* Before anything is looked for: what appears later makes an event. */
	boot->uevents = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (boot->uevents >= 0)
		(void)bind(boot->uevents, (struct sockaddr *)&address, sizeof(address));
	return 0;
}

/* ---- devices ---- */

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void await_event(struct boot *boot)
{
	struct pollfd events = { .fd = boot->uevents, .events = POLLIN };
	char event[EVENT_MAX];

	if (poll(&events, 1, LOOK_AGAIN) > 0) {
		while (recv(boot->uevents, event, sizeof(event), MSG_DONTWAIT) > 0)
			;
	}
}

int boot_open_device(struct boot *boot, const char *name, int flags, int seconds, struct error *err)
{
	int64_t end = now_ms() + (int64_t)seconds * 1000;
	char path[NAME_MAX + sizeof("/dev/")];

	(void)snprintf(path, sizeof(path), "/dev/%s", name);
	for (;;) {
		int fd = open(path, flags | O_CLOEXEC);

		/* A node is there before its driver is ready for it. */
		if (fd >= 0)
			return fd;
		if (errno != ENOENT && errno != ENXIO && errno != ENODEV)
			return error_errno(err, errno, "cannot open %s", path);
		if (now_ms() >= end)
			return error_set(err, ENODEV, "there is no %s", path);
		await_event(boot);
	}
}

/* "vport0p1" for the port of virtio that the host calls name; false: there is none yet. */
static bool find_port(const char *name, char device[static NAME_MAX + 1])
{
	static const char ports_path[] = "/sys/class/virtio-ports";
	cleanup_closedir DIR *ports = opendir(ports_path);
	const struct dirent *port;

	while (ports && (port = readdir(ports))) {
		char path[sizeof(port->d_name) + sizeof("/name")];
		cleanup_free char *text = NULL;

		(void)snprintf(path, sizeof(path), "%s/name", port->d_name);
		if (*port->d_name == '.' || file_read(dirfd(ports), path, SMALL_FILE_MAX, &text, NULL, NULL) < 0)
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (strcmp(text, name) == 0) {
			(void)snprintf(device, NAME_MAX + 1, "%s", port->d_name);
			return true;
		}
	}
	return false;
}

/* Until the host has opened its end, a port reads as if it had hung up. */
static bool is_connected(int fd, int64_t end)
{
	struct pollfd line = { .fd = fd };

	while (poll(&line, 1, 0) > 0 && (line.revents & POLLHUP)) {
		if (now_ms() >= end)
			return false;
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return true;
}

static int open_port(struct boot *boot, const char *name, int seconds, struct error *err)
{
	int64_t end = now_ms() + (int64_t)seconds * 1000;
	char device[NAME_MAX + 1];
	int fd;

	while (!find_port(name, device)) {
		if (now_ms() >= end)
			return error_set(err, ENODEV, "there is no port \"%s\"", name);
		await_event(boot);
	}
	fd = boot_open_device(boot, device, O_RDWR | O_NONBLOCK, seconds, err);
	if (fd < 0 || is_connected(fd, end))
		return fd;
	close(fd);
	return error_set(err, ENODEV, "the host has not opened the port \"%s\"", name);
}

int boot_open_line(struct boot *boot, int seconds, struct error *err)
{
	static const char port[] = "port:";
	const char *name = boot->words.agent;

	if (!*name)
		return error_set(err, EINVAL, "the kernel's command line has no caisson.agent=NAME");
	if (str_starts(name, port))
		return open_port(boot, name + strlen(port), seconds, err);
	return boot_open_device(boot, name, O_RDWR | O_NOCTTY | O_NONBLOCK, seconds, err);
}

/* The kernel calls the ATA disk "sda" that is ready first, not the first one of the controller. */
static void find_ata_root(struct boot *boot, char name[static 16])
{
	int64_t end = now_ms() + (int64_t)ROOT_SECONDS * 1000;

	while (!disks_find_first_ata("/sys/block", name) && now_ms() < end)
		await_event(boot);
}

int boot_mount_root(struct boot *boot, struct error *err)
{
	char name[16] = "", device[sizeof(boot->words.root) + sizeof(name)];
	int fd, ret;

	if (!str_starts(boot->words.root, "/dev/"))
		return error_set(err, EINVAL, "the kernel's command line has no caisson.root=/dev/...");
	if (strcmp(boot->words.root, "/dev/sda") == 0)
		find_ata_root(boot, name);
	(void)snprintf(device, sizeof(device), "%s%s", *name ? "/dev/" : boot->words.root, name);
	fd = boot_open_device(boot, device + strlen("/dev/"), O_RDONLY, ROOT_SECONDS, err);
	if (fd < 0)
		return error_wrap(err, "the root disk does not appear");
	ret = mount(device, BOOT_ROOTFS, "ext4", 0, NULL);
	if (ret < 0 && (errno == EROFS || errno == EACCES))
		ret = mount(device, BOOT_ROOTFS, "ext4", MS_RDONLY, NULL);
	ret = ret < 0 ? error_errno(err, errno, "cannot mount %s as the root file system", device) : 0;
	close(fd);
	return ret;
}

void boot_seal_root(void)
{
	/* Writes everything out; the journal is left empty. */
	if (mount(NULL, BOOT_ROOTFS, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
		sync();
}

int boot_raise_loopback(struct error *err)
{
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return error_errno(err, errno, "cannot raise the loopback device");
	return 0;
}
