/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/subid.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"

enum { SUBID_FILE_MAX = 16 << 20, LINE_TEXT_MAX = 512 };

/* "name:start:count", changed by this; false when it is another user's, or no such line at all. */
static bool parse_line(char *line, const char *name, uid_t uid, uint64_t *start, uint64_t *count)
{
	char *rest = line, *owner = strsep(&rest, ":"), *first = strsep(&rest, ":"), *length = strsep(&rest, ":");
	uint64_t number;

	if (!first || !length || rest || str_to_u64(first, start) < 0 || str_to_u64(length, count) < 0)
		return false;
	if (*start > UINT32_MAX || *count == 0 || *count > UINT32_MAX || *start + *count > UINT32_MAX)
		return false;
	return (name && strcmp(owner, name) == 0) || (str_to_u64(owner, &number) == 0 && number == uid);
}

size_t subid_parse(const char *text, const char *name, uid_t uid, uint32_t inside, struct idmap_range *ranges,
		   size_t max)
{
	size_t found = 0;
	uint64_t next = inside;

	while (*text && found < max) {
		size_t length = strcspn(text, "\n");
		char line[LINE_TEXT_MAX];
		uint64_t start, count;

		if (length < sizeof(line)) {
			memcpy(line, text, length);
			line[length] = '\0';
			if (parse_line(line, name, uid, &start, &count) && next + count <= UINT32_MAX) {
				ranges[found++] = (struct idmap_range){ (uint32_t)next, (uint32_t)start,
									(uint32_t)count };
				next += count;
			}
		}
		text += length + (text[length] == '\n');
	}
	return found;
}

size_t subid_read(const char *path, const char *name, uid_t uid, uint32_t inside, struct idmap_range *ranges,
		  size_t max)
{
	cleanup_free char *text = NULL;

	if (file_read(AT_FDCWD, path, SUBID_FILE_MAX, &text, NULL, NULL) < 0)
		return 0;
	return subid_parse(text, name, uid, inside, ranges, max);
}
