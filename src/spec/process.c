/* SPDX-License-Identifier: Apache-2.0 */
/* config.md, "Process": what runs, as whom, and with which limits. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "linux/capability.h"
#include "spec/parts.h"
#include "spec/runtime.h"

static const struct spec_field console_size_fields[] = {
	SPEC_REQUIRED(struct oci_console_size, height, "height", spec_read_u32),
	SPEC_REQUIRED(struct oci_console_size, width, "width", spec_read_u32),
};
static const struct spec_object console_size = { console_size_fields, SPEC_COUNT(console_size_fields), true, NULL };

static const struct spec_list gid_list = { .size = sizeof(gid_t), .read = spec_read_u32, .how = &spec_range_id };
static const struct spec_range umask_range = { 0, 07777 };

/* A uid that was forgotten would be root, so it is demanded as the document does.  A gid is left out often enough that
 * runc and crun take it for 0. */
static const struct spec_field user_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_process, user.uid, "uid", spec_read_u32, &spec_range_id),
	SPEC_FIELD_HOW(struct oci_process, user.gid, "gid", spec_read_u32, &spec_range_id),
	SPEC_FIELD_HOW(struct oci_process, user.umask, "umask", spec_read_opt_u64, &umask_range),
	SPEC_FIELD_HOW(struct oci_process, user.additional_gids_count, "additionalGids", spec_read_list, &gid_list),
	SPEC_FIELD(struct oci_process, user.username, "username", spec_read_text_or_null),
};
static const struct spec_object user = { user_fields, SPEC_COUNT(user_fields), false, NULL };

static int add_unknown(struct reader *reader, const struct json_value *list, struct oci_strings *unknown)
{
	const char **items = arena_alloc(reader->arena, unknown->count + list->count + 1, sizeof(*items));

	if (!items)
		return spec_no_memory(reader);
	for (size_t i = 0; i < unknown->count; i++)
		items[i] = unknown->items[i];
	for (const struct json_value *name = list->first; name; name = name->next)
		if (capability_from_name(name->text) < 0)
			items[unknown->count++] = name->text;
	unknown->items = items;
	return 0;
}

/* target is the whole of the capabilities, how is where in it the mask of this set is. */
static int read_capability_set(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	uint64_t *mask = (uint64_t *)(void *)((char *)target + *(const size_t *)how);
	const struct spec_place *outer = reader->place;
	struct spec_place place = { .outer = outer };
	struct oci_capabilities *capabilities = target;
	bool unknown = false;
	int ret = 0;

	if (value->kind != JSON_KIND_ARRAY)
		return spec_fail_type(reader, "an array", value);
	reader->place = &place;
	for (const struct json_value *name = value->first; ret == 0 && name; name = name->next, place.index++) {
		int capability = name->kind == JSON_KIND_STRING ? capability_from_name(name->text) : -EINVAL;

		if (name->kind != JSON_KIND_STRING)
			ret = spec_fail_type(reader, "a string", name);
		else if (capability < 0)
			unknown = true;
		else
			*mask |= UINT64_C(1) << capability;
	}
	reader->place = outer;
	return ret == 0 && unknown ? add_unknown(reader, value, &capabilities->unknown) : ret;
}

static const size_t effective_offset = offsetof(struct oci_capabilities, effective);
static const size_t bounding_offset = offsetof(struct oci_capabilities, bounding);
static const size_t inheritable_offset = offsetof(struct oci_capabilities, inheritable);
static const size_t permitted_offset = offsetof(struct oci_capabilities, permitted);
static const size_t ambient_offset = offsetof(struct oci_capabilities, ambient);

static const struct spec_field capability_fields[] = {
	{ "bounding", 0, read_capability_set, &bounding_offset, false },
	{ "effective", 0, read_capability_set, &effective_offset, false },
	{ "inheritable", 0, read_capability_set, &inheritable_offset, false },
	{ "permitted", 0, read_capability_set, &permitted_offset, false },
	{ "ambient", 0, read_capability_set, &ambient_offset, false },
};
static const struct spec_object capabilities = { capability_fields, SPEC_COUNT(capability_fields), true, NULL };

