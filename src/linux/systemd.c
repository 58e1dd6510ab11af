/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/companion.h"
#include "linux/systemd_helper.h"

extern char **environ;

enum { REPLY_MAX = 65536, ARGUMENTS_FIRST = 64 };

static const char HELPER[] = "caisson-systemd";

/* Command lines grow: argv for the helper. */
struct arguments {
	char **items; /* owned, the texts too; NULL-terminated */
	size_t count, room;
	bool failed;
};

static void arguments_free(struct arguments *arguments)
{
	for (size_t i = 0; i < arguments->count; i++)
		free(arguments->items[i]);
	free(arguments->items);
}

#define cleanup_arguments __attribute__((cleanup(arguments_free)))

static void add(struct arguments *arguments, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct arguments *arguments, const char *format, ...)
{
	char *text;
	va_list list;

	if (arguments->count + 1 >= arguments->room) {
		size_t room = arguments->room ? arguments->room * 2 : ARGUMENTS_FIRST;
		char **grown = reallocarray(arguments->items, room, sizeof(*grown));

		if (!grown) {
			arguments->failed = true;
			return;
		}
		arguments->items = grown;
		arguments->room = room;
	}
	va_start(list, format);
	if (vasprintf(&text, format, list) < 0)
		arguments->failed = true;
	else
		arguments->items[arguments->count++] = text;
	va_end(list);
	arguments->items[arguments->count] = NULL;
}

int systemd_find_helper(char **path, struct error *err)
{
	int ret = companion_find(NULL, HELPER, path, err);

	return ret < 0 ? (error_wrap(err, "cannot talk to systemd"), ret) : 0;
}

bool systemd_available(const struct systemd *systemd)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char path[PATH_MAX];

	if (!systemd->user)
		return access("/run/systemd/system", F_OK) == 0;
	if (!runtime || snprintf(path, sizeof(path), "%s/systemd", runtime) >= (int)sizeof(path))
		return false;
	return access(path, F_OK) == 0;
}

static const char *const SIGNATURES[] = {
	[SYSTEMD_STRING] = "s",	   [SYSTEMD_BOOL] = "b",       [SYSTEMD_U32] = "u",   [SYSTEMD_U64] = "t",
	[SYSTEMD_I32] = "i",	   [SYSTEMD_STRINGS] = "as",   [SYSTEMD_U32S] = "au", [SYSTEMD_BYTES] = "ay",
	[SYSTEMD_PAIRS] = "a(ss)", [SYSTEMD_LIMITS] = "a(st)",
};

static void add_bytes(struct arguments *arguments, const struct systemd_property *property)
{
	cleanup_str struct str hex = STR_INIT;

	for (size_t i = 0; i < property->count; i++)
		str_printf(&hex, "%02x", property->bytes[i]);
	arguments->failed = arguments->failed || str_failed(&hex);
	add(arguments, "%s=ay:%s", property->name, str_text(&hex));
}

static void add_item(struct arguments *arguments, const struct systemd_property *property,
		     const struct systemd_item *item)
{
	const char *name = property->name, *signature = SIGNATURES[property->type];

	if (property->type == SYSTEMD_STRINGS)
		add(arguments, "%s=%s:%s", name, signature, item->key);
	else if (property->type == SYSTEMD_U32S)
		add(arguments, "%s=%s:%" PRIu64, name, signature, item->number);
	else if (property->type == SYSTEMD_PAIRS)
		add(arguments, "%s=%s:%s %s", name, signature, item->key, item->text);
	else
		add(arguments, "%s=%s:%s %" PRIu64, name, signature, item->key, item->number);
}

/* NAME=SIGNATURE:VALUE, once for each item of a list. */
static void add_property(struct arguments *arguments, const struct systemd_property *property)
{
	const char *name = property->name, *signature = SIGNATURES[property->type];

	switch (property->type) {
	case SYSTEMD_STRING:
		add(arguments, "%s=s:%s", name, property->text);
		break;
	case SYSTEMD_BOOL:
	case SYSTEMD_U32:
	case SYSTEMD_U64:
		add(arguments, "%s=%s:%" PRIu64, name, signature, property->number);
		break;
	case SYSTEMD_I32:
		add(arguments, "%s=i:%" PRId64, name, (int64_t)property->number);
		break;
	case SYSTEMD_BYTES:
		add_bytes(arguments, property);
		break;
	default:
		if (property->count == 0)
			add(arguments, "%s=%s", name, signature);
		for (size_t i = 0; i < property->count; i++)
			add_item(arguments, property, &property->items[i]);
		break;
	}
}

