/* SPDX-License-Identifier: Apache-2.0 */
/* caisson ps */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "cli/caisson/usage.h"
#include "engine/clock.h"
#include "engine/recover.h"

struct ps_flags {
	bool all, quiet, no_trunc, size, latest;
	const char *format;
	struct option_list filters;
	int64_t last;
};

const struct cli_option ps_options[] = {
	OPT_SWITCH("all", 'a', struct ps_flags, all, "Show those that do not run, too"),
	OPT_VALUE(OPTION_LIST, "filter", 'f', "filter",
		  "ancestor=image before=instance exited= id= label= name=instance since=instance "
		  "status=created status=exited status=paused status=restarting status=running volume=volume",
		  struct ps_flags, filters,
		  "Only those: id= name= label= status= exited= ancestor= before= since= volume="),
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "json table", struct ps_flags, format,
		  "table, table TEMPLATE, json, or a Go template"),
	OPT_INT("last", 'n', "int", struct ps_flags, last, "Only the N newest, whatever they do"),
	OPT_SWITCH("latest", 'l', struct ps_flags, latest, "Only the newest, whatever it does"),
	OPT_SWITCH("no-trunc", 0, struct ps_flags, no_trunc, "Do not shorten"),
	OPT_SWITCH("quiet", 'q', struct ps_flags, quiet, "Only IDs"),
	OPT_SWITCH("size", 's', struct ps_flags, size, "Show how much the instances have written"),
	{ .name = NULL },
};

static const struct format_heading headings[] = {
	{ "ID", "CONTAINER ID" },
	{ "Image", "IMAGE" },
	{ "Command", "COMMAND" },
	{ "CreatedAt", "CREATED AT" },
	{ "RunningFor", "CREATED" },
	{ "Status", "STATUS" },
	{ "State", "STATE" },
	{ "Ports", "PORTS" },
	{ "Names", "NAMES" },
	{ "Size", "SIZE" },
	{ "Labels", "LABELS" },
	{ "Mounts", "MOUNTS" },
	{ "Networks", "NETWORKS" },
	{ "LocalVolumes", "LOCAL VOLUMES" },
	{ NULL, NULL },
};

/* One instance, as far as ps looks at it. */
struct row {
	struct instance instance;
	struct instance_state state;
	struct timespec created;
};

static void ago(const char *when, const char *suffix, char text[static 64])
{
	struct timespec then, now;
	char duration[32];

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (clock_parse(when, &then) < 0)
		then = now;
	format_duration(now.tv_sec - then.tv_sec, duration);
	(void)snprintf(text, 64, "%s%s", duration, suffix);
}

/* "Up 3 minutes (Paused)", "Exited (0) 2 hours ago", "Created" */
static json_t *status_text(const struct instance_state *state)
{
	char when[64];

	switch (state->status) {
	case INSTANCE_RUNNING:
	case INSTANCE_PAUSED:
		ago(state->started, "", when);
		return json_sprintf("Up %s%s", when, state->status == INSTANCE_PAUSED ? " (Paused)" : "");
	case INSTANCE_RESTARTING:
	case INSTANCE_EXITED:
		ago(state->finished, " ago", when);
		return json_sprintf("%s (%d) %s", state->status == INSTANCE_EXITED ? "Exited" : "Restarting",
				    state->exit_code, when);
	case INSTANCE_LOST:
		return json_string("Dead");
	default:
		return json_string("Created");
	}
}

static json_t *command_text(const json_t *record, bool whole)
{
	enum { SHOWN = 20 };
	cleanup_str struct str text = STR_INIT;
	size_t i;
	json_t *item;

	str_append(&text, document_text(record, "Path"));
	json_array_foreach (document_at(record, "Args"), i, item)
		str_printf(&text, " %s", json_string_value(item));
	if (!whole && text.length > SHOWN) {
		text.length = SHOWN - 1;
		while (text.length > 0 && (text.text[text.length] & 0xc0) == 0x80)
			text.length--;
		text.text[text.length] = '\0';
		str_append(&text, "\xe2\x80\xa6");
	}
	return json_sprintf("\"%s\"", str_text(&text));
}

static json_t *joined_labels(const json_t *labels)
{
	cleanup_str struct str text = STR_INIT;
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)labels, key, value)
		str_printf(&text, "%s%s=%s", text.length ? "," : "", key, json_string_value(value));
	return json_string(str_text(&text));
}

static json_t *joined_mounts(const json_t *mounts)
{
	cleanup_str struct str text = STR_INIT;
	size_t i;
	json_t *mount;

	json_array_foreach ((json_t *)(uintptr_t)mounts, i, mount) {
		const char *name = document_text(mount, "Name"), *source = document_text(mount, "Source");

		if (*name || *source)
			str_printf(&text, "%s%s", text.length ? "," : "", *name ? name : source);
	}
	return json_string(str_text(&text));
}

