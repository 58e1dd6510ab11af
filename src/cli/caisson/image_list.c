/* SPDX-License-Identifier: Apache-2.0 */
/* caisson image ls */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "image/image.h"
#include "image/reference.h"

struct list_flags {
	bool all, quiet, no_trunc, digests, human;
	const char *format;
	struct option_list filters;
};

const struct cli_option images_options[] = {
	OPT_SWITCH("all", 'a', struct list_flags, all, "Show all images (there are no intermediate ones)"),
	OPT_SWITCH("digests", 0, struct list_flags, digests, "Show digests"),
	OPT_VALUE(OPTION_LIST, "filter", 'f', "filter",
		  "dangling=true dangling=false label= reference=image before=image since=image", struct list_flags,
		  filters, "Only those: dangling=true label= reference= before= since="),
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "json table", struct list_flags, format,
		  "table, table TEMPLATE, json, or a Go template"),
	OPT_SWITCH("no-trunc", 0, struct list_flags, no_trunc, "Do not shorten"),
	OPT_SWITCH("quiet", 'q', struct list_flags, quiet, "Only IDs"),
	{ .name = NULL },
};

/* One row per name; an image without one has one row, too. */
static json_t *image_row(const struct image *image, const char *name, const struct list_flags *flags)
{
	const char *familiar = name ? image_reference_familiar(name) : NULL,
		   *colon = familiar ? strrchr(familiar, ':') : NULL;
	char created[64], size[16], when[64] = "";
	time_t at = image_created(image);
	struct tm tm;

	image_created_text(at, created);
	format_size(image->size, size);
	if (gmtime_r(&at, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
	return json_pack("{s:o,s:o,s:s,s:s,s:s,s:s,s:s,s:s}", "ID", image_short_id(image->id, flags->no_trunc),
			 "Repository",
			 familiar ? json_stringn(familiar, colon ? (size_t)(colon - familiar) : strlen(familiar))
				  : json_string("<none>"),
			 "Tag", colon ? colon + 1 : "<none>", "Digest", image->digest, "CreatedSince", created,
			 "CreatedAt", when, "Size", size, "Containers", "N/A");
}

/* As docker: a pattern of the familiar name, with its tag or without; '*' stops at '/'. */
static bool name_fits(const char *name, const char *pattern)
{
	const char *familiar = name ? image_reference_familiar(name) : NULL,
		   *colon = familiar ? strrchr(familiar, ':') : NULL;
	cleanup_free char *repository = colon ? strndup(familiar, (size_t)(colon - familiar)) : NULL;

	return familiar && (fnmatch(pattern, familiar, FNM_PATHNAME) == 0 ||
			    (repository && fnmatch(pattern, repository, FNM_PATHNAME) == 0));
}

/* "KEY" or "KEY=VALUE" */
static bool has_label(const struct image *image, const char *label)
{
	const char *equals = strchr(label, '='), *value;
	cleanup_free char *key = equals ? strndup(label, (size_t)(equals - label)) : strdup(label);

	value = key ? oci_pairs_get(&image->config.config.labels, key) : NULL;
	return value && (!equals || strcmp(value, equals + 1) == 0);
}

/* What the user's filters come to. */
struct filters {
	const struct option_list *list;
	time_t before, since; /* when the images that they name were created */
};

static int filters_open(struct image_store *store, struct filters *filters, struct error *err)
{
	static const char *const known[] = { "dangling=", "label=", "reference=", "before=", "since=", NULL };

	for (size_t i = 0; i < filters->list->count; i++) {
		const char *filter = filters->list->items[i], *value = strchr(filter, '=');
		struct image image;
		size_t k = 0;

		while (known[k] && !str_starts(filter, known[k]))
			k++;
		if (!known[k])
			return error_set(err, EINVAL,
					 "invalid filter '%s'; known are dangling=true|false, label=KEY[=VALUE], "
					 "reference=PATTERN, before=IMAGE and since=IMAGE",
					 filter);
		if (k == 0 && strcmp(value, "=true") != 0 && strcmp(value, "=false") != 0)
			return error_set(err, EINVAL, "invalid filter '%s': expected true or false", filter);
		if (k < 3)
			continue;
		if (image_open(store, value + 1, &image, err) < 0)
			return -err->code;
		*(k == 3 ? &filters->before : &filters->since) = image_created(&image);
		image_close(&image);
	}
	return 0;
}

static bool image_passes(const struct image *image, const char *name, const struct filters *filters)
{
	for (size_t i = 0; i < filters->list->count; i++) {
		const char *filter = filters->list->items[i], *value = strchr(filter, '=') + 1;

		if ((str_starts(filter, "dangling=") && (strcmp(value, "true") == 0) != (image->names_count == 0)) ||
		    (str_starts(filter, "reference=") && !name_fits(name, value)) ||
		    (str_starts(filter, "label=") && !has_label(image, value)) ||
		    (str_starts(filter, "before=") && image_created(image) >= filters->before) ||
		    (str_starts(filter, "since=") && image_created(image) <= filters->since))
			return false;
	}
	return true;
}

static int list_images(struct cli *cli, const struct list_flags *flags, const char *operand)
{
	static const struct format_heading headings[] = {
		{ "Repository", "REPOSITORY" },
		{ "Tag", "TAG" },
		{ "Digest", "DIGEST" },
		{ "ID", "IMAGE ID" },
		{ "CreatedSince", "CREATED" },
		{ "CreatedAt", "CREATED AT" },
		{ "Size", "SIZE" },
		{ NULL, NULL },
	};
	const struct format format = {
		.format = flags->format,
		.table = flags->digests
				 ? "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
				 : "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
		.quiet = flags->quiet ? "{{.ID}}" : NULL,
		.headings = headings,
	};
	cleanup_json json_t *rows = json_array();
	struct filters filters = { .list = &flags->filters };
	struct engine *engine = program_engine(cli);
	struct image *images = NULL;
	struct error err = ERROR_INIT;
	size_t count = 0;

	if (!engine)
		return 1;
	if (filters_open(&engine->images, &filters, &err) < 0 || image_list(&engine->images, &images, &count, &err) < 0)
		return program_fail(cli, &err, 1);
	for (size_t i = 0; i < count; i++) {
		size_t names = images[i].names_count ? images[i].names_count : 1;

		for (size_t j = 0; j < names; j++) {
			const char *name = images[i].names_count ? images[i].names[j] : NULL;

			if (image_passes(&images[i], name, &filters) && (!*operand || name_fits(name, operand)) &&
			    !(flags->quiet && j > 0))
				(void)json_array_append_new(rows, image_row(&images[i], name, flags));
		}
	}
	image_list_free(images, count);
	return show_rows(cli, &format, rows);
}

int images_command(struct cli *cli, int argc, char **argv)
{
	struct list_flags flags = { .all = false };
	char **operands;
	int count, code;

	if (cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		code = list_images(cli, &flags, count ? operands[0] : "");
	option_list_free(&flags.filters);
	return code;
}