static const struct spec_words rlimit_words = {
	"wrong rlimit value: ",
	"",
	(const char *const[]){ "RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS",
			       "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC",
			       "RLIMIT_RSS", "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK",
			       NULL },
};
static const struct spec_field rlimit_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_rlimit, type, "type", spec_read_known_word, &rlimit_words),
	SPEC_REQUIRED(struct oci_rlimit, soft, "soft", spec_read_u64),
	SPEC_REQUIRED(struct oci_rlimit, hard, "hard", spec_read_u64),
};
static const struct spec_object rlimit = { rlimit_fields, SPEC_COUNT(rlimit_fields), false, NULL };
/* More than there are names would be duplicates; the limit keeps the search for them short. */
static const struct spec_list rlimit_list = { sizeof(struct oci_rlimit), spec_read_object, &rlimit, 0, 64 };

static const struct spec_words policy_words = {
	"invalid scheduler policy: ",
	"",
	(const char *const[]){ "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE",
			       "SCHED_DEADLINE", NULL },
};
static const struct spec_words scheduler_flag_words = {
	"invalid scheduler flag: ",
	"",
	(const char *const[]){ "SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN",
			       "SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MIN",
			       "SCHED_FLAG_UTIL_CLAMP_MAX", NULL },
};

static int check_scheduler(struct reader *reader, void *target)
{
	const struct oci_scheduler *scheduler = target;
	const char *policy = scheduler->policy;
	bool fair = strcmp(policy, "SCHED_OTHER") == 0 || strcmp(policy, "SCHED_BATCH") == 0;
	bool realtime = strcmp(policy, "SCHED_FIFO") == 0 || strcmp(policy, "SCHED_RR") == 0;
	bool deadline = strcmp(policy, "SCHED_DEADLINE") == 0;

	if (fair && (scheduler->nice < -20 || scheduler->nice > 19))
		return spec_fail_at(reader, "nice", "invalid scheduler nice: %d", scheduler->nice);
	if (scheduler->priority && !realtime)
		return spec_fail_at(reader, "priority",
				    "scheduler priority can only be specified for SchedFIFO or SchedRR policy");
	if ((scheduler->runtime || scheduler->deadline || scheduler->period) && !deadline)
		return spec_fail(reader, "scheduler runtime/deadline/period can only be specified for SchedDeadline "
					 "policy");
	return 0;
}

static const struct spec_field scheduler_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_scheduler, policy, "policy", spec_read_known_word, &policy_words),
	SPEC_FIELD(struct oci_scheduler, nice, "nice", spec_read_i32),
	SPEC_FIELD(struct oci_scheduler, priority, "priority", spec_read_i32),
	SPEC_FIELD_HOW(struct oci_scheduler, flags, "flags", spec_read_strings, &scheduler_flag_words),
	SPEC_FIELD(struct oci_scheduler, runtime, "runtime", spec_read_u64),
	SPEC_FIELD(struct oci_scheduler, deadline, "deadline", spec_read_u64),
	SPEC_FIELD(struct oci_scheduler, period, "period", spec_read_u64),
};
static const struct spec_object scheduler = { scheduler_fields, SPEC_COUNT(scheduler_fields), true, check_scheduler };

static const struct spec_words io_class_words = {
	"invalid ioPriority.Class: \"",
	"\"",
	(const char *const[]){ "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE", NULL },
};

static int check_io_priority(struct reader *reader, void *target)
{
	const struct oci_io_priority *io = target;

	return io->priority < 0 || io->priority > 7
		       ? spec_fail_at(reader, "priority", "invalid ioPriority.Priority: %jd", (intmax_t)io->priority)
		       : 0;
}

