/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "image/content.h"
#include "image/digest.h"

static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
static const char empty_index[] = "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MEDIA_INDEX "\",\"manifests\":[]}";

int store_sync(const struct image_store *store, int fd, struct error *err)
{
	if (store->durable && fsync(fd) < 0)
		return error_errno(err, errno, "cannot sync to disk");
	return 0;
}

int store_lock(const struct image_store *store, const char *name, int operation, struct error *err)
{
	cleanup_close int fd = openat(store->fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "cannot open %s/%s", store->root, name);
	do
		ret = flock(fd, operation);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return error_errno(err, errno, "cannot lock %s/%s", store->root, name);
	return take_fd(&fd);
}

/* An old one is from a writer that died with the lock: nobody else uses the name. */
static int replace_whole(const struct image_store *store, const char *name, const char *text, struct error *err)
{
	static const char temporary[] = ".new";
	cleanup_close int fd = openat(store->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int ret;

	if (fd < 0)
		return error_errno(err, errno, "cannot write %s/%s", store->root, name);
	ret = file_write_all(fd, text, strlen(text));
	if (ret < 0)
		(void)error_errno(err, -ret, "cannot write %s/%s", store->root, name);
	else
		ret = store_sync(store, fd, err);
	if (ret == 0 && renameat(store->fd, temporary, store->fd, name) < 0)
		ret = error_errno(err, errno, "cannot write %s/%s", store->root, name);
	if (ret < 0) {
		(void)unlinkat(store->fd, temporary, 0);
		return ret;
	}
	return store_sync(store, store->fd, err);
}

/* A new store must not swallow a directory that is something else. */
static int check_empty(const struct image_store *store, struct error *err)
{
	static const char *const own[] = { ".",	   "..",      "blobs", "snapshots",  "instances", "leases",	"tmp",
					   "lock", "content", ".new",  "index.json", "volumes",	  "lost+found", NULL };
	int fd = openat(store->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return error_errno(err, errno, "cannot read %s", store->root);
	while ((entry = readdir(dir))) {
		size_t i;

		for (i = 0; own[i] && strcmp(own[i], entry->d_name) != 0; i++)
			;
		if (!own[i])
			return error_set(err, EEXIST, "%s is not an image store: it holds \"%s\"", store->root,
					 entry->d_name);
	}
	return 0;
}

/* The layout file comes last: with it, the store is whole. */
static int create(const struct image_store *store, struct error *err)
{
	static const struct {
		const char *path;
		mode_t mode;
	} directories[] = { { "blobs", 0700 },	   { "blobs/sha256", 0755 }, { "blobs/sha512", 0755 },
			    { "snapshots", 0700 }, { "leases", 0700 },	     { "tmp", 0700 } };
	cleanup_close int lock = store_lock(store, STORE_LOCK, LOCK_EX, err);
	int ret;

	if (lock < 0)
		return lock;
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		if (mkdirat(store->fd, directories[i].path, directories[i].mode) < 0 && errno != EEXIST)
			return error_errno(err, errno, "cannot make %s/%s", store->root, directories[i].path);
	if (faccessat(store->fd, "index.json", F_OK, 0) < 0) {
		ret = replace_whole(store, "index.json", empty_index, err);
		if (ret < 0)
			return ret;
	}
	return replace_whole(store, "oci-layout", layout, err);
}

static char *default_root(void)
{
	bool user = geteuid() != 0 || getenv(IMAGE_STORE_ROOTLESS);
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (!user)
		return strdup("/var/lib/caisson");
	if (data && *data == '/')
		return path_join(data, "caisson");
	return home && *home == '/' ? path_join(home, ".local/share/caisson") : NULL;
}

/* Root of a user namespace is not the host's root: the kernel keeps device nodes and trusted attributes from it. */
static bool is_rootless(void)
{
	cleanup_free char *map = NULL;
	unsigned long inside = 1, outside = 1, length = 0;

	if (geteuid() != 0)
		return true;
	if (file_read(AT_FDCWD, "/proc/self/uid_map", 4096, &map, NULL, NULL) < 0)
		return false;
	return sscanf(map, "%lu %lu %lu", &inside, &outside, &length) != 3 || inside != 0 || outside != 0 ||
	       length != UINT32_MAX;
}

static int open_layout(struct image_store *store, struct error *err)
{
	cleanup_free char *text = NULL;
	size_t size;
	int ret = file_read(store->fd, "oci-layout", 4096, &text, &size, err);

	if (ret == -ENOENT) {
		ret = check_empty(store, err);
		return ret < 0 ? ret : create(store, err);
	}
	if (ret == 0)
		ret = oci_layout_check(text, size, err);
	return ret < 0 ? error_wrap(err, "cannot open image store %s", store->root) : 0;
}

int image_store_open(struct image_store *store, const char *root, struct error *err)
{
	int ret;

	*store = (struct image_store){ .fd = -1, .rootless = is_rootless(), .durable = true };
	store->root = root ? path_absolute(root) : default_root();
	if (!store->root)
		return error_set(err, EINVAL, "no place for images; set HOME, or give a directory with --root");
	ret = file_mkdir_all(AT_FDCWD, store->root, 0711, err);
	if (ret < 0) {
		(void)error_wrap(err, "cannot open image store");
		goto out;
	}
	store->fd = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret = store->fd < 0 ? error_errno(err, errno, "cannot open image store %s", store->root) : 0;
	if (ret == 0)
		ret = open_layout(store, err);
out:
	if (ret < 0)
		image_store_close(store);
	return ret;
}

void image_store_close(struct image_store *store)
{
	if (store->fd >= 0)
		close(store->fd);
	free(store->root);
	store->fd = -1;
	store->root = NULL;
}

int store_names(const struct image_store *store, const char *path, char ***names, size_t *count, struct error *err)
{
	int fd = openat(store->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	char **list = NULL;
	size_t used = 0;

	*names = NULL;
	*count = 0;
	if (!dir)
		return errno == ENOENT ? 0 : error_errno(err, errno, "cannot read %s/%s", store->root, path);
	while ((entry = readdir(dir))) {
		char **grown;

		if (entry->d_name[0] == '.')
			continue;
		grown = reallocarray(list, used + 1, sizeof(*list));
		if (grown)
			list = grown;
		if (!grown || !(list[used] = strdup(entry->d_name))) {
			store_names_free(list, used);
			return error_errno(err, ENOMEM, "cannot read %s/%s", store->root, path);
		}
		used++;
	}
	*names = list;
	*count = used;
	return 0;
}

void store_names_free(char **names, size_t count)
{
	while (count > 0)
		free(names[--count]);
	free(names);
}

/* Under the lock no new directory appears, so one that can be flocked has no owner, and never will. */
static void sweep(const struct image_store *store)
{
	char **names;
	size_t count;

	if (store_names(store, "tmp", &names, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		cleanup_free char *path = path_join("tmp", names[i]);
		cleanup_close int fd = path ? openat(store->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			(void)file_remove_all(store->fd, path, NULL);
	}
	store_names_free(names, count);
}

int store_tmp_make(const struct image_store *store, struct store_tmp *tmp, struct error *err)
{
	char name[sizeof(tmp->name)];
	cleanup_close int lock = store_lock(store, STORE_LOCK, LOCK_EX, err);

	tmp->fd = -1;
	if (lock < 0)
		return lock;
	sweep(store);
	for (int i = 0; i < 10000; i++) {
		(void)snprintf(name, sizeof(name), "tmp/%d.%d", (int)getpid(), i);
		if (mkdirat(store->fd, name, 0700) == 0)
			break;
		if (errno != EEXIST)
			return error_errno(err, errno, "cannot make %s/%s", store->root, name);
	}
	memcpy(tmp->name, name, sizeof(name));
	tmp->fd = openat(store->fd, tmp->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tmp->fd < 0 || flock(tmp->fd, LOCK_EX | LOCK_NB) < 0)
		return error_errno(err, errno, "cannot open %s/%s", store->root, tmp->name);
	return 0;
}

void store_tmp_remove(const struct image_store *store, struct store_tmp *tmp)
{
	if (tmp->fd < 0)
		return;
	(void)file_remove_all(store->fd, tmp->name, NULL);
	close(tmp->fd);
	tmp->fd = -1;
}

void store_blob_path(const char *digest, char path[static STORE_PATH_MAX])
{
	(void)snprintf(path, STORE_PATH_MAX, "blobs/%.6s/%s", digest, digest + 7);
}

void store_snapshot_path(const char *chain_id, char path[static STORE_PATH_MAX])
{
	(void)snprintf(path, STORE_PATH_MAX, "snapshots/%s", chain_id + 7);
}

void store_disk_path(const char *chain_id, char path[static STORE_PATH_MAX])
{
	(void)snprintf(path, STORE_PATH_MAX, "disks/%s", chain_id + 7);
}

int store_blob_open(const struct image_store *store, const char *digest, uint64_t *size, struct error *err)
{
	char path[STORE_PATH_MAX];
	cleanup_close int fd = -1;
	struct stat st;

	store_blob_path(digest, path);
	fd = openat(store->fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "cannot open blob %s", digest);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "blob %s is not a file", digest);
	if (size)
		*size = (uint64_t)st.st_size;
	return take_fd(&fd);
}

int store_blob_read(const struct image_store *store, const char *digest, char **content, size_t *size,
		    struct error *err)
{
	cleanup_close int fd = store_blob_open(store, digest, NULL, err);
	cleanup_free char *text = NULL;
	char actual[OCI_DIGEST_MAX];
	struct digest sum;
	int ret;

	if (fd < 0)
		return fd;
	ret = file_read_fd(fd, OCI_DOCUMENT_MAX, &text, size, err);
	if (ret < 0)
		return error_wrap(err, "blob %s", digest);
	digest_begin(&sum, digest);
	digest_add(&sum, text, *size);
	digest_end(&sum, actual);
	if (strcmp(actual, digest) != 0)
		return error_set(err, EIO, "blob %s is damaged: its digest is %s", digest, actual);
	*content = take_ptr(text);
	return 0;
}

int store_index_read(const struct image_store *store, struct oci_index *index, struct error *err)
{
	cleanup_free char *text = NULL;
	size_t size;
	int ret = file_read(store->fd, "index.json", OCI_DOCUMENT_MAX, &text, &size, err);

	if (ret == 0)
		ret = oci_index_parse(text, size, index, err);
	return ret < 0 ? error_wrap(err, "image store %s: index.json", store->root) : 0;
}

int store_index_update(const struct image_store *store, store_index_edit *edit, void *context, struct error *err)
{
	cleanup_close int lock = store_lock(store, STORE_LOCK, LOCK_EX, err);
	cleanup_free char *text = NULL;
	struct oci_index index;
	int ret;

	if (lock < 0)
		return lock;
	ret = store_index_read(store, &index, err);
	if (ret < 0)
		return ret;
	ret = edit(&index, context, err);
	if (ret > 0) {
		text = oci_index_json(&index);
		ret = text ? replace_whole(store, "index.json", text, err)
			   : error_errno(err, ENOMEM, "cannot write %s/index.json", store->root);
	}
	oci_index_free(&index);
	return ret;
}

const char *store_descriptor_name(const struct oci_descriptor *descriptor)
{
	return oci_pairs_get(&descriptor->annotations, OCI_ANNOTATION_REF_NAME);
}

/* Appends a copy of manifest that carries just this name. */
static int append_named(struct oci_index *index, const struct oci_descriptor *manifest, const char *full,
			struct error *err)
{
	struct oci_descriptor *items = arena_alloc(&index->arena, index->manifests_count + 2, sizeof(*items)), *added;

	if (!items)
		return error_errno(err, ENOMEM, "cannot change the index");
	if (index->manifests_count)
		memcpy(items, index->manifests, index->manifests_count * sizeof(*items));
	added = &items[index->manifests_count];
	*added = *manifest;
	added->annotations = (struct oci_pairs){ .count = 0 };
	added->digest = arena_strdup(&index->arena, manifest->digest);
	if (full) {
		added->annotations.items = arena_alloc(&index->arena, 1, sizeof(*added->annotations.items));
		if (!added->annotations.items)
			return error_errno(err, ENOMEM, "cannot change the index");
		added->annotations.count = 1;
		added->annotations.items[0].key = OCI_ANNOTATION_REF_NAME;
		added->annotations.items[0].value = arena_strdup(&index->arena, full);
	}
	if (!added->digest || (full && !added->annotations.items[0].value))
		return error_errno(err, ENOMEM, "cannot change the index");
	index->manifests = items;
	index->manifests_count++;
	return 1;
}

static void drop_descriptor(struct oci_index *index, size_t at)
{
	index->manifests_count--;
	memmove(&index->manifests[at], &index->manifests[at + 1],
		(index->manifests_count - at) * sizeof(*index->manifests));
}

static size_t count_digest(const struct oci_index *index, const char *digest)
{
	size_t count = 0;

	for (size_t i = 0; i < index->manifests_count; i++)
		count += strcmp(index->manifests[i].digest, digest) == 0;
	return count;
}

int store_index_name(struct oci_index *index, const struct oci_descriptor *manifest, const char *full,
		     struct error *err)
{
	for (size_t i = 0; full && i < index->manifests_count; i++) {
		const char *name = store_descriptor_name(&index->manifests[i]);

		if (!name || strcmp(name, full) != 0)
			continue;
		if (strcmp(index->manifests[i].digest, manifest->digest) == 0)
			return 0;
		if (count_digest(index, index->manifests[i].digest) > 1) {
			drop_descriptor(index, i--);
			continue;
		}
		index->manifests[i].annotations.count = 0;
	}
	if (!full && count_digest(index, manifest->digest) > 0)
		return 0;
	/* A nameless entry gives way to a named one. */
	for (size_t i = 0; full && i < index->manifests_count; i++)
		if (strcmp(index->manifests[i].digest, manifest->digest) == 0 &&
		    !store_descriptor_name(&index->manifests[i]))
			drop_descriptor(index, i--);
	return append_named(index, manifest, full, err);
}

int store_manifest_id(const struct image_store *store, const char *manifest, char id[static OCI_DIGEST_MAX])
{
	cleanup_free char *text = NULL;
	struct oci_manifest parsed;
	size_t size;
	int ret = store_blob_read(store, manifest, &text, &size, NULL);

	if (ret == 0)
		ret = oci_manifest_parse(text, size, &parsed, NULL);
	if (ret < 0)
		return ret;
	memcpy(id, parsed.config.digest, strlen(parsed.config.digest) + 1);
	oci_manifest_free(&parsed);
	return 0;
}

int store_index_merge(const struct image_store *store, struct oci_index *index, const char *manifest)
{
	char id[OCI_DIGEST_MAX], other[OCI_DIGEST_MAX];
	bool named = false;
	int changed = 0;

	if (store_manifest_id(store, manifest, id) < 0)
		return 0;
	for (size_t i = 0; !named && i < index->manifests_count; i++)
		named = store_descriptor_name(&index->manifests[i]) &&
			store_manifest_id(store, index->manifests[i].digest, other) == 0 && strcmp(other, id) == 0;
	for (size_t i = 0; i < index->manifests_count; i++) {
		const struct oci_descriptor *each = &index->manifests[i];

		if (store_descriptor_name(each) || (!named && strcmp(each->digest, manifest) == 0) ||
		    store_manifest_id(store, each->digest, other) < 0 || strcmp(other, id) != 0)
			continue;
		drop_descriptor(index, i--);
		changed = 1;
	}
	return changed;
}

void store_lease_read(const struct image_store *store, const char *id, char manifest[static OCI_DIGEST_MAX])
{
	cleanup_free char *path = path_join("leases", id), *text = NULL;
	size_t size;

	*manifest = '\0';
	if (!path || file_read(store->fd, path, OCI_DIGEST_MAX, &text, &size, NULL) < 0)
		return;
	if (oci_digest_valid(text))
		memcpy(manifest, text, size + 1);
}
