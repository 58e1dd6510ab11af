/* SPDX-License-Identifier: Apache-2.0 */
/* Environment variables and labels as docker's command line takes them. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/caisson/caisson.h"

enum { ENV_FILE_MAX = 1 << 20 };

json_t *env_of_flag(const char *text, struct error *err)
{
	const char *value = strchr(text, '=') ? NULL : getenv(text);
	json_t *variable = value ? json_sprintf("%s=%s", text, value) : json_string(text);

	if (!variable)
		(void)error_set(err, EILSEQ, "'%.*s' is not valid UTF-8", (int)strcspn(text, "="), text);
	return variable;
}

int read_env_file(const char *path, json_t *list, bool labels, struct error *err)
{
	cleanup_free char *text = NULL;
	char *rest, *line;
	int ret = file_read(AT_FDCWD, path, ENV_FILE_MAX, &text, NULL, err);

	if (ret < 0)
		return ret;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		size_t name;

		line += strspn(line, " \t");
		line[strcspn(line, "\r")] = '\0';
		name = strcspn(line, "=");
		if (!*line || *line == '#')
			continue;
		if (name == 0)
			return error_set(err, EINVAL, "%s: no variable name on line '%s'", path, line);
		if (!labels && strcspn(line, " \t") < name)
			return error_set(err, EINVAL, "%s: variable '%.*s' contains whitespaces", path, (int)name,
					 line);
		/* A name alone: the caller's value, or nothing at all. */
		if (!labels && !line[name] && !getenv(line))
			continue;
		if (json_array_append_new(list, labels ? json_string(line) : env_of_flag(line, NULL)) < 0)
			return error_set(err, EILSEQ, "%s: '%.*s' is not valid UTF-8", path, (int)name, line);
	}
	return 0;
}
