/* SPDX-License-Identifier: Apache-2.0 */
/* config.md, "Process", the other way: out of struct oci_process. */
#include "linux/capability.h"
#include "spec/runtime.h"
#include "spec/writer.h"

static void write_text(struct writer *writer, const char *name, const char *text)
{
	if (text)
		writer_text(writer, name, text);
}

static void write_user(struct writer *writer, const struct oci_process *process)
{
	writer_open(writer, "user", '{');
	writer_number(writer, "uid", process->user.uid);
	writer_number(writer, "gid", process->user.gid);
	if (process->user.umask.set)
		writer_unsigned(writer, "umask", process->user.umask.value);
	writer_open(writer, "additionalGids", '[');
	for (size_t i = 0; i < process->user.additional_gids_count; i++)
		writer_number(writer, NULL, process->user.additional_gids[i]);
	writer_close(writer, ']');
	write_text(writer, "username", process->user.username);
	writer_close(writer, '}');
}

static void write_capability_set(struct writer *writer, const char *name, uint64_t set)
{
	writer_open(writer, name, '[');
	for (int i = 0; i < 64; i++) {
		if ((set >> i & 1) && capability_name(i))
			writer_text(writer, NULL, capability_name(i));
	}
	writer_close(writer, ']');
}

static void write_capabilities(struct writer *writer, const struct oci_capabilities *capabilities)
{
	if (!capabilities->set)
		return;
	writer_open(writer, "capabilities", '{');
	write_capability_set(writer, "bounding", capabilities->bounding);
	write_capability_set(writer, "effective", capabilities->effective);
	write_capability_set(writer, "inheritable", capabilities->inheritable);
	write_capability_set(writer, "permitted", capabilities->permitted);
	write_capability_set(writer, "ambient", capabilities->ambient);
	writer_close(writer, '}');
}

static void write_limits(struct writer *writer, const struct oci_process *process)
{
	writer_open(writer, "rlimits", '[');
	for (size_t i = 0; i < process->rlimits_count; i++) {
		writer_open(writer, NULL, '{');
		writer_text(writer, "type", process->rlimits[i].type);
		writer_unsigned(writer, "soft", process->rlimits[i].soft);
		writer_unsigned(writer, "hard", process->rlimits[i].hard);
		writer_close(writer, '}');
	}
	writer_close(writer, ']');
}

static void write_scheduler(struct writer *writer, const struct oci_scheduler *scheduler)
{
	if (!scheduler->set)
		return;
	writer_open(writer, "scheduler", '{');
	writer_text(writer, "policy", scheduler->policy);
	writer_number(writer, "nice", scheduler->nice);
	writer_number(writer, "priority", scheduler->priority);
	writer_words(writer, "flags", scheduler->flags.items);
	writer_unsigned(writer, "runtime", scheduler->runtime);
	writer_unsigned(writer, "deadline", scheduler->deadline);
	writer_unsigned(writer, "period", scheduler->period);
	writer_close(writer, '}');
}

static void write_priorities(struct writer *writer, const struct oci_process *process)
{
	write_scheduler(writer, &process->scheduler);
	if (process->io_priority.set) {
		writer_open(writer, "ioPriority", '{');
		writer_text(writer, "class", process->io_priority.class);
		writer_number(writer, "priority", process->io_priority.priority);
		writer_close(writer, '}');
	}
	writer_open(writer, "execCPUAffinity", '{');
	write_text(writer, "initial", process->exec_cpu_affinity.initial);
	write_text(writer, "final", process->exec_cpu_affinity.final);
	writer_close(writer, '}');
}

char *oci_process_json(const struct oci_process *process)
{
	struct writer writer = { .out = STR_INIT, .indent = "" };

	writer_open(&writer, NULL, '{');
	writer_bool(&writer, "terminal", process->terminal);
	if (process->console_size.set) {
		writer_open(&writer, "consoleSize", '{');
		writer_number(&writer, "height", process->console_size.height);
		writer_number(&writer, "width", process->console_size.width);
		writer_close(&writer, '}');
	}
	write_user(&writer, process);
	writer_words(&writer, "args", process->args.items);
	writer_words(&writer, "env", process->env.items);
	write_text(&writer, "cwd", process->cwd);
	write_capabilities(&writer, &process->capabilities);
	write_limits(&writer, process);
	writer_bool(&writer, "noNewPrivileges", process->no_new_privileges);
	if (process->oom_score_adj.set)
		writer_number(&writer, "oomScoreAdj", process->oom_score_adj.value);
	write_text(&writer, "apparmorProfile", process->apparmor_profile);
	write_text(&writer, "selinuxLabel", process->selinux_label);
	write_priorities(&writer, process);
	writer_close(&writer, '}');
	return str_take(&writer.out);
}
