/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host hands in for the bind mounts of config.json, each under the
 * mount's index in BOOT_MOUNTS: copies of files, and links into its shares
 * (virtio-fs, each mounted once in BOOT_SHARES).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "guest/agent.h"

enum { FILE_HEADER = 16, SHARE_HEADER = 8, TAG_MAX = 36 /* virtio-fs, with room for no NUL */ };

static void name_mount(char path[static 64], uint32_t index)
{
	(void)snprintf(path, 64, "%s/%u", BOOT_MOUNTS, index);
}

int handed_file(const struct agent_frame *frame, struct error *err)
{
	uint32_t index = 0, mode = 0, uid = 0, gid = 0;
	cleanup_close int fd = -1;
	char path[64];

	if (!agent_number(frame, 0, &index) || !agent_number(frame, 1, &mode) || !agent_number(frame, 2, &uid) ||
	    !agent_number(frame, 3, &gid))
		return error_set(err, EPROTO, "a file that is handed in is too short");
	name_mount(path, index);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || file_write_all(fd, frame->payload + FILE_HEADER, frame->size - FILE_HEADER) < 0 ||
	    fchown(fd, uid, gid) < 0 || fchmod(fd, mode & 07777) < 0)
		return error_errno(err, errno, "cannot take the file for mount %u", index);
	return 0;
}

static int mount_share(struct agent *agent, const char *tag, bool read_only, struct error *err)
{
	char target[64 + TAG_MAX];

	if (!*tag || strlen(tag) > TAG_MAX || strchr(tag, '/') || *tag == '.')
		return error_set(err, EINVAL, "a share has an impossible tag");
	(void)snprintf(target, sizeof(target), "%s/%s", BOOT_SHARES, tag);
	if (mkdir(target, 0755) < 0)
		return errno == EEXIST ? 0 : error_errno(err, errno, "cannot make %s", target);
	if (!agent->has_shares && boot_load_modules(&agent->boot, "share", NULL, NULL, err) < 0)
		return -err->code;
	agent->has_shares = true;
	if (mount(tag, target, "virtiofs", MS_NODEV | (read_only ? MS_RDONLY : 0), NULL) < 0) {
		(void)error_errno(err, errno, "cannot mount the share %s", tag);
		(void)rmdir(target);
		return -err->code;
	}
	return 0;
}

int handed_share(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	uint32_t index = 0, read_only = 0, size = frame->size - SHARE_HEADER;
	char tag[TAG_MAX + 1] = "", target[64 + TAG_MAX], place[64];
	int ret;

	(void)agent_number(frame, 0, &index);
	(void)agent_number(frame, 1, &read_only);
	if (size > TAG_MAX)
		return error_set(err, EPROTO, "a share has an impossible tag");
	memcpy(tag, frame->payload + SHARE_HEADER, size);
	ret = mount_share(agent, tag, read_only, err);
	if (ret < 0)
		return ret;
	(void)snprintf(target, sizeof(target), "%s/%s", BOOT_SHARES, tag);
	name_mount(place, index);
	if (symlink(target, place) < 0)
		return error_errno(err, errno, "cannot take the share for mount %u", index);
	return 0;
}
