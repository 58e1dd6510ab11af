/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the small languages of flags and files: mounts, mount options, lists of processors, points in
 * time, detach keys, subordinate ids, lines of a log.  An input is given to each of them.
 */
#include "base/cleanup.h"
#include "engine/client.h"
#include "engine/clock.h"
#include "engine/log_read.h"
#include "engine/mounts.h"
#include "fuzz.h"
#include "linux/mount.h"
#include "linux/process.h"
#include "linux/subid.h"

static void check_result(int ret, struct error *err)
{
	check(ret == 0 || (err->code == -ret && *err->text));
	*err = ERROR_INIT;
}

static void try_mounts(const char *text)
{
	struct error err = ERROR_INIT;
	bool destination_only;
	json_t *mount = json_string(text);

	if (!mount) /* the command line takes nothing but UTF-8 */
		return;
	json_decref(mount);
	mount = mounts_parse(text, &err);
	check(mount || (err.code && *err.text));
	check(!mount || *document_text(mount, "Target") == '/');
	json_decref(mount);
	err = ERROR_INIT;
	check_result(mounts_check_bind(text, &destination_only, &err), &err);
}

static void try_options(const char *text)
{
	enum { OPTIONS_MAX = 64 };
	cleanup_free char *copy = strdup(text);
	const char *options[OPTIONS_MAX];
	struct mount_options parsed;
	struct error err = ERROR_INIT;
	char *rest = copy, *each;
	size_t count = 0;
	int ret;

	check(copy != NULL);
	while (count < OPTIONS_MAX && (each = strsep(&rest, ",")))
		options[count++] = each;
	ret = mount_options_parse(options, count, &parsed, &err);
	check_result(ret, &err);
	if (ret == 0) {
		check((parsed.flags & parsed.cleared) == 0 && parsed.propagation_count <= MOUNT_PROPAGATIONS_MAX);
		mount_options_free(&parsed);
	}
}

static void try_keys(const char *text)
{
	unsigned char keys[16];
	struct error err = ERROR_INIT;
	size_t count = 0;
	int ret = attach_parse_keys(text, keys, &count, &err);

	check_result(ret, &err);
	check(ret < 0 || count <= sizeof(keys));
}

static void try_numbers(const char *text)
{
	struct idmap_range ranges[4];
	uint64_t words[2] = { 0 };
	struct timespec when;
	size_t count;

	check(process_parse_list(text, words, 128) <= 0);
	check(clock_parse(text, &when) < 0 || (when.tv_nsec >= 0 && when.tv_nsec < 1000000000));
	count = subid_parse(text, "user", 1000, 1, ranges, 4);
	check(count <= 4);
	for (size_t i = 0; i < count; i++)
		check(ranges[i].size > 0 && (uint64_t)ranges[i].outside + ranges[i].size <= UINT32_MAX &&
		      (uint64_t)ranges[i].inside + ranges[i].size <= UINT32_MAX);
}

static void try_log(const char *text, size_t size)
{
	struct log_line line;
	json_t *document;

	if (log_parse_line(text, size, &document, &line) < 0)
		return;
	check(line.text && line.time && strlen(line.text) <= line.length);
	json_decref(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = calloc(size + 1, 1);

	check(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	try_mounts(text);
	try_options(text);
	try_keys(text);
	try_numbers(text);
	try_log(text, size);
	return 0;
}
