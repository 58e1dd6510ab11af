/* SPDX-License-Identifier: Apache-2.0 */
/* config.md, "POSIX-platform Hooks": programs that are run along a container's life. */
#include <stddef.h>

#include "spec/parts.h"
#include "spec/runtime.h"

static const struct spec_range timeout_range = { 1, INT32_MAX };

static int check_hook(struct reader *reader, void *target)
{
	const struct oci_hook *hook = target;

	return hook->path ? 0 : spec_fail_at(reader, "path", "must not be empty");
}

static const struct spec_field hook_fields[] = {
	SPEC_REQUIRED(struct oci_hook, path, "path", spec_read_path),
	SPEC_FIELD(struct oci_hook, args, "args", spec_read_strings),
	SPEC_FIELD(struct oci_hook, env, "env", spec_read_strings),
	SPEC_FIELD_HOW(struct oci_hook, timeout, "timeout", spec_read_opt_i64, &timeout_range),
};
static const struct spec_object hook = { hook_fields, SPEC_COUNT(hook_fields), false, check_hook };
static const struct spec_list hook_list = { .size = sizeof(struct oci_hook), .read = spec_read_object, .how = &hook };

static const struct spec_field hooks_fields[] = {
	SPEC_FIELD_HOW(struct oci_hooks, prestart, "prestart", spec_read_list, &hook_list),
	SPEC_FIELD_HOW(struct oci_hooks, create_runtime, "createRuntime", spec_read_list, &hook_list),
	SPEC_FIELD_HOW(struct oci_hooks, create_container, "createContainer", spec_read_list, &hook_list),
	SPEC_FIELD_HOW(struct oci_hooks, start_container, "startContainer", spec_read_list, &hook_list),
	SPEC_FIELD_HOW(struct oci_hooks, poststart, "poststart", spec_read_list, &hook_list),
	SPEC_FIELD_HOW(struct oci_hooks, poststop, "poststop", spec_read_list, &hook_list),
};
const struct spec_object spec_hooks = { hooks_fields, SPEC_COUNT(hooks_fields), false, NULL };
