/* SPDX-License-Identifier: Apache-2.0 */
/* update: a table of flags, each of which sets one property of linux.resources. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/oci/oci.h"

enum { RESOURCES_MAX = 1 << 20 /* bytes of JSON */ };

struct flags {
	const char *file;
	struct oci_resources resources;
	bool given;
	const char *l3_cache_schema, *mem_bw_schema;
};

const char oci_update_details[] =
	"   Changes the limits of a container.  --resources takes a file, or \"-\" for standard input,\n"
	"with JSON like linux.resources of the specification; the other flags are then ignored:\n"
	"\n"
	"    {\"memory\": {\"limit\": 67108864}, \"cpu\": {\"shares\": 512}, \"pids\": {\"limit\": 100}}\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci update --memory 64M --pids-limit 100 web\n";

/* What a flag's value is, where it goes. */
/* Of idle and burst 0 is a value like any other. */
enum kind { NUMBER_U64, NUMBER_I64, NUMBER_IDLE, NUMBER_BURST, SIZE, TEXT, RDT };
struct property {
	const char *name;
	enum kind kind;
	size_t offset;
};

#define PROPERTY(name_, kind_, member)                                                               \
	{                                                                                            \
		.name = (name_), .kind = (kind_), .offset = offsetof(struct flags, resources.member) \
	}
static const struct property properties[] = {
	PROPERTY("blkio-weight", NUMBER_U64, block_io.weight),
	PROPERTY("cpu-period", NUMBER_U64, cpu.period),
	PROPERTY("cpu-quota", NUMBER_I64, cpu.quota),
	PROPERTY("cpu-burst", NUMBER_BURST, cpu.burst),
	PROPERTY("cpu-share", NUMBER_U64, cpu.shares),
	PROPERTY("cpu-rt-period", NUMBER_U64, cpu.realtime_period),
	PROPERTY("cpu-rt-runtime", NUMBER_I64, cpu.realtime_runtime),
	PROPERTY("cpu-idle", NUMBER_IDLE, cpu.idle),
	PROPERTY("cpuset-cpus", TEXT, cpu.cpus),
	PROPERTY("cpuset-mems", TEXT, cpu.mems),
	PROPERTY("memory", SIZE, memory.limit),
	PROPERTY("memory-reservation", SIZE, memory.reservation),
	PROPERTY("memory-swap", SIZE, memory.swap),
	PROPERTY("pids-limit", NUMBER_I64, pids_limit),
};

static int invalid(const char *name, const char *value, const char *why, struct error *err)
{
	return error_set(err, EINVAL, "invalid value for %s: %s: '%s'", name, why, value);
}

static int set_size(const char *name, const char *value, struct oci_i64 *member, struct error *err)
{
	uint64_t bytes = 0;

	if (strcmp(value, "-1") == 0) {
		*member = (struct oci_i64){ .set = true, .value = -1 };
		return 0;
	}
	if (str_to_size(value, &bytes) < 0 || bytes > INT64_MAX)
		return invalid(name, value, "invalid size", err);
	*member = (struct oci_i64){ .set = bytes != 0, .value = (int64_t)bytes };
	return 0;
}

/* 0 leaves a limit as it is: what is not said is 0 in runc's own structs. */
static int set_number(const struct property *property, const char *value, void *member, struct error *err)
{
	struct oci_i64 *integer = member;
	struct oci_u64 *natural = member;
	int ret;

	if (property->kind == NUMBER_U64 || property->kind == NUMBER_BURST) {
		ret = str_to_u64(value, &natural->value);
		natural->set = ret == 0 && (natural->value != 0 || property->kind == NUMBER_BURST);
	} else {
		ret = str_to_i64(value, &integer->value);
		integer->set = ret == 0 && (integer->value != 0 || property->kind == NUMBER_IDLE);
	}
	return ret < 0 ? invalid(property->name, value, "invalid number", err) : 0;
}

static int set_property(void *target, const struct cli_option *option, const char *value, struct error *err)
{
	struct flags *flags = target;

	flags->given = true;
	for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++) {
		const struct property *property = &properties[i];
		void *member = (char *)target + property->offset;

		if (strcmp(property->name, option->name) != 0 || !*value)
			continue;
		if (property->kind == TEXT)
			*(const char **)member = value;
		else if (property->kind == SIZE)
			return set_size(property->name, value, member, err);
		else
			return set_number(property, value, member, err);
	}
	return 0;
}

