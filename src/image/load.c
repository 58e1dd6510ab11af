/* SPDX-License-Identifier: Apache-2.0 */
/* Images out of OCI layouts and docker archives. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/image.h"
#include "image/source.h"

enum { INDEX_DEPTH_MAX = 4, FULL_MAX = REFERENCE_MAX + 130 };

/* Names under which containerd's and docker's archives keep the full name; ref.name is only the tag there. */
#define ANNOTATION_CONTAINERD_NAME "io.containerd.image.name"

/* One name for one manifest; named only when everything is in the store. */
struct loaded {
	struct oci_descriptor manifest; /* strings in the arena of struct load */
	const char *full;		/* NULL: nameless */
	const char *id;
};

struct load {
	struct image_store *store;
	const struct image_load_options *options;
	struct intake intake;
	struct source source;
	struct oci_platform platform;
	struct loaded *loaded;
	size_t loaded_count;
	size_t images;	  /* different ones */
	char others[160]; /* platforms that were passed over, for the message when none was right */
	struct arena arena;
};

static int no_memory(struct error *err)
{
	return error_errno(err, ENOMEM, "cannot load image");
}

static int note_loaded(struct load *load, const struct oci_descriptor *manifest, const char *id, const char *full,
		       struct error *err)
{
	struct loaded *grown = reallocarray(load->loaded, load->loaded_count + 1, sizeof(*grown)), *added;

	if (!grown)
		return no_memory(err);
	load->loaded = grown;
	added = &grown[load->loaded_count];
	*added = (struct loaded){ .manifest = { .size = manifest->size } };
	added->manifest.media_type = arena_strdup(&load->arena, manifest->media_type);
	added->manifest.digest = arena_strdup(&load->arena, manifest->digest);
	added->id = arena_strdup(&load->arena, id);
	added->full = full ? arena_strdup(&load->arena, full) : NULL;
	if (!added->manifest.media_type || !added->manifest.digest || !added->id || (full && !added->full))
		return no_memory(err);
	load->loaded_count++;
	return 0;
}

/* The platform belongs into the index too: other tools choose by it. */
static int note_platform(struct load *load, const struct oci_platform *platform, struct error *err)
{
	struct oci_platform *target = &load->loaded[load->loaded_count - 1].manifest.platform;
	const struct {
		const char *from;
		const char **to;
	} fields[] = { { platform->os, &target->os },
		       { platform->architecture, &target->architecture },
		       { platform->variant, &target->variant },
		       { platform->os_version, &target->os_version } };

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (fields[i].from && !(*fields[i].to = arena_strdup(&load->arena, fields[i].from)))
			return no_memory(err);
	return 0;
}

/* --name, or what the archive says. */
static int full_name(const struct load *load, const char *name, char full[static FULL_MAX], struct error *err)
{
	struct image_reference reference;
	const char *chosen = load->options->name ? load->options->name : name;
	int ret;

	*full = '\0';
	if (!chosen)
		return 0;
	ret = image_reference_parse(chosen, &reference, err);
	if (ret < 0)
		return ret;
	if (!*reference.tag)
		memcpy(reference.tag, "latest", sizeof("latest"));
	image_reference_full(&reference, full);
	return 0;
}

static bool layer_type_known(const char *type)
{
	return (str_starts(type, "application/vnd.oci.image.layer.") ||
		str_starts(type, "application/vnd.docker.image.rootfs.")) &&
	       !strstr(type, "encrypted");
}

static int check_types(const struct oci_manifest *manifest, struct error *err)
{
	const char *type = manifest->config.media_type;

	if (strcmp(type, OCI_MEDIA_CONFIG) != 0 && strcmp(type, DOCKER_MEDIA_CONFIG) != 0)
		return error_set(err, EINVAL, "not an image: its config is \"%.100s\"", type);
	for (size_t i = 0; i < manifest->layers_count; i++)
		if (!layer_type_known(manifest->layers[i].media_type))
			return error_set(err, EINVAL, "layer %zu: cannot read \"%.100s\"", i,
					 manifest->layers[i].media_type);
	return 0;
}

/* Blobs, config, unpacked layers of a manifest. */
static int take_parts(struct load *load, const struct oci_manifest *manifest, struct oci_image_config *config,
		      struct error *err)
{
	cleanup_free char *text = NULL;
	size_t size;
	int ret = check_types(manifest, err);

