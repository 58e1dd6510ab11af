/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/oci/oci.h"

enum { COLUMNS = 6, COLUMN_MIN = 12, PADDING = 3, PASSWD_MAX = 16 << 20 };

struct flags {
	const char *format;
	bool quiet;
};

const char oci_list_details[] = "   The containers below the global --root.\n"
				"\n"
				"EXAMPLE:\n"
				"    caisson-oci list\n"
				"    caisson-oci --root /run/other list --format json\n";

const struct cli_option oci_list_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 'f', "format", "table json", struct flags, format,
		  "table (default) or json"),
	OPT_SWITCH("quiet", 'q', struct flags, quiet, "print only the ids"),
	{ .name = NULL },
};

/* What one line of the list says; owned. */
struct row {
	char *cells[COLUMNS]; /* ID PID STATUS BUNDLE CREATED OWNER */
	char *json;
};

static void rows_free(struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < COLUMNS; k++)
			free(rows[i].cells[k]);
		free(rows[i].json);
	}
	free(rows);
}

/* Read by ourselves: getpwuid(3) of a static program would load the host's NSS modules. */
static char *owner_name(const char *passwd, uid_t uid)
{
	char *fallback = NULL;

	for (const char *line = passwd; line && *line; line = strchr(line, '\n')) {
		char name[64];
		unsigned int id;

		line += *line == '\n';
		if (sscanf(line, "%63[^:\n]:%*[^:\n]:%u:", name, &id) == 2 && id == uid)
			return strdup(name);
	}
	return asprintf(&fallback, "#%u", uid) < 0 ? NULL : fallback;
}

static int row_fill(struct oci *oci, const char *id, const char *passwd, struct row *row, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	struct container *container = &instance.container;
	enum runtime_status status;
	int ret = instance_open(oci, id, 0, &instance, err);

	if (ret == 0)
		ret = container_status(&instance.runtime, container, &status, err);
	if (ret < 0)
		return ret;
	row->cells[0] = strdup(id);
	if (asprintf(&row->cells[1], "%d", status == RUNTIME_STOPPED ? 0 : (int)container->pid) < 0)
		row->cells[1] = NULL;
	row->cells[2] = strdup(runtime_status_name(status));
	row->cells[3] = strdup(container->bundle);
	row->cells[4] = strdup(container->created);
	row->cells[5] = owner_name(passwd, container->owner);
	row->json = row->cells[5] ? container_describe(container, status, row->cells[5], 0) : NULL;
	for (size_t i = 0; i < COLUMNS; i++) {
		if (!row->cells[i] || !row->json)
			return error_errno(err, ENOMEM, "cannot list container %s", id);
	}
	return 0;
}

static void print_table(const struct row *rows, size_t count, struct str *out)
{
	static const char *const titles[COLUMNS] = { "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" };
	size_t widths[COLUMNS];

	for (size_t k = 0; k < COLUMNS; k++) {
		widths[k] = strlen(titles[k]) + PADDING;
		for (size_t i = 0; i < count; i++) {
			if (strlen(rows[i].cells[k]) + PADDING > widths[k])
				widths[k] = strlen(rows[i].cells[k]) + PADDING;
		}
		if (widths[k] < COLUMN_MIN)
			widths[k] = COLUMN_MIN;
	}
	for (size_t i = 0; i <= count; i++) {
		for (size_t k = 0; k < COLUMNS; k++) {
			const char *cell = i == 0 ? titles[k] : rows[i - 1].cells[k];

			if (k == COLUMNS - 1)
				str_printf(out, "%s\n", cell);
			else
				str_printf(out, "%-*s", (int)widths[k], cell);
		}
	}
}

static void print_json(const struct row *rows, size_t count, struct str *out)
{
	/* An empty list is what Go makes of it. */
	str_append(out, count ? "[" : "null");
	for (size_t i = 0; i < count; i++)
		str_printf(out, "%s%s", i ? "," : "", rows[i].json);
	str_append(out, count ? "]\n" : "\n");
}

/* A container that disappears while it is looked at is none; one that cannot be read must not hide the others. */
static int rows_read(struct oci *oci, char **ids, size_t count, struct row *rows, size_t *filled)
{
	cleanup_free char *passwd = NULL;

	(void)file_read(AT_FDCWD, "/etc/passwd", PASSWD_MAX, &passwd, NULL, NULL);
	for (size_t i = 0; i < count; i++) {
		struct error err = ERROR_INIT;
		int ret = row_fill(oci, ids[i], passwd, &rows[*filled], &err);

		*filled += ret == 0;
		if (ret < 0 && ret != -ENOENT)
			(void)dprintf(STDERR_FILENO, "load container %s: %s\n", ids[i], err.text);
	}
	return 0;
}

static int list(struct oci *oci, const struct flags *flags, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	cleanup_str struct str out = STR_INIT;
	bool json = flags->format && strcmp(flags->format, "json") == 0;
	struct row *rows = NULL;
	char **ids = NULL;
	size_t count = 0, filled = 0;
	int ret = oci_open(oci, &instance.runtime, err);

	if (ret == 0)
		ret = runtime_list(&instance.runtime, &ids, &count, err);
	if (ret < 0)
		return ret;
	if (flags->quiet) {
		for (size_t i = 0; i < count; i++)
			str_printf(&out, "%s\n", ids[i]);
	} else {
		rows = calloc(count + 1, sizeof(*rows));
		if (rows)
			ret = rows_read(oci, ids, count, rows, &filled);
		if (rows && json)
			print_json(rows, filled, &out);
		else if (rows)
			print_table(rows, filled, &out);
		rows_free(rows, rows ? filled + (filled < count) : 0);
	}
	runtime_ids_free(ids, count);
	if (str_failed(&out) || (!rows && !flags->quiet))
		return error_errno(err, ENOMEM, "cannot list containers");
	return oci_print(str_text(&out), err);
}

int oci_list(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { 0 };
	struct error err = ERROR_INIT;
	int code, ret;

	if (!oci_arguments(cli, &flags, 0, 0, &argc, &argv, &code))
		return code;
	if (flags.format && strcmp(flags.format, "table") != 0 && strcmp(flags.format, "json") != 0)
		ret = error_set(&err, EINVAL, "invalid format option; known are table and json");
	else
		ret = list(cli->context, &flags, &err);
	return ret < 0 ? oci_fail(cli->context, &err, OCI_EXIT_ERROR) : 0;
}