#define OPT_PROPERTY(name, arg, help) OPT_CALL(name, 0, arg, NULL, set_property, help)
const struct cli_option oci_update_options[] = {
	OPT_VALUE(OPTION_STRING, "resources", 'r', "file", "file", struct flags, file,
		  "file with the resources as JSON; - for standard input"),
	OPT_PROPERTY("blkio-weight", "10..1000", "weight for block I/O"),
	OPT_PROPERTY("cpu-period", "us", "period of the CPU quota in microseconds"),
	OPT_PROPERTY("cpu-quota", "us", "CPU time in each period in microseconds; -1 for no limit"),
	OPT_PROPERTY("cpu-burst", "us", "unused quota that may be saved up, in microseconds"),
	OPT_PROPERTY("cpu-share", "n", "CPU shares (relative weight)"),
	OPT_PROPERTY("cpu-rt-period", "us", "period of the realtime CPU quota in microseconds"),
	OPT_PROPERTY("cpu-rt-runtime", "us", "realtime CPU time in each period in microseconds"),
	OPT_PROPERTY("cpu-idle", "0|1", "1: SCHED_IDLE for the whole cgroup"),
	OPT_PROPERTY("cpuset-cpus", "list", "CPUs to run on, like 0-3,7"),
	OPT_PROPERTY("cpuset-mems", "list", "memory nodes to use, like 0-1"),
	OPT_PROPERTY("memory", "bytes", "memory limit; k, m, g may follow; -1 for none"),
	OPT_PROPERTY("memory-reservation", "bytes", "memory reservation or soft limit"),
	OPT_PROPERTY("memory-swap", "bytes", "memory and swap together; -1 for no limit"),
	OPT_PROPERTY("pids-limit", "n", "processes and threads; -1 for no limit"),
	OPT_STRING("l3-cache-schema", 0, "schema", struct flags, l3_cache_schema, "Intel RDT/CAT L3 cache schema"),
	OPT_STRING("mem-bw-schema", 0, "schema", struct flags, mem_bw_schema, "Intel RDT/MBA memory bandwidth schema"),
	{ .name = NULL },
};

static int read_resources(struct flags *flags, struct arena *arena, struct error *err)
{
	cleanup_free char *json = NULL;
	size_t size;
	int ret = strcmp(flags->file, "-") == 0 ? file_read_fd(STDIN_FILENO, RESOURCES_MAX, &json, &size, err)
						: file_read(AT_FDCWD, flags->file, RESOURCES_MAX, &json, &size, err);

	memset(&flags->resources, 0, sizeof(flags->resources));
	if (ret == 0)
		ret = oci_resources_parse(json, size, arena, &flags->resources, err);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++) {
		struct oci_i64 *number = (struct oci_i64 *)((char *)flags + properties[i].offset);

		_Static_assert(sizeof(struct oci_i64) == sizeof(struct oci_u64), "read as one type");
		if (properties[i].kind != TEXT && properties[i].kind != NUMBER_IDLE &&
		    properties[i].kind != NUMBER_BURST && number->value == 0)
			number->set = false;
	}
	return 0;
}

static int update(struct oci *oci, struct flags *flags, const char *id, struct arena *arena, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	int ret = instance_open(oci, id, RUNTIME_LOCK, &instance, err);

	if (ret == 0 && flags->file)
		ret = read_resources(flags, arena, err);
	if (ret == 0)
		ret = runtime_update(&instance.runtime, &instance.container, &flags->resources, err);
	if (ret == 0 && (flags->l3_cache_schema || flags->mem_bw_schema))
		ret = runtime_update_rdt(&instance.runtime, &instance.container, flags->l3_cache_schema,
					 flags->mem_bw_schema, err);
	return ret;
}

int oci_update(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { 0 };
	struct error err = ERROR_INIT;
	struct arena arena = { 0 };
	int code, ret;

	if (!oci_arguments(cli, &flags, 1, 1, &argc, &argv, &code))
		return code;
	ret = update(cli->context, &flags, argv[0], &arena, &err);
	arena_free(&arena);
	return ret < 0 ? oci_fail(cli->context, &err, OCI_EXIT_ERROR) : 0;
}
