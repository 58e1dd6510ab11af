/* SPDX-License-Identifier: Apache-2.0 */
/* caisson image ...: what comes into the store, what is there, and what goes out. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/caisson/caisson.h"
#include "cli/caisson/progress.h"
#include "engine/clock.h"
#include "image/image.h"
#include "image/reference.h"

enum { DIGEST_PREFIX = sizeof("sha256:") - 1 };

struct rmi_flags {
	bool force, no_prune;
};

const struct cli_option rmi_options[] = {
	OPT_SWITCH("force", 'f', struct rmi_flags, force, "Remove the names even if instances stand on the image"),
	OPT_SWITCH("no-prune", 0, struct rmi_flags, no_prune, NULL),
	{ .name = NULL },
};

struct io_flags {
	const char *file, *format, *name, *platform, *message;
	struct option_list changes;
	bool quiet;
};

const struct cli_option load_options[] = {
	OPT_VALUE(OPTION_STRING, "input", 'i', "string", "file", struct io_flags, file,
		  "Read this file or directory instead of stdin"),
	OPT_STRING("name", 0, "string", struct io_flags, name, "Name for an archive of one image"),
	OPT_STRING("platform", 0, "string", struct io_flags, platform, "Which image of an index (os/arch[/variant])"),
	OPT_SWITCH("quiet", 'q', struct io_flags, quiet, "Say nothing"),
	{ .name = NULL },
};

const struct cli_option save_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "docker-archive oci-archive", struct io_flags, format,
		  "docker-archive (default) or oci-archive"),
	OPT_VALUE(OPTION_STRING, "output", 'o', "string", "file", struct io_flags, file,
		  "Write this file instead of stdout"),
	{ .name = NULL },
};

const struct cli_option import_options[] = {
	OPT_LIST("change", 'c', "list", struct io_flags, changes,
		 "Apply a Dockerfile instruction (CMD, ENV, USER ...)"),
	OPT_STRING("message", 'm', "string", struct io_flags, message, "Comment in the image's history"),
	OPT_STRING("platform", 0, "string", struct io_flags, platform, "Platform of the image (os/arch)"),
	{ .name = NULL },
};

struct history_flags {
	bool no_trunc, quiet, human;
	const char *format;
};

const struct cli_option history_options[] = {
	OPT_VALUE(OPTION_STRING, "format", 0, "string", "json table", struct history_flags, format,
		  "table, table TEMPLATE, json, or a Go template"),
	OPT_SWITCH("human", 'H', struct history_flags, human, "Sizes and dates for people (default true)"),
	OPT_SWITCH("no-trunc", 0, struct history_flags, no_trunc, "Do not shorten"),
	OPT_SWITCH("quiet", 'q', struct history_flags, quiet, "Only IDs"),
	{ .name = NULL },
};

struct prune_flags {
	bool all, force;
};

static const struct cli_option prune_options[] = {
	OPT_SWITCH("all", 'a', struct prune_flags, all,
		   "Remove every image without an instance, not only nameless ones"),
	OPT_SWITCH("force", 'f', struct prune_flags, force, "Do not ask"),
	{ .name = NULL },
};

static struct image_store *store_of(struct cli *cli)
{
	struct engine *engine = program_engine(cli);

	return engine ? &engine->images : NULL;
}

json_t *image_short_id(const char *id, bool whole)
{
	return whole || strlen(id) < DIGEST_PREFIX + SHORT_ID_LENGTH
		       ? json_string(id)
		       : json_stringn(id + DIGEST_PREFIX, SHORT_ID_LENGTH);
}

void image_created_text(time_t created, char text[static 64])
{
	char duration[32];

	if (created <= 0) {
		(void)snprintf(text, 64, "N/A");
		return;
	}
	format_duration((long long)(time(NULL) - created), duration);
	(void)snprintf(text, 64, "%s ago", duration);
}

int rmi_command(struct cli *cli, int argc, char **argv)
{
	struct rmi_flags flags = { .force = false };
	struct image_store *store;
	char **operands;
	int count, code, failed = 0;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	store = store_of(cli);
	for (int i = 0; store && i < count; i++) {
		struct image_report report = IMAGE_REPORT_INIT;
		struct error err = ERROR_INIT;

		if (image_remove(store, operands[i], flags.force ? IMAGE_REMOVE_FORCE : 0, &report, &err) < 0)
			failed = program_fail(cli, &err, 1);
		(void)fputs(str_text(&report.lines), cli->out);
		image_report_free(&report);
	}
	return store ? failed : 1;
}

/* A file to read, or for NULL and "-" standard input, which must not be a terminal; -1 after printing why not. */
static int open_input(struct cli *cli, const char *path)
{
	int fd;

	if (path && strcmp(path, "-") != 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			(void)program_say(cli, 1, "open %s: %s", path, error_words(errno));
		return fd;
	}
	if (isatty(STDIN_FILENO)) {
		(void)program_say(cli, 1, "stdin is a terminal, no archive: name a file, or put one there: %s <FILE",
				  cli->path);
		return -1;
	}
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		(void)program_say(cli, 1, "cannot read stdin: %s", error_words(errno));
	return fd;
}

