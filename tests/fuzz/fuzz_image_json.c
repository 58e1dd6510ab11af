/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the image documents: any bytes give a document or an
 * error; what is taken keeps its promises, and says the same when it is written
 * and read again.  Names of images and changes to a config come along.
 */
#include "base/cleanup.h"
#include "fuzz.h"
#include "image/change.h"
#include "image/reference.h"
#include "spec/image.h"

static void check_result(int ret, struct error *err)
{
	check(ret == 0 || (err->code == -ret && *err->text));
	*err = ERROR_INIT;
}

static void check_descriptor(const struct oci_descriptor *descriptor)
{
	check(oci_digest_valid(descriptor->digest) && descriptor->size <= INT64_MAX && *descriptor->media_type);
}

/* Each: parse, look, write, parse, write: the two writings are equal. */
#define ROUND_TRIP(type, json, size, look)                                               \
	do {                                                                             \
		struct type first_, second_;                                             \
		struct error err_ = ERROR_INIT;                                          \
		int ret_ = type##_parse(json, size, &first_, &err_);                     \
                                                                                         \
		check_result(ret_, &err_);                                               \
		if (ret_ == 0) {                                                         \
			cleanup_free char *once_ = type##_json(&first_), *twice_ = NULL; \
                                                                                         \
			look;                                                            \
			check(once_ != NULL);                                            \
			ret_ = type##_parse(once_, strlen(once_), &second_, &err_);      \
			check(ret_ == 0);                                                \
			twice_ = type##_json(&second_);                                  \
			check(twice_ &&strcmp(once_, twice_) == 0);                      \
			type##_free(&first_);                                            \
			type##_free(&second_);                                           \
		}                                                                        \
	} while (0)

static void fuzz_documents(const char *json, size_t size)
{
	struct error err = ERROR_INIT;
	enum oci_document kind;

	check_result(oci_document_kind(json, size, &kind, &err), &err);
	check_result(oci_layout_check(json, size, &err), &err);
	ROUND_TRIP(oci_index, json, size, {
		check(oci_document_kind(json, size, &kind, NULL) == 0 && kind == OCI_DOCUMENT_INDEX);
		for (size_t i = 0; i < first_.manifests_count; i++)
			check_descriptor(&first_.manifests[i]);
	});
	ROUND_TRIP(oci_manifest, json, size, {
		check(oci_document_kind(json, size, &kind, NULL) == 0 && kind == OCI_DOCUMENT_MANIFEST);
		check_descriptor(&first_.config);
		for (size_t i = 0; i < first_.layers_count; i++)
			check_descriptor(&first_.layers[i]);
	});
	ROUND_TRIP(oci_image_config, json, size, {
		check(!first_.config.user || *first_.config.user);
		for (size_t i = 0; i < first_.diff_ids.count; i++)
			check(oci_digest_valid(first_.diff_ids.items[i]));
	});
	ROUND_TRIP(docker_archive, json, size, {
		for (size_t i = 0; i < first_.images_count; i++)
			check(first_.images[i].config != NULL);
	});
}

static void fuzz_texts(const char *text)
{
	struct oci_image_config config = { .created = NULL };
	struct image_reference reference, again;
	char full[REFERENCE_MAX + 130];
	struct error err = ERROR_INIT;
	int ret = image_reference_parse(text, &reference, &err);

	check_result(ret, &err);
	if (ret == 0) {
		image_reference_full(&reference, full);
		check(image_reference_parse(full, &again, NULL) == 0 && strcmp(again.name, reference.name) == 0);
		check(!*reference.tag || strcmp(again.tag, reference.tag) == 0);
		check(image_reference_parse(image_reference_familiar(full), &again, NULL) == 0 &&
		      strcmp(again.name, reference.name) == 0);
	}
	ret = image_change(&config, text, &err);
	check_result(ret, &err);
	oci_image_config_free(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	fuzz_documents(text, size);
	fuzz_texts(text);
	return 0;
}
