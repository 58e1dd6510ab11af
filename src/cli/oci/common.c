/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/oci/oci.h"
#include "linux/clone.h"
#include "linux/fdpass.h"
#include "runtime/paradigms.h"

int oci_fail(const struct oci *oci, const struct error *err, int code)
{
	log_print(&oci->log, LOG_LEVEL_ERROR, "%s", err->text);
	if (oci->log.fd != STDERR_FILENO) {
		(void)file_write_all(STDERR_FILENO, err->text, strlen(err->text));
		(void)file_write_all(STDERR_FILENO, "\n", 1);
	}
	return code;
}

void oci_report(struct cli *cli, const char *message)
{
	struct error err = ERROR_INIT;

	(void)error_set(&err, EINVAL, "%s", message);
	(void)oci_fail(cli->context, &err, cli->usage_error);
	(void)fprintf(cli->err, "See '%s --help'.\n", cli->path);
}

static enum cli_verdict check_count(struct cli *cli, int min, int max, int count)
{
	const struct oci *oci = cli->context;
	const char *name = cli->command->name;

	if (min == max && count != min)
		return cli_usage_error(cli, "%s: \"%s\" requires exactly %d argument(s)", oci->program, name, min);
	if (count < min)
		return cli_usage_error(cli, "%s: \"%s\" requires a minimum of %d argument(s)", oci->program, name, min);
	if (max >= 0 && count > max)
		return cli_usage_error(cli, "%s: \"%s\" requires a maximum of %d argument(s)", oci->program, name, max);
	return CLI_GO;
}

bool oci_arguments(struct cli *cli, void *target, int min, int max, int *argc, char ***argv, int *code)
{
	if (!cli_parse(cli, target, *argc, *argv, argv, argc, code))
		return false;
	if (check_count(cli, min, max, *argc) == CLI_GO)
		return true;
	*code = cli->usage_error;
	return false;
}

static void warn(void *context, const char *text)
{
	const struct oci *oci = context;

	log_print(&oci->log, LOG_LEVEL_WARNING, "%s", text);
}

static void debug(void *context, const char *text)
{
	const struct oci *oci = context;

	log_print(&oci->log, LOG_LEVEL_DEBUG, "%s", text);
}

static int decide_rootless(const struct oci *oci, bool *rootless, struct error *err)
{
	static const char *const truths[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const lies[] = { "0", "f", "F", "false", "FALSE", "False" };

	if (!oci->rootless || strcmp(oci->rootless, "auto") == 0) {
		/* Root of a user namespace is not allowed everything, whatever its uid says. */
		*rootless = getauxval(AT_EUID) != 0 || (!oci->systemd_cgroup && namespace_user_is_made());
		return 0;
	}
	for (size_t i = 0; i < sizeof(truths) / sizeof(*truths); i++) {
		*rootless = strcmp(oci->rootless, truths[i]) == 0;
		if (*rootless || strcmp(oci->rootless, lies[i]) == 0)
			return 0;
	}
	return error_set(err, EINVAL, "invalid value \"%s\" for --rootless: expected true, false or auto",
			 oci->rootless);
}

int oci_open(struct oci *oci, struct runtime *runtime, struct error *err)
{
	int ret = runtime_open(runtime, oci->root, err);

	if (ret < 0)
		return ret;
	runtime->paradigms = paradigms_all;
	runtime->paradigm = oci->paradigm;
	runtime->systemd_cgroup = oci->systemd_cgroup;
	runtime->warn = warn;
	runtime->debug = oci->debug ? debug : NULL;
	runtime->warn_context = oci;
	return decide_rootless(oci, &runtime->rootless, err);
}

int instance_open(struct oci *oci, const char *id, int flags, struct instance *instance, struct error *err)
{
	int ret;

	if (!*id)
		return error_set(err, EINVAL, "container id cannot be empty");
	ret = oci_open(oci, &instance->runtime, err);
	if (ret == 0)
		ret = container_load(&instance->runtime, id, flags, &instance->container, err);
	if (ret == -ENOENT)
		(void)error_hint(err, "`%s list` shows those there are, --root where to look", oci->program);
	return ret;
}

void instance_close(struct instance *instance)
{
	container_close(&instance->container);
	runtime_close(&instance->runtime);
}

int oci_print(const char *text, struct error *err)
{
	int ret = file_write_all(STDOUT_FILENO, text, strlen(text));

	return ret < 0 ? error_errno(err, -ret, "cannot write to standard output") : 0;
}

int oci_parse_duration(const char *text, int64_t *milliseconds)
{
	static const struct {
		const char *name;
		double nanoseconds;
	} units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 } };
	double total = 0;

	if (strcmp(text, "0") == 0) {
		*milliseconds = 0;
		return 0;
	}
	do {
		char *end;
		size_t length, i;
		double number;

		if (!isdigit((unsigned char)*text) && *text != '.')
			return -EINVAL;
		number = strtod(text, &end);
		length = strspn(end, "nusmh");
		for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
			if (strlen(units[i].name) == length && strncmp(units[i].name, end, length) == 0)
				break;
		}
		if (end == text || i == sizeof(units) / sizeof(*units))
			return -EINVAL;
		total += number * units[i].nanoseconds;
		text = end + length;
	} while (*text);
	if (total > 1e6 * INT32_MAX)
		return -ERANGE;
	*milliseconds = (int64_t)((total + 999999) / 1e6);
	return 0;
}

int oci_check_preserved(int64_t count, struct error *err)
{
	if (count < 0 || count > 65536)
		return error_set(err, EINVAL, "--preserve-fds must be between 0 and 65536");
	for (int i = 0; i < (int)count; i++) {
		if (fcntl(3 + i, F_GETFD) < 0)
			return error_errno(err, errno, "please check that preserved-fd %d (of %d) is present", i,
					   (int)count);
	}
	return 0;
}

int oci_send_pidfd(const char *path, pid_t pid, const char *name, struct error *err)
{
	cleanup_close int pidfd = pidfd_of(pid);
	cleanup_close int socket = -1;

	if (pidfd < 0)
		return error_errno(err, -pidfd, "cannot open process %d", pid);
	socket = fdpass_connect(path, err);
	if (socket < 0 || fdpass_send(socket, &pidfd, 1, name, strlen(name), err) < 0)
		return error_wrap(err, "cannot send the pidfd to %s", path);
	return 0;
}

int oci_check_console(bool detach, bool terminal, const char *socket, struct error *err)
{
	if (detach && terminal && !socket)
		return error_set(err, EINVAL, "cannot allocate tty if runc will detach without setting console socket");
	if ((!detach || !terminal) && socket)
		return error_set(err, EINVAL, "cannot use console socket if runc will not detach or allocate tty");
	return 0;
}