static json_t *size_text(const struct instance *instance)
{
	struct instance opened = *instance;
	char text[16] = "0B";

	if (instance_take_up(&opened, NULL) == 0)
		format_size(instance_written(&opened), text);
	instance_put_down(&opened);
	return json_string(text);
}

static json_t *row_json(const struct row *row, const struct ps_flags *flags)
{
	const struct instance *instance = &row->instance;
	const json_t *record = instance->record;
	char running_for[64];

	ago(document_text(record, "Created"), " ago", running_for);
	return json_pack("{s:o,s:s,s:o,s:s,s:s,s:o,s:s,s:s,s:s,s:o,s:o,s:o,s:s}", "ID",
			 json_stringn(instance->id, flags->no_trunc ? INSTANCE_ID_LENGTH : SHORT_ID_LENGTH), "Image",
			 document_text(record, "Config.Image"), "Command", command_text(record, flags->no_trunc),
			 "CreatedAt", document_text(record, "Created"), "RunningFor", running_for, "Status",
			 status_text(&row->state), "State", instance_status_name(row->state.status), "Ports", "",
			 "Names", instance_name(instance), "Size",
			 flags->size ? size_text(instance) : json_string("0B"), "Labels",
			 joined_labels(document_at(record, "Config.Labels")), "Mounts",
			 joined_mounts(document_at(record, "Mounts")), "Networks",
			 document_text(record, "HostConfig.NetworkMode"));
}

