/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debian packages, deb(5): an ar archive with a member data.tar.*, whose paths
 * begin with "./".  Only kernels and their modules are taken.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "image/inflate.h"
#include "image/kernel_private.h"

enum { BLOCK = 64 << 10, FILES_MAX = 100000 };

#define PACKAGE_MAX (INT64_C(2) << 30) /* bytes, unpacked: several times what Debian's largest kernel takes */

/* Finds data.tar.*, and copies it to a file of its own. */
static int copy_member(struct archive *ar, int to, struct error *err)
{
	struct archive_entry *entry;
	int ret;

	while ((ret = archive_read_next_header(ar, &entry)) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(entry);

		if (!name || !str_starts(name, "data.tar"))
			continue;
		if (archive_read_data_into_fd(ar, to) != ARCHIVE_OK)
			return error_set(err, EINVAL, "broken package: %s", archive_error_string(ar));
		return lseek(to, 0, SEEK_SET) < 0 ? error_errno(err, errno, "cannot read the package") : 0;
	}
	return error_set(err, EINVAL,
			 ret == ARCHIVE_EOF ? "no Debian package: it has no data.tar"
					    : "neither a kernel nor a Debian package");
}

static int open_data(int package, int dir, struct error *err)
{
	cleanup_close int data = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct archive *ar = archive_read_new();
	int ret;

	if (data < 0)
		data = memfd_create("data.tar", MFD_CLOEXEC);
	if (!ar || data < 0) {
		ret = error_errno(err, ar ? errno : ENOMEM, "cannot unpack the package");
	} else if (lseek(package, 0, SEEK_SET) < 0 || archive_read_support_format_ar(ar) != ARCHIVE_OK ||
		   archive_read_open_fd(ar, package, BLOCK) != ARCHIVE_OK) {
		ret = error_set(err, EINVAL, "neither a kernel nor a Debian package");
	} else {
		ret = copy_member(ar, data, err);
	}
	archive_read_free(ar);
	return ret < 0 ? ret : take_fd(&data);
}

/* Where a file of the package goes, or NULL: not wanted.  From Debian 13 on modules are below usr/. */
static const char *place_of(const char *name)
{
	const char *end;

	while (str_starts(name, "./") || *name == '/')
		name += *name == '/' ? 1 : 2;
	if (str_starts(name, "usr/lib/modules/"))
		name += strlen("usr/");
	if (str_starts(name, "boot/vmlinuz-"))
		return name;
	if (!str_starts(name, "lib/modules/"))
		return NULL;
	end = strstr(name, ".ko");
	if (str_ends(name, "/modules.order") || str_ends(name, "/modules.builtin") ||
	    (end && (end[3] == '\0' || (end[3] == '.' && !strchr(end, '/')))))
		return name;
	return NULL;
}

static int take_file(struct archive *tar, const char *place, int dir, struct error *err)
{
	cleanup_free char *parent = strdup(place);
	cleanup_close int parent_fd = -1, fd = -1;
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (!slash)
		return error_errno(err, ENOMEM, "cannot unpack the package");
	*slash = '\0';
	/* ".." leads nowhere in there. */
	parent_fd = file_mkdir_in_root(dir, parent, 0755, NULL);
	if (parent_fd < 0)
		return error_errno(err, -parent_fd, "cannot unpack %s", place);
	fd = file_open_in_root(parent_fd, slash + 1, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		return error_errno(err, -fd, "cannot unpack %s", place);
	if (archive_read_data_into_fd(tar, fd) != ARCHIVE_OK)
		return error_set(err, EINVAL, "cannot unpack %s: %s", place, archive_error_string(tar));
	return 0;
}

static int take_files(struct inflate *inflate, struct archive *tar, int dir, struct error *err)
{
	struct archive_entry *entry;
	unsigned files = 0;
	int64_t left = PACKAGE_MAX;
	int ret;

	while ((ret = archive_read_next_header(tar, &entry)) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(entry), *place = name ? place_of(name) : NULL;

		if (!place || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
			continue;
		if (++files > FILES_MAX)
			return error_set(err, EFBIG, "the package has more than %d modules", FILES_MAX);
		if (archive_entry_size(entry) < 0 || archive_entry_size(entry) > left)
			return error_set(err, EFBIG, "the package's kernel and modules are larger than %d GiB",
					 (int)(PACKAGE_MAX >> 30));
		left -= archive_entry_size(entry);
		ret = take_file(tar, place, dir, err);
		if (ret < 0)
			return ret;
	}
	return ret == ARCHIVE_EOF ? 0 : inflate_tar_error(inflate, tar, err);
}

int kernel_unpack_package(struct image_store *store, int package, int dir, struct error *err)
{
	cleanup_close int data = open_data(package, dir, err);
	struct archive *tar = NULL;
	struct inflate inflate;
	int ret;

	if (data < 0)
		return data;
	ret = inflate_open(&inflate, data, store, "Unpacking", "kernel", err);
	if (ret == 0)
		ret = inflate_tar(&inflate, &tar, err);
	if (ret == 0)
		ret = take_files(&inflate, tar, dir, err);
	archive_read_free(tar);
	inflate_close(&inflate);
	return ret;
}
