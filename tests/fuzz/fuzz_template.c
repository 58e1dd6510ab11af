/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for what --format takes: an input is a template, after a NUL the JSON that it is run on, which an
 * image or a container may have filled.
 */
#include "base/cleanup.h"
#include "cli/format.h"
#include "cli/template.h"
#include "fuzz.h"

static bool is_utf8(const char *text)
{
	json_t *value = json_string(text);

	json_decref(value);
	return value != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_str struct str out = STR_INIT, columns = STR_INIT;
	cleanup_free char *text = calloc(size + 2, 1), *plain = NULL;
	struct error err = ERROR_INIT;
	json_t *value;
	char *json;
	int ret;

	check(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	json = text + strlen(text) + 1;
	if (!is_utf8(text)) /* the command line takes nothing else */
		return 0;
	value = json < text + size ? json_loads(json, JSON_DECODE_ANY, NULL) : NULL;
	plain = format_unescape(text);
	check(plain && strlen(plain) <= strlen(text));
	ret = template_render(plain, value ? value : json_null(), &out, &err);
	check(ret == 0 || (err.code == -ret && *err.text));
	json_decref(value);
	format_columns(str_text(&out), &columns);
	check(!str_failed(&out) && !str_failed(&columns));
	return 0;
}
