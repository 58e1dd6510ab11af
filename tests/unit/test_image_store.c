/* SPDX-License-Identifier: Apache-2.0 */
/* The image store: what goes in comes out again, what is wrong leaves nothing, and who dies half-way is swept up after.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/content.h"
#include "image/digest.h"
#include "image/disk.h"
#include "image/image.h"
#include "image/snapshot.h"
#include "store.h"
#include "tarball.h"

static void assert_ok(struct fixture *f, int ret)
{
	if (ret < 0)
		fail_msg("%s", f->err.text);
}

static size_t count(const struct fixture *f, const char *path)
{
	char **names;
	size_t total;

	assert_int_equal(store_names(&f->store, path, &names, &total, NULL), 0);
	store_names_free(names, total);
	return total;
}

/* Nothing but names that are there: no content without a name, no unfinished work. */
static void assert_store(const struct fixture *f, size_t images, size_t blobs, size_t snapshots)
{
	struct image *list;
	size_t total;

	assert_int_equal(image_list((struct image_store *)(uintptr_t)&f->store, &list, &total, NULL), 0);
	image_list_free(list, total);
	assert_int_equal(total, images);
	assert_int_equal(count(f, "blobs/sha256"), blobs);
	assert_int_equal(count(f, "snapshots"), snapshots);
	assert_int_equal(count(f, "tmp"), 0);
}

static void small_tar(struct str *tar, const char *text)
{
	tar_add(tar, (struct tar_entry){ .name = "etc", .type = '5' });
	tar_add(tar, (struct tar_entry){ .name = "etc/file", .data = text });
	tar_end(tar);
}

static int import_text(struct fixture *f, const char *name, const char *text, char id[OCI_DIGEST_MAX])
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	cleanup_str struct str tar = STR_INIT;
	cleanup_close int fd = -1;

	small_tar(&tar, text);
	fd = tar_fd(&tar);
	options.name = name;
	options.created = 1000;
	return image_import(&f->store, fd, &options, id, &f->err);
}

static void test_import(void **state)
{
	static const char *const changes[] = { "ENV A=b", "CMD [\"/bin/x\"]", NULL };
	struct fixture *f = *state;
	struct image_import_options options = {
		.name = "my/app", .changes = changes, .message = "hello", .created = 0
	};
	cleanup_str struct str tar = STR_INIT;
	cleanup_close int fd = -1;
	cleanup_free char *json = NULL;
	struct image_history_row *rows;
	struct image image;
	char id[OCI_DIGEST_MAX];
	size_t total;

	small_tar(&tar, "text");
	fd = tar_fd(&tar);
	assert_ok(f, image_import(&f->store, fd, &options, id, &f->err));
	assert_store(f, 1, 3, 1);
	assert_ok(f, image_open(&f->store, "my/app:latest", &image, &f->err));
	assert_string_equal(image.id, id);
	assert_int_equal(image.names_count, 1);
	assert_string_equal(image.names[0], "docker.io/my/app:latest");
	assert_int_equal(image.size, 4);
	assert_string_equal(image.config.config.env.items[0], "A=b");
	assert_string_equal(image.config.created, "1970-01-01T00:00:00Z");
	assert_ok(f, image_inspect(&f->store, &image, &json, &f->err));
	assert_non_null(strstr(json, "\"RepoTags\": [\n        \"my/app:latest\""));
	assert_ok(f, image_history(&f->store, &image, &rows, &total, &f->err));
	assert_int_equal(total, 1);
	assert_string_equal(rows[0].comment, "hello");
	assert_int_equal(rows[0].size, 4);
	free(rows);
	image_close(&image);
	/* by id, and by the beginning of one */
	assert_ok(f, image_open(&f->store, id, &image, &f->err));
	image_close(&image);
	id[7 + 12] = '\0';
	assert_ok(f, image_open(&f->store, id + 7, &image, &f->err));
	image_close(&image);
	assert_int_equal(image_open(&f->store, "other", &image, &f->err), -ENOENT);
	assert_string_equal(f->err.text, "No such image: other");
	/* the same again is the same image */
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_ok(f, image_import(&f->store, fd, &options, id, &f->err));
	assert_store(f, 1, 3, 1);
}