static int newer_first(const void *a, const void *b)
{
	const struct timespec *x = &((const struct row *)a)->created, *y = &((const struct row *)b)->created;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? 1 : -1;
	return (x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

/* Looks at all instances; those that vanish meanwhile are left out. */
static int collect(struct engine *engine, struct row **rows, size_t *count, struct error *err)
{
	char **ids;
	size_t known;
	int ret = instance_ids(engine, &ids, &known, err);

	if (ret < 0)
		return ret;
	*count = 0;
	*rows = calloc(known + 1, sizeof(**rows));
	for (size_t i = 0; *rows && i < known; i++) {
		struct row *row = &(*rows)[*count];
		struct error local = ERROR_INIT;

		if (instance_open(engine, ids[i], 0, &row->instance, &local) < 0) {
			if (local.code != ENOENT)
				(void)fprintf(stderr, "caisson: %s\n", local.text);
			continue;
		}
		if (instance_look(&row->instance, &row->state, NULL) < 0) {
			instance_close(&row->instance);
			continue;
		}
		instance_put_down(&row->instance);
		(void)clock_parse(document_text(row->instance.record, "Created"), &row->created);
		++*count;
	}
	runtime_ids_free(ids, known);
	if (!*rows)
		return error_errno(err, ENOMEM, "cannot list instances");
	qsort(*rows, *count, sizeof(**rows), newer_first);
	return 0;
}

static bool label_matches(const json_t *record, const char *wish)
{
	const char *equals = strchr(wish, '=');
	cleanup_free char *key = equals ? strndup(wish, (size_t)(equals - wish)) : strdup(wish);
	const json_t *value = key ? json_object_get(document_at(record, "Config.Labels"), key) : NULL;

	return value && (!equals || strcmp(json_string_value(value), equals + 1) == 0);
}

static bool volume_matches(const json_t *record, const char *wish)
{
	size_t i;
	json_t *mount;

	json_array_foreach (document_at(record, "Mounts"), i, mount) {
		if (strcmp(document_text(mount, "Name"), wish) == 0 ||
		    strcmp(document_text(mount, "Source"), wish) == 0 ||
		    strcmp(document_text(mount, "Destination"), wish) == 0)
			return true;
	}
	return false;
}

static bool created_beside(struct engine *engine, const struct row *row, const char *what, bool before)
{
	cleanup_instance struct instance other = INSTANCE_INIT;
	struct row edge = { .created = { 0 } };

	if (instance_open(engine, what, 0, &other, NULL) < 0)
		return false;
	(void)clock_parse(document_text(other.record, "Created"), &edge.created);
	return before ? newer_first(&edge, row) < 0 : newer_first(row, &edge) < 0;
}

static bool image_matches(const json_t *record, const char *wish)
{
	const char *image = document_text(record, "Config.Image"), *id = document_text(record, "Image");
	size_t length = strlen(wish);

	return strcmp(image, wish) == 0 || (strncmp(image, wish, length) == 0 && image[length] == ':') ||
	       str_starts(id, wish) || (strlen(id) > 7 && str_starts(id + 7, wish));
}

/* The filter has been checked. */
static bool matches(struct engine *engine, const struct row *row, const char *filter)
{
	const json_t *record = row->instance.record;
	const char *value = strchr(filter, '=');
	size_t length = value ? (size_t)(value - filter) : strlen(filter);
	char key[16] = "";

	memcpy(key, filter, length < sizeof(key) ? length : sizeof(key) - 1);
	value++;
	if (strcmp(key, "id") == 0)
		return str_starts(row->instance.id, value);
	if (strcmp(key, "name") == 0)
		return strstr(instance_name(&row->instance), *value == '/' ? value + 1 : value) != NULL;
	if (strcmp(key, "label") == 0)
		return label_matches(record, value);
	if (strcmp(key, "status") == 0)
		return strcmp(instance_status_name(row->state.status), value) == 0;
	if (strcmp(key, "exited") == 0)
		return row->state.status == INSTANCE_EXITED && row->state.exit_code == atoi(value);
	if (strcmp(key, "ancestor") == 0)
		return image_matches(record, value);
	if (strcmp(key, "volume") == 0)
		return volume_matches(record, value);
	if (strcmp(key, "before") == 0 || strcmp(key, "since") == 0)
		return created_beside(engine, row, value, *key == 'b');
	return strcmp(document_text(record, "HostConfig.NetworkMode"), value) == 0;
}

/* Before anything is read: a filter that is wrong is wrong without instances, too. */
static int check_filters(const struct option_list *filters, struct error *err)
{
	static const char *const keys[] = { "id",     "name",	"label", "status",  "exited", "ancestor",
					    "volume", "before", "since", "network", NULL };

	for (size_t i = 0; i < filters->count; i++) {
		const char *filter = filters->items[i], *value = strchr(filter, '=');
		bool known = false, status = !str_starts(filter, "status=");

		if (!value)
			return error_set(err, EINVAL, "bad format of filter '%s'; expected name=value", filter);
		for (size_t k = 0; keys[k]; k++)
			known = known || (strncmp(filter, keys[k], (size_t)(value - filter)) == 0 &&
					  strlen(keys[k]) == (size_t)(value - filter));
		for (int each = INSTANCE_CREATED; each <= INSTANCE_LOST; each++)
			status = status || strcmp(instance_status_name(each), value + 1) == 0;
		if (!known)
			return error_set(err, EINVAL,
					 "invalid filter '%s'; known are id, name, label, status, exited, ancestor, "
					 "volume, before, since and network",
					 filter);
		if (!status)
			return error_set(err, EINVAL,
					 "invalid filter '%s'; an instance is created, running, paused, restarting, "
					 "exited or dead",
					 filter);
	}
	return 0;
}

/* Filters of one name are alternatives, of different names they add up; labels always add up. */
static bool passes(struct engine *engine, const struct row *row, const struct option_list *filters)
{
	for (size_t i = 0; i < filters->count; i++) {
		size_t key = strcspn(filters->items[i], "=") + 1;
		bool one = false;

		for (size_t j = 0; j < filters->count; j++) {
			if (strncmp(filters->items[i], filters->items[j], key) != 0 ||
			    (i != j && str_starts(filters->items[i], "label=")))
				continue;
			one = one || matches(engine, row, filters->items[j]);
		}
		if (!one)
			return false;
	}
	return true;
}

static bool asks_for_stopped(const struct ps_flags *flags)
{
	for (size_t i = 0; i < flags->filters.count; i++) {
		if (str_starts(flags->filters.items[i], "status=") || str_starts(flags->filters.items[i], "exited="))
			return true;
	}
	return flags->all || flags->last > 0;
}

static int list(struct cli *cli, struct ps_flags *flags, json_t *shown, struct error *err)
{
	struct engine *engine = program_engine(cli);
	struct row *rows = NULL;
	size_t count = 0;
	int64_t left = flags->last > 0 ? flags->last : INT64_MAX;
	int ret = engine ? check_filters(&flags->filters, err) : -EIO;

	if (ret == 0)
		ret = collect(engine, &rows, &count, err);
	for (size_t i = 0; ret >= 0 && i < count && left > 0; i++) {
		if (!asks_for_stopped(flags) && !instance_state_alive(&rows[i].state) &&
		    rows[i].state.status != INSTANCE_RESTARTING)
			continue;
		if (passes(engine, &rows[i], &flags->filters)) {
			(void)json_array_append_new(shown, row_json(&rows[i], flags));
			left--;
		}
	}
	for (size_t i = 0; i < count; i++)
		instance_close(&rows[i].instance);
	free(rows);
	return ret < 0 ? ret : 0;
}

static int show(struct cli *cli, struct ps_flags *flags)
{
	cleanup_json json_t *rows = json_array();
	struct error err = ERROR_INIT;
	const struct format format = {
		.format = flags->format,
		.table = flags->size ? "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t"
				       "{{.Names}}\t{{.Size}}"
				     : "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t"
				       "{{.Names}}",
		.quiet = flags->quiet ? "{{.ID}}" : NULL,
		.headings = headings,
	};

	if (flags->latest)
		flags->last = 1;
	if (list(cli, flags, rows, &err) < 0)
		return err.code ? program_fail(cli, &err, 1) : 1;
	return show_rows(cli, &format, rows);
}

int ps_command(struct cli *cli, int argc, char **argv)
{
	struct ps_flags flags = { .last = -1 };
	char **operands;
	int count, code;

	if (cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		code = show(cli, &flags);
	option_list_free(&flags.filters);
	return code;
}