/* Starts argv with its output and errors in *reply; its pid or -errno. */
static pid_t spawn(char *const argv[], int *reply)
{
	posix_spawn_file_actions_t actions;
	int pipes[2], code;
	pid_t pid = -1;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	code = posix_spawn_file_actions_init(&actions);
	if (code == 0) {
		code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
		if (code == 0)
			code = posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
		if (code == 0)
			code = posix_spawn_file_actions_adddup2(&actions, pipes[1], 2);
		if (code == 0)
			code = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	close(pipes[1]);
	if (code != 0) {
		close(pipes[0]);
		return -code;
	}
	*reply = pipes[0];
	return pid;
}

/* The helper's exit status as an errno. */
static int code_of(int status)
{
	static const int CODES[] = { [SYSTEMD_HELPER_FAILED] = EIO,	      [SYSTEMD_HELPER_USAGE] = EINVAL,
				     [SYSTEMD_HELPER_NO_UNIT] = ENOENT,	      [SYSTEMD_HELPER_EXISTS] = EEXIST,
				     [SYSTEMD_HELPER_NO_SYSTEMD] = EHOSTDOWN, [SYSTEMD_HELPER_DENIED] = EPERM,
				     [SYSTEMD_HELPER_TIMEOUT] = ETIMEDOUT };

	if (!WIFEXITED(status) || WEXITSTATUS(status) >= (int)(sizeof(CODES) / sizeof(*CODES)))
		return EIO;
	return WEXITSTATUS(status) == 0 ? 0 : CODES[WEXITSTATUS(status)];
}

static int run(char *const argv[], char **reply, struct error *err)
{
	cleanup_free char *text = NULL;
	cleanup_close int out = -1;
	pid_t pid = spawn(argv, &out), waited;
	int status = 0, ret, code;

	if (pid < 0)
		return error_errno(err, -pid, "cannot run %s", argv[0]);
	ret = file_read_fd(out, REPLY_MAX, &text, NULL, NULL);
	do
		waited = waitpid(pid, &status, 0);
	while (waited < 0 && errno == EINTR);
	code = code_of(status);
	if (text)
		text[strcspn(text, "\n")] = '\0';
	if (ret < 0 || waited < 0)
		return error_errno(err, ret < 0 ? -ret : errno, "cannot hear from %s", argv[0]);
	if (code != 0)
		return error_set(err, code, "systemd: %s", *text ? text : "the helper ended without a word");
	*reply = take_ptr(text);
	return 0;
}

static int request(const struct systemd *systemd, const char *command, const char *unit,
		   const struct systemd_property *properties, size_t count, char **reply, struct error *err)
{
	cleanup_arguments struct arguments arguments = { .items = NULL };
	cleanup_free char *found = NULL, *text = NULL;
	int ret = systemd->helper ? 0 : systemd_find_helper(&found, err);

	if (ret < 0)
		return ret;
	add(&arguments, "%s", systemd->helper ? systemd->helper : found);
	add(&arguments, "%s", systemd->user ? "--user" : "--system");
	add(&arguments, "%s", command);
	if (unit)
		add(&arguments, "%s", unit);
	for (size_t i = 0; i < count; i++)
		add_property(&arguments, &properties[i]);
	if (arguments.failed)
		return error_errno(err, ENOMEM, "cannot talk to systemd");
	ret = run(arguments.items, &text, err);
	if (ret == 0 && reply)
		*reply = take_ptr(text);
	return ret;
}

int systemd_start_scope(const struct systemd *systemd, const char *unit, const struct systemd_property *properties,
			size_t count, char **cgroup, struct error *err)
{
	return request(systemd, "start", unit, properties, count, cgroup, err);
}

int systemd_stop(const struct systemd *systemd, const char *unit, struct error *err)
{
	return request(systemd, "stop", unit, NULL, 0, NULL, err);
}

int systemd_set_properties(const struct systemd *systemd, const char *unit, const struct systemd_property *properties,
			   size_t count, struct error *err)
{
	return request(systemd, "set", unit, properties, count, NULL, err);
}

int systemd_version(const struct systemd *systemd, unsigned *version, struct error *err)
{
	cleanup_free char *text = NULL;
	int ret = request(systemd, "version", NULL, NULL, 0, &text, err);

	if (ret == 0 && sscanf(text, "%u", version) != 1)
		ret = error_set(err, EIO, "systemd: \"%.40s\" is no version", text);
	return ret;
}