	if (ret == 0)
		ret = source_blob(&load->source, &manifest->config, err);
	for (size_t i = 0; ret == 0 && i < manifest->layers_count; i++)
		ret = source_blob(&load->source, &manifest->layers[i], err);
	if (ret == 0)
		ret = intake_document(&load->intake, &manifest->config, &text, &size, err);
	if (ret == 0 && (ret = oci_image_config_parse(text, size, config, err)) < 0)
		(void)error_wrap(err, "config %s", manifest->config.digest);
	if (ret < 0)
		return ret;
	ret = intake_unpack(&load->intake, manifest, config, NULL, err);
	if (ret < 0)
		oci_image_config_free(config);
	return ret;
}

static int load_manifest(struct load *load, const struct oci_descriptor *descriptor, const char *text, size_t size,
			 const char *name, struct error *err)
{
	struct oci_image_config config = { .created = NULL };
	struct oci_manifest manifest;
	char full[FULL_MAX];
	int ret = full_name(load, name, full, err);

	if (ret < 0)
		return ret;
	ret = oci_manifest_parse(text, size, &manifest, err);
	if (ret < 0)
		return error_wrap(err, "manifest %s", descriptor->digest);
	ret = take_parts(load, &manifest, &config, err);
	if (ret == 0) {
		ret = note_loaded(load, descriptor, manifest.config.digest, *full ? full : NULL, err);
		if (ret == 0)
			ret = note_platform(load, &config.platform, err);
		oci_image_config_free(&config);
		load->images++;
	}
	oci_manifest_free(&manifest);
	return ret;
}

static bool platform_fits(const struct load *load, const struct oci_platform *platform)
{
	if (!platform->os)
		return true;
	if (strcmp(platform->os, load->platform.os) != 0 || !platform->architecture ||
	    strcmp(platform->architecture, load->platform.architecture) != 0)
		return false;
	return !load->platform.variant || (platform->variant && strcmp(platform->variant, load->platform.variant) == 0);
}

static void pass_over(struct load *load, const struct oci_platform *platform)
{
	size_t used = strlen(load->others);

	/* Attestations of docker's builder. */
	if (strcmp(platform->os, "unknown") == 0)
		return;
	(void)snprintf(load->others + used, sizeof(load->others) - used, "%s%s/%s", used ? ", " : "", platform->os,
		       platform->architecture ? platform->architecture : "?");
}

static int load_descriptor(struct load *load, const struct oci_descriptor *descriptor, const char *name, int depth,
			   struct error *err);

/* Of an image's own index, the one manifest that is for us; of a layout's (depth 0), every image. */
static int load_index(struct load *load, const struct oci_index *index, const char *name, int depth, struct error *err)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < index->manifests_count; i++) {
		const struct oci_descriptor *descriptor = &index->manifests[i];
		const char *own = name;

		if (depth == 0) {
			own = oci_pairs_get(&descriptor->annotations, ANNOTATION_CONTAINERD_NAME);
			own = own ? own : store_descriptor_name(descriptor);
		}
		if (!platform_fits(load, &descriptor->platform)) {
			pass_over(load, &descriptor->platform);
			continue;
		}
		ret = load_descriptor(load, descriptor, own, depth + 1, err);
		if (depth > 0)
			break;
	}
	return ret;
}

static int load_descriptor(struct load *load, const struct oci_descriptor *descriptor, const char *name, int depth,
			   struct error *err)
{
	cleanup_free char *text = NULL;
	enum oci_document kind = OCI_DOCUMENT_MANIFEST;
	struct oci_index index;
	size_t size = 0;
	int ret = source_blob(&load->source, descriptor, err), file;

	if (ret == 0)
		ret = intake_document(&load->intake, descriptor, &text, &size, err);
	if (ret == 0 && (ret = oci_document_kind(text, size, &kind, err)) < 0)
		(void)error_wrap(err, "%s", descriptor->digest);
	if (ret < 0)
		return ret;
	if (kind == OCI_DOCUMENT_MANIFEST)
		return load_manifest(load, descriptor, text, size, name, err);
	/* The store keeps the one image, and with it no list of the others. */
	file = intake_find(&load->intake, descriptor->digest);
	if (file >= 0)
		load->intake.files[file].wanted = false;
	if (depth > INDEX_DEPTH_MAX)
		return error_set(err, EINVAL, "index %s: nested too deep", descriptor->digest);
	ret = oci_index_parse(text, size, &index, err);
	if (ret < 0)
		return error_wrap(err, "index %s", descriptor->digest);
	ret = load_index(load, &index, name, depth, err);
	oci_index_free(&index);
	return ret;
}