int load_command(struct cli *cli, int argc, char **argv)
{
	struct io_flags flags = { .file = NULL };
	struct image_report report = IMAGE_REPORT_INIT;
	struct progress progress = PROGRESS_INIT;
	cleanup_close int fd = -1;
	struct error err = ERROR_INIT;
	struct image_store *store;
	char **operands;
	int count, code, ret;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	fd = open_input(cli, count > 0 ? operands[0] : flags.file);
	store = fd < 0 ? NULL : store_of(cli);
	if (!store)
		return 1;
	progress_watch(&progress, store, flags.quiet);
	ret = image_load(store, fd, &(struct image_load_options){ .name = flags.name, .platform = flags.platform },
			 &report, &err);
	progress_end(&progress, store);
	if (!flags.quiet)
		(void)fputs(str_text(&report.lines), cli->out);
	image_report_free(&report);
	return ret < 0 ? program_fail(cli, &err, 1) : 0;
}

/*
 * What is at path stays as it is until all is written: *partial is then to be renamed.  A pipe or a device is written
 * to as it is, *partial is NULL.  An image may hold secrets: the file is its owner's, as docker's is.
 */
static int open_output(const char *path, char **partial)
{
	struct stat st;

	*partial = NULL;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return open(path, O_WRONLY | O_CLOEXEC);
	if (asprintf(partial, "%s.%d.partial", path, (int)getpid()) < 0)
		*partial = NULL;
	return *partial ? open(*partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
}

static int save_images(struct cli *cli, char **names, int count, enum image_format format, int fd)
{
	struct image_store *store = store_of(cli);
	struct progress progress = PROGRESS_INIT;
	struct error err = ERROR_INIT;
	int ret;

	if (!store)
		return 1;
	/* On a terminal of its own standard output would be mixed with the line. */
	progress_watch(&progress, store, false);
	ret = image_save(store, (const char *const *)names, (size_t)count, format, fd, &err);
	progress_end(&progress, store);
	return ret < 0 ? program_fail(cli, &err, 1) : 0;
}

int save_command(struct cli *cli, int argc, char **argv)
{
	struct io_flags flags = { .format = "docker-archive" };
	cleanup_free char *partial = NULL;
	cleanup_close int fd = -1;
	struct error err = ERROR_INIT;
	enum image_format format;
	char **operands;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (image_format_parse(flags.format, &format, &err) < 0) {
		(void)cli_usage_error(cli, "%s", err.text);
		return cli->usage_error;
	}
	if (!flags.file && isatty(STDOUT_FILENO))
		return program_say(cli, 1, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
	if (!flags.file)
		return save_images(cli, operands, count, format, STDOUT_FILENO);
	fd = open_output(flags.file, &partial);
	if (fd < 0)
		return program_say(cli, 1, "open %s: %s", flags.file, error_words(errno));
	code = save_images(cli, operands, count, format, fd);
	if (code == 0 && partial && rename(partial, flags.file) < 0)
		code = program_say(cli, 1, "rename to %s: %s", flags.file, error_words(errno));
	if (code != 0 && partial)
		(void)unlink(partial);
	return code;
}

static int import_one(struct cli *cli, const struct io_flags *flags, char **operands, int count)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	cleanup_free char *message = NULL;
	struct progress progress = PROGRESS_INIT;
	char id[OCI_DIGEST_MAX];
	cleanup_close int fd = -1;
	struct error err = ERROR_INIT;
	struct image_store *store;
	int ret;

	options.name = count > 1 ? operands[1] : NULL;
	options.changes = flags->changes.items;
	if (!flags->message && asprintf(&message, "Imported from %s", operands[0]) < 0)
		message = NULL;
	options.message = flags->message ? flags->message : message;
	if (flags->platform && (!str_starts(flags->platform, "linux/") || !strchr(flags->platform, '/')[1])) {
		(void)cli_usage_error(cli, "--platform %s: expected linux/ARCHITECTURE, like linux/arm64",
				      flags->platform);
		return cli->usage_error;
	}
	if (flags->platform)
		options.architecture = flags->platform + strlen("linux/");
	fd = open_input(cli, operands[0]);
	store = fd < 0 ? NULL : store_of(cli);
	if (!store)
		return 1;
	progress_watch(&progress, store, false);
	ret = image_import(store, fd, &options, id, &err);
	progress_end(&progress, store);
	if (ret < 0)
		return program_fail(cli, &err, 1);
	(void)fprintf(cli->out, "%s\n", id);
	return 0;
}

int import_command(struct cli *cli, int argc, char **argv)
{
	struct io_flags flags = { .file = NULL };
	char **operands;
	int count, code;

	if (cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		code = import_one(cli, &flags, operands, count);
	option_list_free(&flags.changes);
	return code;
}

int tag_command(struct cli *cli, int argc, char **argv)
{
	struct image_store *store;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (!cli_parse(cli, NULL, argc, argv, &operands, &count, &code))
		return code;
	store = store_of(cli);
	if (!store)
		return 1;
	return image_tag(store, operands[0], operands[1], &err) < 0 ? program_fail(cli, &err, 1) : 0;
}

static json_t *history_row(const struct image_history_row *row, const struct history_flags *flags)
{
	enum { SHOWN = 45 };
	char size[16], created[64] = "N/A";
	bool cut = !flags->no_trunc && strlen(row->created_by) > SHOWN;
	struct timespec when;

	format_size(row->size, size);
	if (clock_parse(row->created, &when) == 0)
		image_created_text(when.tv_sec, created);
	return json_pack("{s:o,s:s,s:s,s:o,s:s,s:s}", "ID",
			 *row->id == '<' ? json_string(row->id) : image_short_id(row->id, flags->no_trunc),
			 "CreatedSince", created, "CreatedAt", row->created, "CreatedBy",
			 cut ? json_sprintf("%.*s\xe2\x80\xa6", SHOWN - 1, row->created_by)
			     : json_string(row->created_by),
			 "Size", size, "Comment", row->comment);
}

int history_command(struct cli *cli, int argc, char **argv)
{
	static const struct format_heading headings[] = {
		{ "ID", "IMAGE" },
		{ "CreatedSince", "CREATED" },
		{ "CreatedAt", "CREATED AT" },
		{ "CreatedBy", "CREATED BY" },
		{ "Size", "SIZE" },
		{ "Comment", "COMMENT" },
		{ NULL, NULL },
	};
	struct history_flags flags = { .human = true };
	cleanup_json json_t *rows = json_array();
	struct image_history_row *history = NULL;
	struct image_store *store;
	struct error err = ERROR_INIT;
	struct image image;
	char **operands;
	size_t known = 0;
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	store = store_of(cli);
	if (!store)
		return 1;
	if (image_open(store, operands[0], &image, &err) < 0)
		return program_fail(cli, &err, 1);
	code = image_history(store, &image, &history, &known, &err) < 0 ? program_fail(cli, &err, 1) : 0;
	for (size_t i = 0; i < known; i++)
		(void)json_array_append_new(rows, history_row(&history[i], &flags));
	if (code == 0) {
		const struct format format = {
			.format = flags.format,
			.table = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
			.quiet = flags.quiet ? "{{.ID}}" : NULL,
			.headings = headings,
		};

		code = show_rows(cli, &format, rows);
	}
	free(history);
	image_close(&image);
	return code;
}

static int prune_images(struct cli *cli, int argc, char **argv)
{
	struct prune_flags flags = { .all = false };
	struct image_report report = IMAGE_REPORT_INIT;
	struct image_store *store;
	struct error err = ERROR_INIT;
	char **operands, size[16];
	int count, code;

	if (!cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		return code;
	if (!flags.force)
		return program_say(cli, 1, "this removes all %s images; say -f to do it",
				   flags.all ? "unused" : "nameless");
	store = store_of(cli);
	if (!store)
		return 1;
	code = image_prune(store, flags.all ? IMAGE_PRUNE_ALL : 0, &report, &err) < 0 ? program_fail(cli, &err, 1) : 0;
	format_size(report.reclaimed, size);
	(void)fprintf(cli->out, "%sTotal reclaimed space: %s\n", str_text(&report.lines), size);
	image_report_free(&report);
	return code;
}

const struct command image_commands[] = {
	{ .name = "history",
	  .operands = "[OPTIONS] IMAGE",
	  .summary = "Show how an image was made",
	  .complete = "image",
	  .min_operands = 1,
	  .max_operands = 1,
	  .options = history_options,
	  .run = history_command,
	  .details = "Examples:\n"
		     "  caisson image history --no-trunc busybox" },
	{ .name = "import",
	  .operands = "[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
	  .summary = "Make an image from a root file system's tarball",
	  .complete = "file;image",
	  .min_operands = 1,
	  .max_operands = 2,
	  .options = import_options,
	  .run = import_command,
	  .details = "Examples:\n"
		     "  caisson image import rootfs.tar.gz mine:1\n"
		     "  tar -C DIR -c . | caisson image import -c 'CMD [\"/bin/sh\"]' - mine:2" },
	{ .name = "inspect",
	  .operands = "[OPTIONS] IMAGE [IMAGE...]",
	  .summary = "Show all that is known of images",
	  .complete = "image",
	  .min_operands = 1,
	  .max_operands = -1,
	  .options = inspect_options,
	  .run = image_inspect_command,
	  .details = "Examples:\n"
		     "  caisson image inspect -f '{{json .Config.Cmd}}' busybox" },
	{ .name = "load",
	  .operands = "[OPTIONS] [FILE|DIRECTORY]",
	  .summary = "Load images from an OCI layout or a docker archive",
	  .complete = "file",
	  .max_operands = 1,
	  .options = load_options,
	  .run = load_command,
	  .details = "Examples:\n"
		     "  docker save busybox | caisson load\n"
		     "  caisson load -i layout/ --name mine:1" },
	{ .name = "ls",
	  .alias = "list",
	  .operands = "[OPTIONS] [REPOSITORY[:TAG]]",
	  .summary = "List images",
	  .complete = "image",
	  .max_operands = 1,
	  .options = images_options,
	  .run = images_command,
	  .details = "Examples:\n"
		     "  caisson image ls --digests\n"
		     "  caisson image ls --filter reference='team/*' --format '{{.Repository}}:{{.Tag}}'" },
	{ .name = "prune",
	  .operands = "[OPTIONS]",
	  .summary = "Remove images that nothing uses",
	  .options = prune_options,
	  .run = prune_images,
	  .details = "Examples:\n"
		     "  caisson image prune -f\n"
		     "  caisson image prune -a -f" },
	{ .name = "rm",
	  .alias = "remove",
	  .operands = "[OPTIONS] IMAGE [IMAGE...]",
	  .summary = "Remove images",
	  .complete = "image",
	  .min_operands = 1,
	  .max_operands = -1,
	  .options = rmi_options,
	  .run = rmi_command,
	  .details = "Examples:\n"
		     "  caisson image rm mine:1 mine:2\n"
		     "  caisson image rm -f $(caisson images -q)" },
	{ .name = "save",
	  .operands = "[OPTIONS] IMAGE [IMAGE...]",
	  .summary = "Write images to an archive",
	  .complete = "image",
	  .min_operands = 1,
	  .max_operands = -1,
	  .options = save_options,
	  .run = save_command,
	  .details = "Examples:\n"
		     "  caisson image save busybox | gzip >busybox.tar.gz\n"
		     "  caisson image save --format oci-archive -o two.tar mine:1 mine:2" },
	{ .name = "tag",
	  .operands = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
	  .summary = "Give an image one more name",
	  .complete = "image",
	  .min_operands = 2,
	  .max_operands = 2,
	  .run = tag_command,
	  .details = "Examples:\n"
		     "  caisson image tag busybox mine:1" },
	{ .name = NULL },
};