static void test_import_refused(void **state)
{
	static const char *const bad_change[] = { "RUN x", NULL };
	struct fixture *f = *state;
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	cleanup_str struct str tar = STR_INIT, evil = STR_INIT, nothing = STR_INIT;
	cleanup_close int fd = -1, evil_fd = -1, empty = tar_fd(&nothing);

	small_tar(&tar, "text");
	fd = tar_fd(&tar);
	tar_add(&evil, (struct tar_entry){ .name = "good", .data = "x" });
	tar_add(&evil, (struct tar_entry){ .name = "../evil", .data = "x" });
	evil_fd = tar_fd(&evil);
	options.name = "Bad Name";
	assert_int_equal(image_import(&f->store, fd, &options, NULL, &f->err), -EINVAL);
	options.name = "good";
	options.changes = bad_change;
	assert_int_equal(image_import(&f->store, fd, &options, NULL, &f->err), -EINVAL);
	options.changes = NULL;
	assert_int_equal(image_import(&f->store, evil_fd, &options, NULL, &f->err), -EINVAL);
	assert_int_equal(image_import(&f->store, empty, &options, NULL, &f->err), -EINVAL);
	assert_store(f, 0, 0, 0);
}

/* Saved in a format, loaded into another store: the same image. */
static void round_trip(struct fixture *f, enum image_format format)
{
	static const char *const names[] = { "two", "one:1", "three" };
	cleanup_close int archive = memfd_create("archive", MFD_CLOEXEC), again = memfd_create("again", MFD_CLOEXEC);
	char id[OCI_DIGEST_MAX], dir[] = "/tmp/caisson-test-XXXXXX";
	cleanup_free char *first = NULL, *second = NULL;
	struct image_store other;
	struct image image;
	size_t size, size_again;

	assert_ok(f, import_text(f, "one:1", "first", id));
	assert_ok(f, import_text(f, "two", "second", NULL));
	assert_ok(f, image_tag(&f->store, "one:1", "three", &f->err));
	assert_ok(f, image_save(&f->store, names, 3, format, archive, &f->err));
	assert_ok(f, image_save(&f->store, names, 3, format, again, &f->err));
	lseek(archive, 0, SEEK_SET);
	lseek(again, 0, SEEK_SET);
	assert_int_equal(file_read_fd(archive, 1 << 20, &first, &size, NULL), 0);
	assert_int_equal(file_read_fd(again, 1 << 20, &second, &size_again, NULL), 0);
	assert_int_equal(size, size_again);
	assert_memory_equal(first, second, size);
	lseek(archive, 0, SEEK_SET);
	assert_non_null(mkdtemp(dir));
	assert_ok(f, image_store_open(&other, dir, &f->err));
	assert_ok(f, image_load(&other, archive, NULL, &f->report, &f->err));
	assert_non_null(strstr(str_text(&f->report.lines), "Loaded image: one:1\n"));
	assert_non_null(strstr(str_text(&f->report.lines), "Loaded image: two:latest\n"));
	assert_non_null(strstr(str_text(&f->report.lines), "Loaded image: three:latest\n"));
	assert_ok(f, image_open(&other, "three", &image, &f->err));
	assert_string_equal(image.id, id);
	assert_int_equal(image.names_count, 2);
	image_close(&image);
	image_store_close(&other);
	assert_int_equal(file_remove_all(AT_FDCWD, dir, NULL), 0);
}

static void test_docker_archive(void **state)
{
	round_trip(*state, IMAGE_FORMAT_DOCKER_ARCHIVE);
}

static void test_oci_archive(void **state)
{
	round_trip(*state, IMAGE_FORMAT_OCI_ARCHIVE);
}