static int load_layout(struct load *load, struct error *err)
{
	cleanup_free char *layout = NULL, *text = NULL;
	struct oci_index index;
	size_t size;
	int ret = source_read(&load->source, "oci-layout", &layout, &size, err);

	if (ret == 0)
		ret = oci_layout_check(layout, size, err);
	if (ret == 0)
		ret = source_read(&load->source, "index.json", &text, &size, err);
	if (ret < 0)
		return ret;
	ret = oci_index_parse(text, size, &index, err);
	if (ret < 0)
		return error_wrap(err, "index.json");
	ret = load_index(load, &index, NULL, 0, err);
	oci_index_free(&index);
	if (ret == 0 && load->loaded_count == 0 && *load->others)
		ret = error_set(err, ENOENT, "no image for %s/%s in it, only for %s", load->platform.os,
				load->platform.architecture, load->others);
	else if (ret == 0 && load->loaded_count == 0)
		ret = error_set(err, ENOENT, "no image in it");
	return ret;
}

/* What docker's manifest.json says, as an OCI manifest; the kinds of compression come from unpacking. */
static int build_manifest(struct load *load, const struct docker_archive_image *image, struct oci_manifest *manifest,
			  struct oci_image_config *config, struct error *err)
{
	cleanup_free enum inflate_kind *kinds = calloc(image->layers.count + 1, sizeof(*kinds));
	int ret;

	manifest->layers = arena_alloc(&load->arena, image->layers.count + 1, sizeof(*manifest->layers));
	if (!kinds || !manifest->layers)
		return no_memory(err);
	manifest->layers_count = image->layers.count;
	for (size_t i = 0; i < image->layers.count; i++) {
		int file = source_file(&load->source, image->layers.items[i], err);

		if (file < 0)
			return file;
		load->intake.files[file].wanted = true;
		manifest->layers[i].digest = arena_strdup(&load->arena, load->intake.files[file].digest);
		manifest->layers[i].size = load->intake.files[file].size;
		if (!manifest->layers[i].digest)
			return no_memory(err);
	}
	ret = intake_unpack(&load->intake, manifest, config, kinds, err);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < image->layers.count; i++) {
		if (kinds[i] == INFLATE_OTHER)
			return error_set(err, EINVAL, "layer %s: its compression is neither gzip nor zstd",
					 image->layers.items[i]);
		manifest->layers[i].media_type = image_layer_media_type(kinds[i]);
	}
	return 0;
}

static int name_docker_image(struct load *load, const struct docker_archive_image *image,
			     const struct oci_descriptor *descriptor, const char *id,
			     const struct oci_platform *platform, struct error *err)
{
	const size_t names = load->options->name || image->repo_tags.count == 0 ? 1 : image->repo_tags.count;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < names; i++) {
		char full[FULL_MAX];

		ret = full_name(load, image->repo_tags.count ? image->repo_tags.items[i] : NULL, full, err);
		if (ret == 0)
			ret = note_loaded(load, descriptor, id, *full ? full : NULL, err);
		if (ret == 0)
			ret = note_platform(load, platform, err);
	}
	load->images++;
	return ret;
}

static int store_docker_manifest(struct load *load, const struct oci_manifest *manifest,
				 struct oci_descriptor *descriptor, struct error *err)
{
	cleanup_free char *text = oci_manifest_json(manifest);
	int file;

	if (!text)
		return no_memory(err);
	file = intake_bytes(&load->intake, text, strlen(text), err);
	if (file < 0)
		return file;
	*descriptor = (struct oci_descriptor){ .media_type = OCI_MEDIA_MANIFEST, .size = strlen(text) };
	descriptor->digest = arena_strdup(&load->arena, load->intake.files[file].digest);
	return descriptor->digest ? 0 : no_memory(err);
}

static int load_docker_image(struct load *load, const struct docker_archive_image *image, struct error *err)
{
	struct oci_manifest manifest = { .config = { .media_type = OCI_MEDIA_CONFIG } };
	struct oci_descriptor descriptor;
	struct oci_image_config config = { .created = NULL };
	cleanup_free char *text = NULL;
	size_t size;
	int ret, file = source_file(&load->source, image->config, err);

	if (file < 0)
		return file;
	load->intake.files[file].wanted = true;
	manifest.config.digest = arena_strdup(&load->arena, load->intake.files[file].digest);
	manifest.config.size = load->intake.files[file].size;
	if (!manifest.config.digest)
		return no_memory(err);
	ret = intake_document(&load->intake, &manifest.config, &text, &size, err);
	if (ret < 0)
		return ret;
	ret = oci_image_config_parse(text, size, &config, err);
	if (ret < 0)
		return error_wrap(err, "%.128s", image->config);
	ret = build_manifest(load, image, &manifest, &config, err);
	if (ret == 0)
		ret = store_docker_manifest(load, &manifest, &descriptor, err);
	if (ret == 0)
		ret = name_docker_image(load, image, &descriptor, manifest.config.digest, &config.platform, err);
	oci_image_config_free(&config);
	return ret;
}

