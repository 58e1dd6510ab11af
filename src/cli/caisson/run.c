/* SPDX-License-Identifier: Apache-2.0 */
/* caisson run, caisson create */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/caisson/caisson.h"
#include "engine/client.h"
#include "engine/lifecycle.h"
#include "engine/snapshot.h"
#include "image/reference.h"
#include "linux/tty.h"

static int open_image(struct engine *engine, const char *name, struct image *image, struct error *err)
{
	int ret = image_open(&engine->images, name, image, err);

	struct image_reference reference;

	if (ret == -ENOENT && image_reference_parse(name, &reference, err) < 0)
		return -err->code;
	if (ret == -ENOENT)
		return error_set(
			err, ENOENT,
			"Unable to find image '%s' locally; registries come later: bring it in with `caisson image "
			"load` or `caisson image import`",
			name);
	return ret;
}

static int check_platform(const json_t *document, const struct image *image, struct error *err)
{
	const char *wish = document_text(document, "Platform"), *slash = strchr(wish, '/');
	const struct oci_platform *has = &image->config.platform;
	const char *architecture = slash ? slash + 1 : "";
	size_t length = strcspn(architecture, "/");

	if (!*wish)
		return 0;
	if (!slash || !has->os || strncmp(wish, has->os, (size_t)(slash - wish)) != 0 || !has->architecture ||
	    strlen(has->architecture) != length || strncmp(architecture, has->architecture, length) != 0)
		return error_set(err, EINVAL, "the image is for %s/%s, not for %s; load one that is",
				 has->os ? has->os : "?", has->architecture ? has->architecture : "?", wish);
	return 0;
}

/* As docker: what was not asked for is tried all the same, for a kernel may have an interpreter (binfmt_misc). */
static void warn_of_platform(struct cli *cli, const struct container_flags *flags, const struct image *image)
{
	const char *has = image->config.platform.architecture, *host = oci_host_architecture();

	if (!*document_text(flags->document, "Platform") && has && strcmp(has, host) != 0)
		(void)program_say(cli, 0,
				  "WARNING: the image is for linux/%s, this host is linux/%s; --platform linux/%s says "
				  "that you mean it",
				  has, host, has);
}