/* The store is a layout itself: a directory to load from. */
static void test_load_directory(void **state)
{
	struct fixture *f = *state;
	const struct image_load_options rename = { .name = "renamed:x" };
	char dir[] = "/tmp/caisson-test-XXXXXX";
	struct image_store other;
	cleanup_close int fd = -1;
	struct image image;

	assert_ok(f, import_text(f, "one", "first", NULL));
	assert_non_null(mkdtemp(dir));
	assert_ok(f, image_store_open(&other, dir, &f->err));
	fd = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(f, image_load(&other, fd, &rename, &f->report, &f->err));
	assert_ok(f, image_open(&other, "renamed:x", &image, &f->err));
	image_close(&image);
	image_store_close(&other);
	assert_int_equal(file_remove_all(AT_FDCWD, dir, NULL), 0);
}

/* An OCI archive out of parts that a test may damage. */
struct parts {
	struct str layer;
	char layer_digest[OCI_DIGEST_MAX], config[1000], config_digest[OCI_DIGEST_MAX];
	char manifest[2000], manifest_digest[OCI_DIGEST_MAX], index[3000];
	size_t layer_size, manifest_size;
	const char *diff_id, *layer_type, *platform, *extra;
};

static void make_parts(struct parts *parts)
{
	if (parts->layer.length == 0)
		small_tar(&parts->layer, "text");
	digest_of(parts->layer.text, parts->layer.length, parts->layer_digest);
	(void)snprintf(
		parts->config, sizeof(parts->config),
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
		parts->diff_id ? parts->diff_id : parts->layer_digest);
	digest_of(parts->config, strlen(parts->config), parts->config_digest);
	(void)snprintf(parts->manifest, sizeof(parts->manifest),
		       "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" OCI_MEDIA_CONFIG
		       "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"%s\","
		       "\"size\":%zu}]%s}",
		       parts->config_digest, strlen(parts->config),
		       parts->layer_type ? parts->layer_type : OCI_MEDIA_LAYER, parts->layer_digest,
		       parts->layer_size ? parts->layer_size : parts->layer.length, parts->extra ? parts->extra : "");
	digest_of(parts->manifest, strlen(parts->manifest), parts->manifest_digest);
	(void)snprintf(parts->index, sizeof(parts->index),
		       "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" OCI_MEDIA_MANIFEST
		       "\",\"digest\":\"%s\",\"size\":%zu,\"annotations\":{\"" OCI_ANNOTATION_REF_NAME
		       "\":\"x:1\"}%s}]}",
		       parts->manifest_digest, parts->manifest_size ? parts->manifest_size : strlen(parts->manifest),
		       parts->platform ? parts->platform : "");
}

static void add_blob(struct str *tar, const char *digest, const char *bytes, size_t size)
{
	char path[STORE_PATH_MAX];

	store_blob_path(digest, path);
	tar_add(tar, (struct tar_entry){ .name = path, .data = bytes, .size = size });
}

static int load_parts(struct fixture *f, struct parts *parts)
{
	cleanup_str struct str tar = STR_INIT;
	cleanup_close int fd = -1;

	add_blob(&tar, parts->layer_digest, parts->layer.text, parts->layer.length);
	add_blob(&tar, parts->config_digest, parts->config, 0);
	add_blob(&tar, parts->manifest_digest, parts->manifest, 0);
	tar_add(&tar, (struct tar_entry){ .name = "index.json", .data = parts->index });
	tar_add(&tar, (struct tar_entry){ .name = "oci-layout", .data = "{\"imageLayoutVersion\":\"1.0.0\"}" });
	tar_end(&tar);
	fd = tar_fd(&tar);
	str_free(&parts->layer);
	f->err = ERROR_INIT;
	return image_load(&f->store, fd, NULL, &f->report, &f->err);
}

#define LOAD(f, ...)                                   \
	({                                             \
		struct parts parts_ = { __VA_ARGS__ }; \
		make_parts(&parts_);                   \
		load_parts((f), &parts_);              \
	})