static int load_docker(struct load *load, struct error *err)
{
	cleanup_free char *text = NULL;
	struct docker_archive archive;
	size_t size;
	int ret = source_read(&load->source, "manifest.json", &text, &size, err);

	if (ret == -ENOENT && load->source.dir < 0 && load->intake.count == 0)
		return error_set(err, EINVAL, "the archive is empty");
	if (ret == -ENOENT)
		return error_set(err, EINVAL,
				 "neither an OCI layout (no oci-layout) nor a docker archive (no manifest.json); use "
				 "`image import` for the tarball of a root file system");
	if (ret == 0)
		ret = docker_archive_parse(text, size, &archive, err);
	if (ret < 0)
		return error_wrap(err, "manifest.json");
	for (size_t i = 0; ret == 0 && i < archive.images_count; i++)
		ret = load_docker_image(load, &archive.images[i], err);
	if (ret == 0 && archive.images_count == 0)
		ret = error_set(err, ENOENT, "no image in it");
	docker_archive_free(&archive);
	return ret;
}

/* "os/arch[/variant]" */
static int set_platform(struct load *load, struct error *err)
{
	const char *platform = load->options->platform;
	char *os, *architecture, *variant;

	load->platform = (struct oci_platform){ .os = "linux", .architecture = oci_host_architecture() };
	if (!platform)
		return 0;
	os = arena_strdup(&load->arena, platform);
	if (!os)
		return no_memory(err);
	architecture = strchr(os, '/');
	if (!architecture || architecture == os || !architecture[1])
		return error_set(err, EINVAL, "\"%.64s\" is not a platform: expected os/arch[/variant]", platform);
	*architecture++ = '\0';
	variant = strchr(architecture, '/');
	if (variant)
		*variant++ = '\0';
	load->platform = (struct oci_platform){ .os = os, .architecture = architecture, .variant = variant };
	return 0;
}

static int edit_loaded(struct oci_index *index, void *context, struct error *err)
{
	const struct load *load = context;
	int changed = 0;

	for (size_t i = 0; i < load->loaded_count; i++) {
		int ret = store_index_name(index, &load->loaded[i].manifest, load->loaded[i].full, err);

		if (ret < 0)
			return ret;
		changed |= ret | store_index_merge(load->store, index, load->loaded[i].manifest.digest);
	}
	return changed;
}

static int run_load(struct load *load, int fd, struct error *err)
{
	cleanup_free char *layout = NULL;
	size_t size;
	int ret = set_platform(load, err);

	if (ret == 0)
		ret = source_open(&load->source, &load->intake, fd, err);
	if (ret < 0)
		return ret;
	/* Archives of newer dockers are both; the layout says more. */
	ret = source_read(&load->source, "oci-layout", &layout, &size, NULL) == 0 ? load_layout(load, err)
										  : load_docker(load, err);
	if (ret == 0 && load->options->name && load->images > 1)
		ret = error_set(err, EINVAL, "%zu images in it cannot all be named \"%.128s\"", load->images,
				load->options->name);
	if (ret == 0)
		ret = intake_admit(&load->intake, err);
	return ret == 0 ? store_index_update(load->store, edit_loaded, load, err) : ret;
}

int image_load(struct image_store *store, int fd, const struct image_load_options *options, struct image_report *report,
	       struct error *err)
{
	static const struct image_load_options defaults = { .name = NULL };
	struct load load = { .store = store, .options = options ? options : &defaults, .source = { .dir = -1 } };
	int ret = intake_begin(&load.intake, store, err);

	if (ret < 0)
		return ret;
	ret = run_load(&load, fd, err);
	for (size_t i = 0; ret == 0 && i < load.loaded_count; i++)
		str_printf(&report->lines, "Loaded image%s: %s\n", load.loaded[i].full ? "" : " ID",
			   load.loaded[i].full ? image_reference_familiar(load.loaded[i].full) : load.loaded[i].id);
	source_close(&load.source);
	intake_end(&load.intake);
	free(load.loaded);
	arena_free(&load.arena);
	return ret < 0 ? error_wrap(err, "cannot load image") : 0;
}
