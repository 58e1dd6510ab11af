/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for who a process runs as: an input is what --user says, after a NUL an image's /etc/passwd, after
 * another its /etc/group.  The image wrote both files.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "image/user.h"

static char root_path[] = "/dev/shm/fuzz-user-XXXXXX";
static int root = -1;

static void remove_root(void)
{
	(void)unlinkat(root, "etc/passwd", 0);
	(void)unlinkat(root, "etc/group", 0);
	(void)unlinkat(root, "etc", AT_REMOVEDIR);
	(void)rmdir(root_path);
}

static void open_root(void)
{
	check(mkdtemp(root_path) != NULL);
	root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(root >= 0 && mkdirat(root, "etc", 0700) == 0);
	(void)atexit(remove_root);
}

static void write_database(const char *path, const char *text, size_t size)
{
	cleanup_close int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	check(fd >= 0 && write(fd, text, size) == (ssize_t)size);
}

static void check_user(const char *wanted, const struct image_user *user)
{
	char *end;
	unsigned long number = strtoul(wanted, &end, 10);

	check(user->uid <= INT32_MAX && user->gid <= INT32_MAX && user->home && *user->home);
	/* Who asks for a number without a name like it gets that number. */
	if (end != wanted && (*end == '\0' || *end == ':') &&
	    (!user->name || strncmp(user->name, wanted, (size_t)(end - wanted)) != 0))
		check(user->uid == number);
	for (size_t i = 0; i < user->groups_count; i++) {
		check(user->groups[i] <= INT32_MAX && user->groups[i] != user->gid);
		check(i == 0 || user->groups[i - 1] < user->groups[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = calloc(size + 3, 1);
	struct error err = ERROR_INIT;
	struct image_user user;
	char *passwd, *group;
	gid_t gid;
	int ret;

	if (root < 0)
		open_root();
	check(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	passwd = text + strlen(text) + 1;
	passwd = passwd < text + size ? passwd : text + size;
	group = passwd + strlen(passwd) + 1;
	group = group < text + size ? group : text + size;
	write_database("etc/passwd", passwd, strlen(passwd));
	/* The rest with every NUL in it. */
	write_database("etc/group", group, (size_t)(text + size - group));
	ret = image_resolve_user(text, root, &user, &err);
	check(ret == 0 || (err.code == -ret && *err.text));
	if (ret == 0) {
		check_user(text, &user);
		image_user_free(&user);
	}
	ret = image_resolve_group(text, root, &gid, NULL);
	check(ret < 0 || gid <= INT32_MAX);
	return 0;
}
