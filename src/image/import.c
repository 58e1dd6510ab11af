/* SPDX-License-Identifier: Apache-2.0 */
/* An image out of a root file system's tarball. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/change.h"
#include "image/image.h"
#include "image/intake.h"

enum { TIME_MAX = 32, COPY_CHUNK = 128 << 10 };

/* An image in the making. */
struct import {
	struct image_store *store;
	const struct image_import_options *options;
	struct intake intake;
	struct oci_image_config config;
	struct oci_manifest manifest;
	struct oci_descriptor layer;
	const char *diff_id;
	struct oci_history history;
	char created[TIME_MAX], full[REFERENCE_MAX + 130];
	char layer_digest[OCI_DIGEST_MAX], manifest_digest[OCI_DIGEST_MAX];
	struct layer_result unpacked;
};

static int prepare(struct import *import, struct error *err)
{
	const struct image_import_options *options = import->options;
	time_t now = options->created < 0 ? time(NULL) : (time_t)options->created;
	struct image_reference reference;
	struct tm tm;
	int ret;

	if (!gmtime_r(&now, &tm) || strftime(import->created, sizeof(import->created), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return error_set(err, EINVAL, "%lld is not a time", (long long)options->created);
	if (options->name) {
		ret = image_reference_parse(options->name, &reference, err);
		if (ret == 0 && *reference.digest)
			ret = error_set(err, EINVAL, "cannot import with a digest: %.128s", options->name);
		if (ret < 0)
			return ret;
		image_reference_full(&reference, import->full);
	}
	import->config.created = import->created;
	import->config.platform.os = "linux";
	import->config.platform.architecture = options->architecture ? options->architecture : oci_host_architecture();
	import->history = (struct oci_history){ .created = import->created, .comment = options->message };
	import->config.history = &import->history;
	import->config.history_count = 1;
	for (size_t i = 0; options->changes && options->changes[i]; i++) {
		ret = image_change(&import->config, options->changes[i], err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Where stored bytes come from: a descriptor, or what inflate gives of it. */
struct feed {
	struct inflate *inflate; /* not NULL: give back what it inflates */
	int fd;
	unsigned char *buffer;
	uint64_t left, done, total; /* bytes; total 0: not known */
	const struct import *import;
};

static ssize_t feed_source(void *context, const void **bytes, struct error *err)
{
	struct feed *feed = context;
	const struct image_progress *progress;
	ssize_t count;

	if (feed->inflate)
		return inflate_read(feed->inflate, bytes, err);
	progress = &feed->import->store->progress;
	do
		count = read(feed->fd, feed->buffer, COPY_CHUNK);
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return error_errno(err, errno, "cannot read");
	if ((uint64_t)count > feed->left)
		return error_set(err, EFBIG, "the archive is too large");
	feed->left -= (uint64_t)count;
	feed->done += (uint64_t)count;
	if (progress->report &&
	    progress->report(progress->context, "Importing", image_reference_familiar(feed->import->full), feed->done,
			     count ? feed->total : feed->done))
		return error_set(err, ECANCELED, "interrupted");
	*bytes = feed->buffer;
	return count;
}

/* Stores the tarball as it comes: a pipe can be read only once. */
static int store_raw(struct import *import, int fd, struct error *err)
{
	cleanup_free unsigned char *buffer = malloc(COPY_CHUNK);
	struct image_limits limits = import->store->limits;
	struct feed feed = { .fd = fd, .buffer = buffer, .import = import };
	struct stat st;

	image_limits_default(&limits);
	feed.left = limits.unpacked_bytes;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		feed.total = (uint64_t)st.st_size;
	if (!buffer)
		return error_errno(err, ENOMEM, "cannot import");
	return intake_stream(&import->intake, NULL, NULL, feed_source, &feed, err);
}

/* xz and bzip2 are no layer media types: such a layer is stored unpacked.  Returns the file to use. */
static int store_known(struct import *import, int raw, struct error *err)
{
	cleanup_close int fd = intake_open(&import->intake, raw, err);
	struct inflate inflate;
	struct feed feed = { .inflate = &inflate };
	int ret;

	if (fd < 0)
		return fd;
	ret = inflate_open(&inflate, fd, import->store, "Importing", image_reference_familiar(import->full), err);
	if (ret == 0 && inflate.kind == INFLATE_OTHER)
		raw = intake_stream(&import->intake, NULL, NULL, feed_source, &feed, err);
	inflate_close(&inflate);
	return ret < 0 ? ret : raw;
}

static int store_layer(struct import *import, int fd, struct error *err)
{
	struct intake_file *file;
	int raw = store_raw(import, fd, err), known, ret;

	if (raw < 0)
		return raw;
	known = store_known(import, raw, err);
	if (known < 0)
		return known;
	file = &import->intake.files[known];
	if (file->size == 0)
		return error_set(err, EINVAL, "the archive is empty");
	file->wanted = true;
	memcpy(import->layer_digest, file->digest, sizeof(import->layer_digest));
	import->layer.digest = import->layer_digest;
	import->layer.size = file->size;
	ret = intake_unpack_base(&import->intake, &import->layer, &import->unpacked, err);
	if (ret < 0)
		return ret;
	import->layer.media_type = image_layer_media_type(import->unpacked.kind);
	import->diff_id = import->unpacked.diff_id;
	import->config.diff_ids = (struct oci_strings){ .count = 1, .items = &import->diff_id };
	import->manifest.layers = &import->layer;
	import->manifest.layers_count = 1;
	return 0;
}

/* Config and manifest as documents; the manifest's descriptor in *descriptor. */
static int store_documents(struct import *import, struct oci_descriptor *descriptor, char id[static OCI_DIGEST_MAX],
			   struct error *err)
{
	cleanup_free char *config = oci_image_config_json(&import->config), *manifest = NULL;
	int file;

	if (!config)
		return error_errno(err, ENOMEM, "cannot import");
	file = intake_bytes(&import->intake, config, strlen(config), err);
	if (file < 0)
		return file;
	memcpy(id, import->intake.files[file].digest, OCI_DIGEST_MAX);
	import->manifest.config = (struct oci_descriptor){ .media_type = OCI_MEDIA_CONFIG,
							   .digest = id,
							   .size = strlen(config) };
	manifest = oci_manifest_json(&import->manifest);
	if (!manifest)
		return error_errno(err, ENOMEM, "cannot import");
	file = intake_bytes(&import->intake, manifest, strlen(manifest), err);
	if (file < 0)
		return file;
	memcpy(import->manifest_digest, import->intake.files[file].digest, OCI_DIGEST_MAX);
	*descriptor = (struct oci_descriptor){ .media_type = OCI_MEDIA_MANIFEST,
					       .digest = import->manifest_digest,
					       .size = strlen(manifest),
					       .platform = import->config.platform };
	return 0;
}

struct import_edit {
	struct oci_descriptor manifest;
	const char *full;
};

static int edit_import(struct oci_index *index, void *context, struct error *err)
{
	const struct import_edit *edit = context;

	return store_index_name(index, &edit->manifest, edit->full, err);
}

static int run_import(struct import *import, int fd, char id[static OCI_DIGEST_MAX], struct error *err)
{
	struct import_edit edit = { .full = NULL };
	int ret = prepare(import, err);

	edit.full = *import->full ? import->full : NULL;
	if (ret == 0)
		ret = store_layer(import, fd, err);
	if (ret == 0)
		ret = store_documents(import, &edit.manifest, id, err);
	if (ret == 0)
		ret = intake_admit(&import->intake, err);
	return ret == 0 ? store_index_update(import->store, edit_import, &edit, err) : ret;
}

int image_import(struct image_store *store, int fd, const struct image_import_options *options, char id[OCI_DIGEST_MAX],
		 struct error *err)
{
	struct import import = { .store = store, .options = options };
	char own_id[OCI_DIGEST_MAX];
	int ret = intake_begin(&import.intake, store, err);

	if (ret < 0)
		return ret;
	ret = run_import(&import, fd, own_id, err);
	intake_end(&import.intake);
	import.config.history = NULL;
	oci_image_config_free(&import.config);
	if (ret < 0)
		return error_wrap(err, "cannot import %.128s", options->name ? options->name : "image");
	if (id)
		memcpy(id, own_id, sizeof(own_id));
	return 0;
}