static const struct spec_field io_priority_fields[] = {
	SPEC_REQUIRED_HOW(struct oci_io_priority, class, "class", spec_read_known_word, &io_class_words),
	SPEC_FIELD(struct oci_io_priority, priority, "priority", spec_read_i64),
};
static const struct spec_object io_priority = { io_priority_fields, SPEC_COUNT(io_priority_fields), true,
						check_io_priority };

static int read_cpu_list(struct reader *reader, const struct json_value *value, void *target, const void *how)
{
	int ret = spec_read_text_or_null(reader, value, target, how);

	return ret == 0 && value->count && !spec_is_number_list(value->text)
		       ? spec_fail(reader, "invalid CPU affinity: \"%s\" is no list of CPUs like \"0-3,7\"",
				   value->text)
		       : ret;
}

static const struct spec_field affinity_fields[] = {
	SPEC_FIELD(struct oci_process, exec_cpu_affinity.initial, "initial", read_cpu_list),
	SPEC_FIELD(struct oci_process, exec_cpu_affinity.final, "final", read_cpu_list),
};
static const struct spec_object affinity = { affinity_fields, SPEC_COUNT(affinity_fields), false, NULL };

static int check_environment(struct reader *reader, const struct oci_strings *env)
{
	for (size_t i = 0; i < env->count; i++) {
		const char *equals = strchr(env->items[i], '=');

		if (!equals)
			return spec_fail_at(reader, "env", "invalid environment variable: \"%s\"", env->items[i]);
		if (equals == env->items[i])
			return spec_fail_at(reader, "env", "environment variable name can't be empty: \"%s\"",
					    env->items[i]);
	}
	return 0;
}

static int check_process(struct reader *reader, void *target)
{
	const struct oci_process *process = target;

	if (!process->cwd || !*process->cwd)
		return spec_fail_at(reader, "cwd", "Cwd property must not be empty");
	if (*process->cwd != '/')
		return spec_fail_at(reader, "cwd", "Cwd must be an absolute path");
	if (process->args.count == 0)
		return spec_fail_at(reader, "args", "args must not be empty");
	for (size_t i = 0; i < process->rlimits_count; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(process->rlimits[i].type, process->rlimits[j].type) == 0)
				return spec_fail_at(reader, "rlimits", "%s is there twice", process->rlimits[i].type);
	return check_environment(reader, &process->env);
}

static const struct spec_range oom_range = { -1000, 1000 };

static const struct spec_field process_fields[] = {
	SPEC_FIELD(struct oci_process, terminal, "terminal", spec_read_bool),
	SPEC_FIELD_HOW(struct oci_process, console_size, "consoleSize", spec_read_object, &console_size),
	{ "user", 0, spec_read_object, &user, false },
	SPEC_FIELD(struct oci_process, args, "args", spec_read_strings),
	SPEC_FIELD(struct oci_process, env, "env", spec_read_strings),
	SPEC_FIELD(struct oci_process, cwd, "cwd", spec_read_text),
	SPEC_FIELD_HOW(struct oci_process, capabilities, "capabilities", spec_read_object, &capabilities),
	SPEC_FIELD_HOW(struct oci_process, rlimits_count, "rlimits", spec_read_list, &rlimit_list),
	SPEC_FIELD(struct oci_process, no_new_privileges, "noNewPrivileges", spec_read_bool),
	SPEC_FIELD(struct oci_process, apparmor_profile, "apparmorProfile", spec_read_text_or_null),
	SPEC_FIELD_HOW(struct oci_process, oom_score_adj, "oomScoreAdj", spec_read_opt_i64, &oom_range),
	SPEC_FIELD(struct oci_process, selinux_label, "selinuxLabel", spec_read_text_or_null),
	SPEC_FIELD_HOW(struct oci_process, scheduler, "scheduler", spec_read_object, &scheduler),
	SPEC_FIELD_HOW(struct oci_process, io_priority, "ioPriority", spec_read_object, &io_priority),
	{ "execCPUAffinity", 0, spec_read_object, &affinity, false },
};
const struct spec_object spec_process = { process_fields, SPEC_COUNT(process_fields), true, check_process };