static void assert_refused(struct fixture *f, int ret, int expected, const char *words)
{
	assert_int_equal(ret, expected);
	if (!strstr(f->err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", f->err.text, words);
	assert_store(f, 0, 0, 0);
}

static void test_load_refused(void **state)
{
	static const char other[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	struct fixture *f = *state;
	struct parts parts = { .diff_id = NULL };
	struct str evil = STR_INIT;

	/* the layer is not what the config says */
	assert_refused(f, LOAD(f, .diff_id = other), -EINVAL, "unpacked digest is sha256:");
	/* sizes that do not fit */
	assert_refused(f, LOAD(f, .layer_size = 5), -EINVAL, "its descriptor says 5");
	assert_refused(f, LOAD(f, .manifest_size = 5), -EINVAL, "its descriptor says 5");
	assert_refused(f, LOAD(f, .layer_type = "application/x"), -EINVAL, "cannot read \"application/x\"");
	assert_refused(f, LOAD(f, .layer_type = OCI_MEDIA_LAYER "+encrypted"), -EINVAL, "encrypted");
	/* CVE-2021-41190 */
	assert_refused(f, LOAD(f, .extra = ",\"manifests\":[]"), -EINVAL, "ambiguous");
	assert_refused(f, LOAD(f, .platform = ",\"platform\":{\"os\":\"linux\",\"architecture\":\"vax\"}"), -ENOENT,
		       "only for linux/vax");
	/* a blob that is not what its name says */
	make_parts(&parts);
	parts.layer.text[600] ^= 1;
	assert_refused(f, load_parts(f, &parts), -EINVAL, "is damaged: its digest is sha256:");
	/* a layer that wants out, after a good beginning */
	tar_add(&evil, (struct tar_entry){ .name = "good", .data = "x" });
	tar_add(&evil, (struct tar_entry){ .name = "../../../evil", .data = "x" });
	assert_refused(f, LOAD(f, .layer = evil), -EINVAL, "../../../evil");
	assert_ok(f, LOAD(f, .diff_id = NULL));
	assert_store(f, 1, 3, 1);
}

/* What is in the store already must not hide that an archive lies about it. */
static void test_load_known_layer_with_other_bytes(void **state)
{
	struct fixture *f = *state;
	struct parts good = { .diff_id = NULL }, liar;
	struct str other = STR_INIT;
	char diff_id[OCI_DIGEST_MAX];

	make_parts(&good);
	memcpy(diff_id, good.layer_digest, sizeof(diff_id));
	assert_ok(f, load_parts(f, &good));
	small_tar(&other, "other");
	liar = (struct parts){ .layer = other, .diff_id = diff_id };
	make_parts(&liar);
	assert_int_equal(load_parts(f, &liar), -EINVAL);
	assert_non_null(strstr(f->err.text, "unpacked digest"));
	assert_store(f, 1, 3, 1);
}

static void test_load_broken_archives(void **state)
{
	struct fixture *f = *state;
	cleanup_str struct str tar = STR_INIT, climbing = STR_INIT, plain = STR_INIT;
	cleanup_close int cut = -1, up = -1, rootfs = -1;

	tar_add(&tar, (struct tar_entry){ .name = "manifest.json", .data = "[{\"Config\":\"c\",\"Layers\":[]}]" });
	tar.length = 530;
	cut = tar_fd(&tar);
	assert_refused(f, image_load(&f->store, cut, NULL, &f->report, &f->err), -EINVAL, "broken tar archive");
	tar_add(&climbing, (struct tar_entry){ .name = "../manifest.json", .data = "[]" });
	tar_end(&climbing);
	up = tar_fd(&climbing);
	assert_refused(f, image_load(&f->store, up, NULL, &f->report, &f->err), -EINVAL, "leads out");
	small_tar(&plain, "x");
	rootfs = tar_fd(&plain);
	assert_refused(f, image_load(&f->store, rootfs, NULL, &f->report, &f->err), -EINVAL, "image import");
}

/* docker save of old: layers in directories of their own, and a link where one is there twice. */
static void test_load_old_docker_archive(void **state)
{
	struct fixture *f = *state;
	struct parts parts = { .diff_id = NULL };
	cleanup_str struct str tar = STR_INIT;
	cleanup_close int fd = -1;
	struct image image;

	make_parts(&parts);
	tar_add(&tar, (struct tar_entry){ .name = "manifest.json",
					  .data = "[{\"Config\":\"c.json\",\"RepoTags\":[\"old:1\",\"old:2\"],"
						  "\"Layers\":[\"b/layer.tar\"]}]" });
	tar_add(&tar, (struct tar_entry){ .name = "b/layer.tar", .type = '2', .link = "../a/layer.tar" });
	tar_add(&tar,
		(struct tar_entry){ .name = "a/layer.tar", .data = parts.layer.text, .size = parts.layer.length });
	tar_add(&tar, (struct tar_entry){ .name = "c.json", .data = parts.config });
	tar_end(&tar);
	fd = tar_fd(&tar);
	assert_ok(f, image_load(&f->store, fd, NULL, &f->report, &f->err));
	assert_ok(f, image_open(&f->store, "old:2", &image, &f->err));
	assert_string_equal(image.id, parts.config_digest);
	image_close(&image);
	assert_store(f, 1, 3, 1);
	str_free(&parts.layer);
}

static void test_tags(void **state)
{
	struct fixture *f = *state;
	struct image image;

	assert_ok(f, import_text(f, "a", "1", NULL));
	assert_ok(f, image_tag(&f->store, "a", "b:x", &f->err));
	assert_ok(f, import_text(f, "c", "2", NULL));
	/* a name goes to another image; the first keeps what it has */
	assert_ok(f, image_tag(&f->store, "c", "b:x", &f->err));
	assert_ok(f, image_open(&f->store, "a", &image, &f->err));
	assert_int_equal(image.names_count, 1);
	image_close(&image);
	/* the last name goes: the image is there without one */
	assert_ok(f, image_tag(&f->store, "c", "a", &f->err));
	assert_store(f, 2, 6, 2);
	assert_int_equal(image_tag(&f->store, "nothing", "d", &f->err), -ENOENT);
	assert_int_equal(image_tag(&f->store, "a", "Bad", &f->err), -EINVAL);
	assert_ok(f, image_prune(&f->store, 0, &f->report, &f->err));
	assert_store(f, 1, 3, 1);
	assert_true(f->report.reclaimed > 0);
}

static void test_remove(void **state)
{
	struct fixture *f = *state;
	struct image image;
	char id[OCI_DIGEST_MAX];

	assert_ok(f, import_text(f, "a", "1", id));
	assert_ok(f, image_tag(&f->store, "a", "b", &f->err));
	assert_int_equal(image_remove(&f->store, id, 0, &f->report, &f->err), -EBUSY);
	assert_ok(f, image_remove(&f->store, "a", 0, &f->report, &f->err));
	assert_string_equal(str_text(&f->report.lines), "Untagged: a:latest\n");
	assert_store(f, 1, 3, 1);
	/* an instance stands on it */
	assert_ok(f, image_open(&f->store, "b", &image, &f->err));
	assert_ok(f, image_lease(&f->store, &image, "instance", &f->err));
	assert_int_equal(image_lease(&f->store, &image, "../x", &f->err), -EINVAL);
	image_close(&image);
	assert_int_equal(image_remove(&f->store, "b", 0, &f->report, &f->err), -EBUSY);
	assert_non_null(strstr(f->err.text, "instance instance is using it"));
	assert_ok(f, image_prune(&f->store, IMAGE_PRUNE_ALL, &f->report, &f->err));
	assert_store(f, 1, 3, 1);
	assert_ok(f, image_remove(&f->store, "b", IMAGE_REMOVE_FORCE, &f->report, &f->err));
	assert_store(f, 0, 3, 1);
	assert_ok(f, image_lease_drop(&f->store, "instance", &f->err));
	assert_ok(f, image_lease_drop(&f->store, "instance", &f->err));
	assert_ok(f, image_prune(&f->store, 0, &f->report, &f->err));
	assert_store(f, 0, 0, 0);
	assert_int_equal(image_remove(&f->store, "b", 0, &f->report, &f->err), -ENOENT);
}

/* Two images that share a layer: one goes, the layer stays. */
static void test_shared_layer(void **state)
{
	static const char *const changes[] = { "ENV X=1", NULL };
	struct fixture *f = *state;
	struct image_import_options options = { .name = "b", .changes = changes, .created = 1 };
	cleanup_str struct str tar = STR_INIT;
	cleanup_close int fd = -1;

	assert_ok(f, import_text(f, "a", "1", NULL));
	small_tar(&tar, "1");
	fd = tar_fd(&tar);
	assert_ok(f, image_import(&f->store, fd, &options, NULL, &f->err));
	assert_store(f, 2, 5, 1);
	assert_ok(f, image_remove(&f->store, "a", 0, &f->report, &f->err));
	assert_store(f, 1, 3, 1);
	assert_ok(f, image_remove(&f->store, "b", 0, &f->report, &f->err));
	assert_store(f, 0, 0, 0);
}

static void test_damaged_store(void **state)
{
	struct fixture *f = *state;
	char id[OCI_DIGEST_MAX], path[STORE_PATH_MAX];
	struct image image;

	assert_ok(f, import_text(f, "a", "1", id));
	assert_ok(f, import_text(f, "b", "2", NULL));
	store_blob_path(id, path);
	assert_int_equal(faccessat(f->store.fd, path, W_OK, 0), 0);
	assert_int_equal(file_write_text(f->store.fd, path, "["), 0);
	assert_int_equal(image_open(&f->store, "a", &image, &f->err), -EIO);
	assert_non_null(strstr(f->err.text, "is damaged"));
	/* the other is still listed, and the damaged one can be got rid of */
	assert_ok(f, image_open(&f->store, "b", &image, &f->err));
	image_close(&image);
	assert_ok(f, image_remove(&f->store, "a", 0, &f->report, &f->err));
	assert_ok(f, image_prune(&f->store, 0, &f->report, &f->err));
	assert_store(f, 1, 3, 1);
}

static int stop_here(void *context, const char *action, const char *what, uint64_t done, uint64_t total)
{
	(void)what, (void)done, (void)total;
	if (strcmp(action, context) == 0)
		kill(getpid(), SIGKILL);
	return 0;
}

/* Killed while a layer is unpacked: the next import sweeps up, and works. */
static void test_killed(void **state)
{
	struct fixture *f = *state;
	char text[] = "Extracting";
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		f->store.progress = (struct image_progress){ stop_here, text };
		(void)import_text(f, "a", "1", NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(count(f, "tmp"), 1);
	assert_int_equal(count(f, "blobs/sha256"), 0);
	assert_ok(f, import_text(f, "a", "1", NULL));
	assert_store(f, 1, 3, 1);
}

/* Whatever is in the index is whole: it opens, its blobs are there, its layers can be mounted. */
static void assert_whole(struct fixture *f)
{
	struct oci_index index;
	struct image *images;
	size_t total;

	assert_ok(f, store_index_read(&f->store, &index, &f->err));
	assert_ok(f, image_list(&f->store, &images, &total, &f->err));
	assert_int_equal(total, index.manifests_count);
	for (size_t i = 0; i < total; i++) {
		cleanup_close int layer = store_blob_open(&f->store, images[i].manifest.layers[0].digest, NULL,
							  &f->err);
		char path[STORE_PATH_MAX];

		assert_true(layer >= 0);
		store_snapshot_path(images[i].chain_ids[0], path);
		assert_int_equal(faccessat(f->store.fd, path, F_OK, 0), 0);
		assert_int_equal(images[i].size, strlen("content 00"));
	}
	image_list_free(images, total);
	oci_index_free(&index);
}

/* Killed after a time that differs, among imports and removals. */
static void test_killed_anywhere(void **state)
{
	struct fixture *f = *state;
	int status;

	for (int round = 0; round < 60; round++) {
		const struct timespec delay = { .tv_nsec = 100000L + round * 83000L };
		pid_t pid = fork();

		if (pid == 0) {
			struct image_report report = IMAGE_REPORT_INIT;
			char name[32], text[32];

			for (int i = 0;; i = (i + 1) % 20) {
				(void)snprintf(name, sizeof(name), "n%d", i);
				(void)snprintf(text, sizeof(text), "content %02d", i);
				(void)import_text(f, name, text, NULL);
				if (i % 3 == 0)
					(void)image_remove(&f->store, name, 0, &report, &f->err);
			}
		}
		assert_int_equal(nanosleep(&delay, NULL), 0);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_whole(f);
	}
	assert_ok(f, import_text(f, "after", "content 99", NULL));
	assert_ok(f, image_prune(&f->store, IMAGE_PRUNE_ALL, &f->report, &f->err));
	assert_store(f, 0, 0, 0);
}

/* Half of what it left
 in the store itself has no name, and prune finds it. */
static void test_nameless_content(void **state)
{
	struct fixture *f = *state;

	assert_ok(f, import_text(f, "a", "1", NULL));
	assert_int_equal(mkdirat(f->store.fd, "snapshots/0123", 0755), 0);
	assert_int_equal(mkdirat(f->store.fd, "snapshots/0123/fs", 0755), 0);
	assert_int_equal(file_replace(f->store.fd, "stray", "x", 1, 0600, NULL), 0);
	assert_int_equal(renameat(f->store.fd, "stray", f->store.fd, "blobs/sha256/0123"), 0);
	assert_ok(f, image_prune(&f->store, 0, &f->report, &f->err));
	assert_store(f, 1, 3, 1);
}

static void test_parallel(void **state)
{
	enum { WRITERS = 8 };
	struct fixture *f = *state;
	pid_t pids[WRITERS];
	int status;

	for (int i = 0; i < WRITERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct image_report report = IMAGE_REPORT_INIT;
			char name[32], text[32];
			int failed = 0;

			/* Pairs write the same content; one in four removes again. */
			(void)snprintf(text, sizeof(text), "content %d", i / 2);
			for (int round = 0; round < 5; round++) {
				(void)snprintf(name, sizeof(name), "p%d:r%d", i, round);
				failed |= import_text(f, name, text, NULL) < 0;
				if (i % 4 == 0)
					failed |= image_remove(&f->store, name, 0, &report, &f->err) < 0;
			}
			if (failed)
				(void)fprintf(stderr, "%s\n", f->err.text);
			_exit(failed);
		}
	}
	for (int i = 0; i < WRITERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_ok(f, image_prune(&f->store, 0, &f->report, &f->err));
	assert_store(f, 4, 12, 4);
}

/* In a child with a small tmpfs of its own: a disk that is full. */
static int fill_disk(struct fixture *f)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct image_store store;
	struct str tar = STR_INIT;
	char *big = calloc(1, 1 << 20);
	int fd, ret;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", f->root, "tmpfs", 0, "size=1536k") < 0)
		return 77;
	if (image_store_open(&store, f->root, &f->err) < 0)
		return 1;
	f->store = store;
	tar_add(&tar, (struct tar_entry){ .name = "big", .data = big, .size = 1 << 20 });
	tar_end(&tar);
	fd = tar_fd(&tar);
	options.name = "big";
	ret = image_import(&store, fd, &options, NULL, &f->err);
	if (ret != -ENOSPC || !strstr(f->err.text, "no space left on device") || count(f, "tmp") != 0 ||
	    count(f, "blobs/sha256") != 0 || count(f, "snapshots") != 0)
		return 2;
	return import_text(f, "small", "x", NULL) == 0 ? 0 : 3;
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("not root: cannot mount a small file system\n");
		skip();
	}
	pid = fork();
	if (pid == 0)
		_exit(fill_disk(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 77) {
		print_message("cannot mount a tmpfs here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* Links the image's disk to name in the store, and tells what lies behind it. */
static int link_disk(struct fixture *f, const char *what, const char *name, struct stat *st)
{
	struct image_layers layers;
	struct image image;
	int ret;

	assert_ok(f, image_open(&f->store, what, &image, &f->err));
	assert_ok(f, image_layers_open(&f->store, &image, &layers, &f->err));
	ret = image_disk_link(&f->store, &image, &layers, f->store.fd, name, &f->err);
	image_layers_close(&layers);
	image_close(&image);
	return ret < 0 ? ret : fstatat(f->store.fd, name, st, AT_SYMLINK_NOFOLLOW);
}

static void test_disk(void **state)
{
	struct fixture *f = *state;
	struct stat first, second;
	char id[OCI_DIGEST_MAX];
	int ret;

	assert_ok(f, import_text(f, "one", "same", id));
	assert_ok(f, import_text(f, "two", "other", id));
	ret = link_disk(f, "one", "a", &first);
	if (ret == -EPERM || ret == -ENOENT) {
		print_message("%s\n", f->err.text);
		skip(); /* no overlay for this user, or no mke2fs */
	}
	assert_ok(f, ret);
	assert_true((uint64_t)first.st_size == IMAGE_DISK_SIZE && first.st_blocks < (64 << 20) / 512);
	/* Once. */
	assert_ok(f, link_disk(f, "one", "b", &second));
	assert_true(first.st_ino == second.st_ino);
	assert_ok(f, link_disk(f, "two", "c", &second));
	assert_true(first.st_ino != second.st_ino);
	assert_int_equal(link_disk(f, "one", "a", &second), -EEXIST);
	assert_int_equal(count(f, "disks"), 2);
	assert_store(f, 2, 6, 2);
	/* Goes with the image, and not with another one; who has a link keeps what he has. */
	assert_ok(f, image_remove(&f->store, "two", 0, &f->report, &f->err));
	assert_int_equal(count(f, "disks"), 1);
	assert_ok(f, image_remove(&f->store, "one", 0, &f->report, &f->err));
	assert_int_equal(count(f, "disks"), 0);
	assert_int_equal(fstatat(f->store.fd, "a", &second, 0), 0);
	assert_true(first.st_ino == second.st_ino && second.st_nlink == 2);
}

static int tell_of_work(void *context, const char *what, const char *id, uint64_t done, uint64_t total)
{
	const int *pipe_end = context;

	(void)what, (void)id, (void)total;
	return done == 0 && write(*pipe_end, "m", 1) != 1 ? -EIO : 0;
}

/* However many want it at once, one makes it. */
static void test_disk_at_once(void **state)
{
	enum { WANTED = 4 };
	struct fixture *f = *state;
	char id[OCI_DIGEST_MAX], made[WANTED + 1];
	int status, ends[2];
	struct stat st;
	pid_t pids[WANTED];
	bool able = true;

	assert_ok(f, import_text(f, "one", "same", id));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	f->store.progress = (struct image_progress){ .report = tell_of_work, .context = &ends[1] };
	for (int i = 0; i < WANTED; i++) {
		const char name[] = { (char)('a' + i), '\0' };

		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(link_disk(f, "one", name, &st) == 0	      ? 0
			      : f->err.code == EPERM || f->err.code == ENOENT ? 77
									      : 1);
	}
	for (int i = 0; i < WANTED; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
		able &= WEXITSTATUS(status) == 0;
	}
	close(ends[1]);
	if (!able) {
		close(ends[0]);
		skip(); /* as above */
	}
	assert_int_equal(read(ends[0], made, sizeof(made)), 1);
	close(ends[0]);
	assert_int_equal(fstatat(f->store.fd, "a", &st, 0), 0);
	assert_int_equal(st.st_nlink, 1 + WANTED);
}

static void test_not_a_store(void **state)
{
	struct fixture *f = *state;
	struct image_store store;
	cleanup_free char *path = path_join(f->root, "instances");

	assert_int_equal(mkdirat(f->store.fd, "instances", 0700), 0);
	assert_int_equal(file_replace(AT_FDCWD, path, "x", 1, 0600, NULL) < 0, 1);
	{
		cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		assert_int_equal(file_replace(fd, "thesis.txt", "x", 1, 0600, NULL), 0);
	}
	assert_int_equal(image_store_open(&store, path, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "thesis.txt"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_import),
		TEST(test_import_refused),
		TEST(test_docker_archive),
		TEST(test_oci_archive),
		TEST(test_load_directory),
		TEST(test_load_refused),
		TEST(test_load_known_layer_with_other_bytes),
		TEST(test_load_broken_archives),
		TEST(test_load_old_docker_archive),
		TEST(test_tags),
		TEST(test_remove),
		TEST(test_shared_layer),
		TEST(test_damaged_store),
		TEST(test_killed),
		TEST(test_killed_anywhere),
		TEST(test_nameless_content),
		TEST(test_parallel),
		TEST(test_full_disk),
		TEST(test_disk),
		TEST(test_disk_at_once),
		TEST(test_not_a_store),
	};

	if (no_openat2())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
