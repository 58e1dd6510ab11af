/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/container/container.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

static int probe(struct str *engine, struct error *err)
{
	(void)err;
	if (engine)
		str_append(engine, "the host's kernel");
	return 0; /* a kernel that runs us has what it takes; what a configuration needs beyond that is its own error */
}

/* 0 when it can be executed as far as a look tells; whether this user may is execve(2)'s to say. */
static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return st.st_mode & 0111 ? 0 : -EACCES;
}

static const char *environment_value(const struct oci_strings *env, const char *name)
{
	size_t length = strlen(name);
	const char *value = NULL;

	for (size_t i = 0; i < env->count; i++) {
		if (strncmp(env->items[i], name, length) == 0 && env->items[i][length] == '=')
			value = env->items[i] + length + 1;
	}
	return value;
}

/* The first executable in PATH; one that is there but may not be executed decides the error if nothing better comes. */
static int search(const char *name, const char *path, char **program)
{
	int result = -ENOENT;

	while (path && *path) {
		size_t length = strcspn(path, ":");
		cleanup_str struct str candidate = STR_INIT;
		int ret;

		str_append_bytes(&candidate, path, length);
		str_printf(&candidate, "%s%s", length ? "/" : "./", name);
		if (str_failed(&candidate))
			return -ENOMEM;
		ret = executable(candidate.text);
		if (ret == 0) {
			*program = str_take(&candidate);
			return 0;
		}
		if (ret == -EACCES)
			result = ret;
		path += length + (path[length] == ':');
	}
	return result;
}

static int find(const struct oci_process *process, char **program, struct error *err)
{
	const char *name = process->args.items[0];
	int ret;

	if (strchr(name, '/')) {
		ret = executable(name);
		if (ret == -EISDIR || ret == -EACCES)
			return error_set(err, EACCES, "exec: \"%s\": permission denied", name);
		if (ret < 0)
			return error_set(err, -ret, "exec: \"%s\": stat %s: %s", name, name, error_words(-ret));
		*program = strdup(name);
		return *program ? 0 : -ENOMEM;
	}
	ret = *name ? search(name, environment_value(&process->env, "PATH"), program) : -ENOENT;
	if (ret == -ENOENT)
		return error_set(err, ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
	return ret < 0 ? error_set(err, -ret, "exec: \"%s\": permission denied", name) : 0;
}

static int become(const struct paradigm_setup *setup, const struct oci_process *process, const char *program,
		  int control, struct error *err)
{
	sigset_t none;

	(void)setup;
	(void)control; /* execve(2) closes it: that is what it is for */
	/* Whoever attends to us holds signals back in itself until we run; a mask outlives execve(2). */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	execve(program, (char **)process->args.items, (char **)process->env.items);
	return error_errno(err, errno, "exec %s", program);
}

const struct paradigm paradigm_container = {
	.name = "container",
	.probe = probe,
	.find = find,
	.become = become,
};
