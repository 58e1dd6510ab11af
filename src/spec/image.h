/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image - the OCI image specification's documents, and docker's archive
 * manifest, as plain structs.
 *
 * Follows https://github.com/opencontainers/image-spec, version 1.1:
 * descriptor.md, image-index.md, manifest.md, config.md, image-layout.md; and
 * the manifest.json that `docker save` writes.  Docker's own manifest, list
 * and config media types are read too: the documents are the same.
 *
 * Parsing is total: any byte string gives a struct or an error that names the
 * property.  What is checked is what needs no other document: types, digests
 * (known algorithm, lower-case hex of its length), sizes (0 .. INT64_MAX),
 * and that a document is one thing only (CVE-2021-41190: `manifests` beside
 * `layers` or `config` is refused, and so is a mediaType that says otherwise).
 * Unknown properties are ignored.  What a document does not say is NULL or
 * empty.  Reads no file; knows no store.
 *
 * All memory, strings included, belongs to the document's arena.
 */
#ifndef CAISSON_SPEC_IMAGE_H
#define CAISSON_SPEC_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "spec/runtime.h" /* oci_strings, oci_pairs */

#define OCI_MEDIA_INDEX		"application/vnd.oci.image.index.v1+json"
#define OCI_MEDIA_MANIFEST	"application/vnd.oci.image.manifest.v1+json"
#define OCI_MEDIA_CONFIG	"application/vnd.oci.image.config.v1+json"
#define OCI_MEDIA_LAYER		"application/vnd.oci.image.layer.v1.tar"
#define OCI_MEDIA_LAYER_GZIP	"application/vnd.oci.image.layer.v1.tar+gzip"
#define OCI_MEDIA_LAYER_ZSTD	"application/vnd.oci.image.layer.v1.tar+zstd"
#define DOCKER_MEDIA_LIST	"application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MEDIA_MANIFEST	"application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_MEDIA_CONFIG	"application/vnd.docker.container.image.v1+json"
#define DOCKER_MEDIA_LAYER	"application/vnd.docker.image.rootfs.diff.tar"
#define DOCKER_MEDIA_LAYER_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"

#define OCI_ANNOTATION_REF_NAME "org.opencontainers.image.ref.name"
#define OCI_ANNOTATION_CREATED	"org.opencontainers.image.created"

/* Larger documents are refused before they are read. */
enum { OCI_DOCUMENT_MAX = 8 << 20 };

/* "sha512:" + 128 hex digits + NUL is the longest digest that passes oci_digest_valid(). */
enum { OCI_DIGEST_MAX = 7 + 128 + 1 };

/* "sha256:<64 lower-case hex>" or "sha512:<128 ...>". */
bool oci_digest_valid(const char *digest);

struct oci_platform {
	const char *os, *architecture, *variant, *os_version; /* os NULL: no platform given */
};

struct oci_descriptor {
	const char *media_type, *digest;
	uint64_t size;
	struct oci_platform platform;
	struct oci_pairs annotations;
	const char *artifact_type;
};

struct oci_index {
	size_t manifests_count;
	struct oci_descriptor *manifests;
	struct oci_pairs annotations;
	struct arena arena; /* owns all of the above */
};

struct oci_manifest {
	const char *media_type, *artifact_type;
	struct oci_descriptor config;
	size_t layers_count;
	struct oci_descriptor *layers;
	struct oci_pairs annotations;
	struct arena arena;
};

struct oci_healthcheck {
	bool set;
	struct oci_strings test;			  /* "CMD", ...; "CMD-SHELL", ...; "NONE" */
	int64_t interval, timeout, start_period, retries; /* nanoseconds; 0: not given */
};

struct oci_history {
	const char *created, *created_by, *author, *comment;
	bool empty_layer;
};

struct oci_image_config {
	const char *created, *author; /* created: RFC 3339 */
	struct oci_platform platform;
	struct {
		const char *user; /* NULL also when it was "": the image does not say */
		const char *working_dir, *stop_signal;
		struct oci_strings entrypoint, cmd, env, exposed_ports, volumes, on_build, shell;
		bool entrypoint_set, cmd_set; /* told apart from an empty array */
		struct oci_pairs labels;
		struct oci_healthcheck healthcheck;
	} config;
	struct oci_strings diff_ids; /* each passes oci_digest_valid() */
	size_t history_count;
	struct oci_history *history;
	struct arena arena;
};

/* One element of docker's manifest.json; paths are as in the archive and not checked beyond being text. */
struct docker_archive_image {
	const char *config;
	struct oci_strings repo_tags, layers;
};
struct docker_archive {
	size_t images_count;
	struct docker_archive_image *images;
	struct arena arena;
};

/*
 * Each parses size bytes of JSON: 0, -EINVAL (not JSON: with line and column;
 * or against the specification) or -ENOMEM.  After success the caller frees
 * with the matching function; after failure nothing is to be freed.
 */
int oci_index_parse(const char *json, size_t size, struct oci_index *index, struct error *err);
int oci_manifest_parse(const char *json, size_t size, struct oci_manifest *manifest, struct error *err);
int oci_image_config_parse(const char *json, size_t size, struct oci_image_config *config, struct error *err);
int docker_archive_parse(const char *json, size_t size, struct docker_archive *archive, struct error *err);

void oci_index_free(struct oci_index *index);
void oci_manifest_free(struct oci_manifest *manifest);
void oci_image_config_free(struct oci_image_config *config);
void docker_archive_free(struct docker_archive *archive);

/* Checks the oci-layout file: imageLayoutVersion 1.x.y. */
int oci_layout_check(const char *json, size_t size, struct error *err);

/* What a document says it is, by its properties: for deciding which of the parsers to call.  -EINVAL for confusion. */
enum oci_document { OCI_DOCUMENT_INDEX, OCI_DOCUMENT_MANIFEST };
int oci_document_kind(const char *json, size_t size, enum oci_document *kind, struct error *err);

/* The documents as JSON, one line, keys in a fixed order; fresh memory owned by the caller, NULL when memory is out. */
char *oci_index_json(const struct oci_index *index);
char *oci_manifest_json(const struct oci_manifest *manifest);
char *oci_image_config_json(const struct oci_image_config *config);
char *docker_archive_json(const struct docker_archive *archive);

/* The value of key, or NULL. */
const char *oci_pairs_get(const struct oci_pairs *pairs, const char *key);

/* The image specification's name of the machine that this runs on: "amd64", "arm64", ... (GOARCH). */
const char *oci_host_architecture(void);

#endif
