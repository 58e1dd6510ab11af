/* SPDX-License-Identifier: Apache-2.0 */
/* events: statistics now and then, and each OOM kill when it happens, as lines of JSON. */
#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/oci/oci.h"
#include "linux/clone.h"

enum { DEFAULT_INTERVAL = 5000 /* ms */ };

struct flags {
	const char *interval;
	bool stats;
};

const char oci_events_details[] =
	"   Prints a line of JSON each --interval, and one when the container runs out of memory, until\n"
	"the container ends.\n"
	"\n"
	"EXAMPLE:\n"
	"    caisson-oci events --stats web | jq .data.memory.usage\n"
	"    caisson-oci events --interval 1s web\n";

const struct cli_option oci_events_options[] = {
	OPT_STRING("interval", 0, "duration", struct flags, interval, "time between statistics (default: 5s)"),
	OPT_SWITCH("stats", 0, struct flags, stats, "print the statistics once and exit"),
	{ .name = NULL },
};

static int print_event(const char *type, const char *id, const char *data, struct error *err)
{
	cleanup_str struct str line = STR_INIT;

	str_printf(&line, "{\"type\":\"%s\",\"id\":", type);
	json_append_string(&line, id);
	if (data)
		str_printf(&line, ",\"data\":%s", data);
	str_append(&line, "}\n");
	return str_failed(&line) ? error_errno(err, ENOMEM, "cannot write an event") : oci_print(str_text(&line), err);
}

static bool has_ended(int pidfd)
{
	return poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 0) > 0;
}

/* Without pidfd (-1) whatever cannot be read is an error. */
static int print_stats(struct instance *instance, int pidfd, struct error *err)
{
	cleanup_free char *json = NULL;
	int ret = container_stats_json(&instance->runtime, &instance->container, &json, err);

	/* Somebody may have removed its cgroup meanwhile: half of the figures, or none, and no failure of anybody's. */
	if (pidfd >= 0 && has_ended(pidfd)) {
		*err = ERROR_INIT;
		return 0;
	}
	return ret < 0 ? ret : print_event("stats", instance->container.id, json, err);
}

static int64_t now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int watch(struct instance *instance, const struct cgroup *cgroup, int pidfd, int64_t interval, struct error *err)
{
	/* Without a memory controller there is no OOM to tell of. */
	cleanup_close int oom = cgroup_oom_open(cgroup, NULL);
	int64_t due = now() + interval;
	uint64_t kills = 0;
	int ret = 0;

	while (ret == 0) {
		struct pollfd polls[] = { { .fd = pidfd, .events = POLLIN },
					  { .fd = oom, .events = POLLIN | POLLPRI } };
		int64_t left = due - now();
		bool happened = false;

		if (left <= 0) {
			ret = print_stats(instance, pidfd, err);
			due += interval;
			continue;
		}
		if (poll(polls, 2, (int)left) < 0 && errno != EINTR)
			return error_errno(err, errno, "cannot wait for events");
		if (polls[1].revents && cgroup_oom_read(cgroup, oom, &kills, &happened, NULL) == 0 && happened)
			ret = print_event("oom", instance->container.id, NULL, err);
		if (polls[0].revents)
			return ret;
	}
	return ret;
}

static int tell(struct oci *oci, const struct flags *flags, const char *id, struct error *err)
{
	cleanup_instance struct instance instance = INSTANCE_INIT;
	cleanup_close int pidfd = -1;
	struct cgroup cgroup = CGROUP_INIT;
	enum runtime_status status;
	int64_t interval = DEFAULT_INTERVAL;
	int ret = instance_open(oci, id, 0, &instance, err);

	if (ret < 0)
		return ret;
	if (flags->interval && oci_parse_duration(flags->interval, &interval) < 0)
		return error_set(err, EINVAL,
				 "invalid value \"%s\" for flag -interval: expected a duration like 500ms, 5s",
				 flags->interval);
	if (interval <= 0)
		return error_set(err, EINVAL, "duration interval must be greater than 0");
	ret = container_status(&instance.runtime, &instance.container, &status, err);
	if (ret < 0)
		return ret;
	if (status == RUNTIME_STOPPED)
		return error_set(err, ESRCH, "container with id %s is not running", id);
	if (flags->stats)
		return print_stats(&instance, -1, err);
	pidfd = pidfd_of(instance.container.pid);
	if (pidfd < 0)
		return error_set(err, ESRCH, "container with id %s is not running", id);
	ret = container_cgroup(&instance.runtime, &instance.container, &cgroup, err);
	if (ret == 0)
		ret = watch(&instance, &cgroup, pidfd, interval, err);
	cgroup_close(&cgroup);
	return ret;
}

int oci_events(struct cli *cli, int argc, char **argv)
{
	struct flags flags = { 0 };
	struct error err = ERROR_INIT;
	int code;

	if (!oci_arguments(cli, &flags, 1, 1, &argc, &argv, &code))
		return code;
	return tell(cli->context, &flags, argv[0], &err) < 0 ? oci_fail(cli->context, &err, OCI_EXIT_ERROR) : 0;
}
