/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for config.json and the JSON below it: any bytes give a
 * document or an error, and what is taken says the same when it is written
 * and read again.
 */
#include "base/json.h"
#include "fuzz.h"
#include "spec/runtime.h"

/* -EINVAL must come with words. */
static void check_result(int ret, const struct error *err)
{
	check(ret == 0 || (err->code == -ret && *err->text));
}

static void fuzz_json(const char *text, size_t size)
{
	cleanup_str struct str once = STR_INIT, twice = STR_INIT;
	struct arena arena = { .head = NULL };
	const struct json_value *root;
	struct error err = ERROR_INIT;
	int ret = json_parse(text, size, &arena, &root, &err);

	check_result(ret, &err);
	if (ret == 0) {
		json_append_canonical(&once, root);
		check(json_parse(str_text(&once), once.length, &arena, &root, &err) == 0);
		json_append_canonical(&twice, root);
		check(!str_failed(&once) && !str_failed(&twice) && strcmp(str_text(&once), str_text(&twice)) == 0);
	}
	arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct arena arena = { .head = NULL };
	struct oci_resources resources;
	struct oci_process process;
	struct error err = ERROR_INIT;
	struct oci_spec spec;
	int ret = oci_spec_parse(text, size, &spec, &err);

	check_result(ret, &err);
	if (ret == 0) {
		check(spec.oci_version && spec.root.path && *spec.root.path);
		check(!spec.process.set || (*spec.process.cwd == '/' && spec.process.args.count > 0));
		check(!spec.linux_.seccomp.set == !spec.linux_.seccomp.canonical);
		oci_spec_free(&spec);
	}
	check_result(oci_process_parse(text, size, &arena, &process, &err), &err);
	check_result(oci_resources_parse(text, size, &arena, &resources, &err), &err);
	arena_free(&arena);
	fuzz_json(text, size);
	return 0;
}