/* As docker: one that is there already belongs to somebody. */
static int write_id_file(const char *path, const char *id, struct error *err)
{
	cleanup_close int fd = -1;
	int ret;

	if (!*path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return error_set(err, EEXIST,
				 "container ID file found, make sure the other container isn't running or delete %s",
				 path);
	ret = fd < 0 ? -errno : file_write_all(fd, id, strlen(id));
	return ret < 0 ? error_errno(err, -ret, "cannot write %s", path) : 0;
}

static int check_id_file(const char *path, struct error *err)
{
	struct stat st;

	if (!*path || stat(path, &st) < 0)
		return 0;
	return error_set(err, EEXIST,
			 "container ID file found, make sure the other container isn't running or delete %s", path);
}

/* Makes the instance that flags describe; locked. */
static int create_instance(struct engine *engine, const struct container_flags *flags, struct image *image, bool begun,
			   struct instance *instance, struct error *err)
{
	const char *id_file = document_text(flags->document, "HostConfig.ContainerIDFile");
	const struct instance_create_options options = {
		.document = flags->document,
		.image = image,
		.name = flags->name,
		.begun = begun,
	};
	int ret = check_platform(flags->document, image, err);

	if (ret == 0)
		ret = check_id_file(id_file, err);
	if (ret == 0)
		ret = instance_create(engine, &options, instance, err);
	if (ret < 0)
		return ret;
	ret = write_id_file(id_file, instance->id, err);
	if (ret < 0) {
		(void)instance_discard(instance, true, NULL);
		instance_close(instance);
	}
	return ret;
}

static unsigned wanted_streams(const json_t *document)
{
	return MONITOR_OWNS | (document_bool(document, "Config.AttachStdin") ? MONITOR_WANTS_INPUT : 0) |
	       (document_bool(document, "Config.AttachStdout") ? MONITOR_WANTS_OUTPUT : 0) |
	       (document_bool(document, "Config.AttachStderr") ? MONITOR_WANTS_ERRORS : 0);
}

/* A program asks for the size at once: it must be there before the first window-change. */
static void set_console_size(json_t *document)
{
	unsigned rows, columns;

	if (document_bool(document, "Config.Tty") && tty_get_size(STDIN_FILENO, &rows, &columns) == 0 && rows)
		(void)document_set(document, "HostConfig.ConsoleSize", json_pack("[i,i]", (int)rows, (int)columns));
}

static int attach_and_finish(struct cli *cli, const struct container_flags *flags, struct instance *instance,
			     int client)
{
	unsigned wants = wanted_streams(flags->document);
	const struct attach_wishes wishes = {
		.input = wants & MONITOR_WANTS_INPUT,
		.output = wants & MONITOR_WANTS_OUTPUT,
		.errors = wants & MONITOR_WANTS_ERRORS,
		.pass_signals = !flags->no_sig_proxy,
		.detach_keys = flags->detach_keys,
	};
	struct error err = ERROR_INIT;
	bool detached;
	int code = attach_stdio(cli, instance, client, &wishes, &detached);

	/* It lives on, and what it leaves is its monitor's to clean. */
	if (detached)
		return code;
	if (instance_finish(instance, client, &err) < 0)
		(void)program_fail(cli, &err, EXIT_ENGINE);
	return code;
}

static int start_and_attach(struct cli *cli, const struct container_flags *flags, struct image *image,
			    struct instance *instance)
{
	struct launch_options options = program_launch_options(cli);
	cleanup_close int client = -1;
	struct error err = ERROR_INIT;
	sigset_t passed;

	options.image = image;
	options.attach = flags->detach ? 0 : wanted_streams(flags->document);
	attach_passed_signals(&passed);
	options.hold = flags->detach || flags->no_sig_proxy ? NULL : &passed;
	if (launch(instance, &options, &client, &err) < 0)
		return program_fail(cli, &err, launch_exit_code(&err));
	instance_unlock(instance);
	if (!flags->detach)
		return attach_and_finish(cli, flags, instance, client);
	(void)fprintf(cli->out, "%s\n", instance->id);
	return 0;
}

/* --from-snapshot: all that the machine is stands in there. */
static int open_snapshot(struct engine *engine, struct container_flags *flags, struct image *image, struct error *err)
{
	json_t *merged;
	int ret = snapshot_document(engine, flags->snapshot, flags->document, &merged, image, err);

	if (ret < 0)
		return ret;
	json_decref(flags->document);
	flags->document = merged;
	return 0;
}

static int run_or_create(struct cli *cli, struct container_flags *flags, char **operands, int count, bool run)
{
	struct engine *engine = program_engine(cli);
	struct error err = ERROR_INIT;
	struct instance instance = INSTANCE_INIT;
	struct image image;
	int code, failure = run ? EXIT_ENGINE : 1;

	if (!engine)
		return failure;
	if (container_flags_finish(flags, operands, count, &err) < 0)
		return program_fail(cli, &err, failure);
	if (run)
		set_console_size(flags->document);
	if (run && !flags->detach && document_bool(flags->document, "Config.Tty") &&
	    document_bool(flags->document, "Config.OpenStdin") && !isatty(STDIN_FILENO))
		return program_say(cli, EXIT_ENGINE, "the input device is not a TTY; leave -t out");
	if ((flags->snapshot ? open_snapshot(engine, flags, &image, &err)
			     : open_image(engine, operands[0], &image, &err)) < 0)
		return program_fail(cli, &err, failure);
	warn_of_platform(cli, flags, &image);
	if (create_instance(engine, flags, &image, run, &instance, &err) < 0) {
		code = program_fail(cli, &err, failure);
	} else if (run) {
		code = start_and_attach(cli, flags, &image, &instance);
	} else {
		(void)fprintf(cli->out, "%s\n", instance.id);
		code = 0;
	}
	image_close(&image);
	instance_close(&instance);
	return code;
}

static bool check_operands(struct cli *cli, const struct container_flags *flags, int count)
{
	if (flags->snapshot && count > 0)
		(void)cli_usage_error(cli, "with --from-snapshot there is no IMAGE and no command");
	else if (!flags->snapshot && count == 0)
		(void)cli_usage_error(cli, "\"%s\" requires at least 1 argument\nUsage: %s %s", cli->path, cli->path,
				      cli->command->operands);
	else
		return true;
	return false;
}

static int parse_and_do(struct cli *cli, int argc, char **argv, bool run)
{
	struct container_flags flags;
	struct error err = ERROR_INIT;
	char **operands;
	int count, code;

	if (container_flags_open(&flags, &err) < 0)
		return program_fail(cli, &err, EXIT_ENGINE);
	if (cli_parse(cli, &flags, argc, argv, &operands, &count, &code))
		code = check_operands(cli, &flags, count) ? run_or_create(cli, &flags, operands, count, run)
							  : cli->usage_error;
	container_flags_close(&flags);
	return code;
}

int run_command(struct cli *cli, int argc, char **argv)
{
	return parse_and_do(cli, argc, argv, true);
}

int create_command(struct cli *cli, int argc, char **argv)
{
	return parse_and_do(cli, argc, argv, false);
}
