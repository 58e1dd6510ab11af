/* SPDX-License-Identifier: Apache-2.0 */
/* caisson-systemd: asks systemd for one thing and waits for it.  See systemd_helper.h. */
#include "linux/systemd_helper.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#include "base/str.h"

#define SYSTEMD	  "org.freedesktop.systemd1"
#define MANAGER	  "org.freedesktop.systemd1.Manager"
#define ROOT_PATH "/org/freedesktop/systemd1"

enum { JOB_WAIT_USEC = 100 * 1000000, CALL_USEC = 30 * 1000000 };

/* One request; what a match on the bus has told. */
struct request {
	sd_bus *bus;
	char *job;    /* path of the job that is waited for; owned */
	char *result; /* "done", "failed", "timeout", ...; owned, NULL until the job is over */
};

static int say(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int say(int status, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	(void)vfprintf(stderr, format, list);
	va_end(list);
	(void)fputc('\n', stderr);
	return status;
}

static int out_of_memory(void)
{
	return say(SYSTEMD_HELPER_FAILED, "out of memory");
}

/* An error that came over the bus, and what our caller is to make of it. */
static int bus_failure(const sd_bus_error *error, int code, const char *what, const char *unit)
{
	static const struct {
		const char *name;
		int status;
	} KNOWN[] = {
		{ SYSTEMD ".NoSuchUnit", SYSTEMD_HELPER_NO_UNIT },
		{ SYSTEMD ".UnitExists", SYSTEMD_HELPER_EXISTS },
		{ SD_BUS_ERROR_ACCESS_DENIED, SYSTEMD_HELPER_DENIED },
		{ SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, SYSTEMD_HELPER_DENIED },
		{ SD_BUS_ERROR_INVALID_ARGS, SYSTEMD_HELPER_USAGE },
		{ SD_BUS_ERROR_TIMEOUT, SYSTEMD_HELPER_TIMEOUT },
		{ SD_BUS_ERROR_NO_REPLY, SYSTEMD_HELPER_TIMEOUT },
	};
	int status = SYSTEMD_HELPER_FAILED;

	for (size_t i = 0; i < sizeof(KNOWN) / sizeof(*KNOWN); i++)
		if (sd_bus_error_has_name(error, KNOWN[i].name))
			status = KNOWN[i].status;
	return say(status, "cannot %s%s%s: %s", what, unit ? " " : "", unit ? unit : "",
		   error->message ? error->message : strerror(-code));
}

/* ---- the connection ---- */

/* systemd's own socket: no bus daemon between, but only for root, or the user whose service manager it is. */
static int connect_directly(bool user, sd_bus **bus)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char address[PATH_MAX];
	int ret;

	if (user && (!runtime || snprintf(address, sizeof(address), "unix:path=%s/systemd/private", runtime) >=
					 (int)sizeof(address)))
		return -ENOENT;
	if (!user && geteuid() != 0)
		return -EPERM;
	if (!user)
		(void)snprintf(address, sizeof(address), "unix:path=/run/systemd/private");
	ret = sd_bus_new(bus);
	if (ret >= 0)
		ret = sd_bus_set_address(*bus, address);
	if (ret >= 0)
		ret = sd_bus_start(*bus);
	if (ret < 0)
		*bus = sd_bus_unref(*bus);
	return ret;
}

static int connect_by_bus(bool user, sd_bus **bus)
{
	int ret = user ? sd_bus_open_user(bus) : sd_bus_open_system(bus);

	/* Without it the manager sends no signals to the bus. */
	if (ret >= 0)
		ret = sd_bus_call_method(*bus, SYSTEMD, ROOT_PATH, MANAGER, "Subscribe", NULL, NULL, NULL);
	return ret;
}

static int connect_to(bool user, sd_bus **bus)
{
	int ret;

	if (connect_directly(user, bus) >= 0)
		return 0;
	ret = connect_by_bus(user, bus);
	if (ret >= 0)
		return 0;
	return say(SYSTEMD_HELPER_NO_SYSTEMD, "cannot reach %s: %s%s", user ? "the user's service manager" : "systemd",
		   strerror(-ret), user && !getenv("XDG_RUNTIME_DIR") ? "; XDG_RUNTIME_DIR is not set" : "");
}

/* ---- properties ---- */

struct property {
	const char *name, *signature, *value; /* value NULL: the empty list */
};

/* Cuts NAME=SIGNATURE:VALUE in place. */
static bool split_property(char *text, struct property *property)
{
	char *equal = strchr(text, '='), *colon = equal ? strchr(equal, ':') : NULL;

	if (!equal || equal == text)
		return false;
	*equal = '\0';
	if (colon)
		*colon = '\0';
	*property = (struct property){ .name = text, .signature = equal + 1, .value = colon ? colon + 1 : NULL };
	return true;
}

static int append_number(sd_bus_message *message, char type, const char *text)
{
	uint64_t value = 0;
	int64_t with_sign = 0;
	uint32_t narrow;
	int32_t narrow_sign;
	int truth, ret = type == 'i' ? str_to_i64(text, &with_sign) : str_to_u64(text, &value);

	if (ret < 0)
		return ret;
	switch (type) {
	case 'b':
		truth = value != 0;
		return value > 1 ? -ERANGE : sd_bus_message_append_basic(message, type, &truth);
	case 'u':
		narrow = (uint32_t)value;
		return value > UINT32_MAX ? -ERANGE : sd_bus_message_append_basic(message, type, &narrow);
	case 'i':
		narrow_sign = (int32_t)with_sign;
		return narrow_sign != with_sign ? -ERANGE : sd_bus_message_append_basic(message, type, &narrow_sign);
	default:
		return sd_bus_message_append_basic(message, type, &value);
	}
}

static int append_bytes(sd_bus_message *message, const char *hex)
{
	size_t count = strlen(hex) / 2;
	uint8_t *bytes;
	int ret = strlen(hex) % 2 == 0 ? sd_bus_message_append_array_space(message, 'y', count, (void **)&bytes)
				       : -EINVAL;

	for (size_t i = 0; ret >= 0 && i < count; i++)
		if (sscanf(hex + 2 * i, "%2" SCNx8, &bytes[i]) != 1)
			ret = -EINVAL;
	return ret;
}

/* One item of a list: "s", "u", "(ss)", "(st)". */
static int append_item(sd_bus_message *message, const char *type, const char *value)
{
	const char *blank = strrchr(value, ' ');
	char *key;
	int ret;

	if (strcmp(type, "s") == 0)
		return sd_bus_message_append_basic(message, 's', value);
	if (strcmp(type, "u") == 0)
		return append_number(message, 'u', value);
	if (!blank)
		return -EINVAL;
	key = strndup(value, (size_t)(blank - value));
	ret = key ? sd_bus_message_open_container(message, 'r', strcmp(type, "(ss)") == 0 ? "ss" : "st") : -ENOMEM;
	if (ret >= 0)
		ret = sd_bus_message_append_basic(message, 's', key);
	if (ret >= 0)
		ret = strcmp(type, "(ss)") == 0 ? sd_bus_message_append_basic(message, 's', blank + 1)
						: append_number(message, 't', blank + 1);
	free(key);
	return ret < 0 ? ret : sd_bus_message_close_container(message);
}

/* Appends the list that begins at argv[0]; *used counts its items. */
static int append_list(sd_bus_message *message, const struct property *first, char **argv, int *used)
{
	const char *type = first->signature + 1;
	struct property next = *first;
	int ret = sd_bus_message_open_container(message, 'a', type);

	while (ret >= 0) {
		size_t name = strlen(first->name);

		if (next.value)
			ret = append_item(message, type, next.value);
		if (ret < 0 || !argv[*used] || strncmp(argv[*used], first->name, name) != 0 ||
		    argv[*used][name] != '=' || !split_property(argv[*used], &next))
			break;
		++*used;
		if (strcmp(next.signature, first->signature) != 0)
			return -EINVAL;
	}
	return ret < 0 ? ret : sd_bus_message_close_container(message);
}

static bool is_list(const char *signature)
{
	static const char *const LISTS[] = { "as", "au", "a(ss)", "a(st)" };

	for (size_t i = 0; i < sizeof(LISTS) / sizeof(*LISTS); i++)
		if (strcmp(signature, LISTS[i]) == 0)
			return true;
	return false;
}

/* (sv): name and value. */
static int append_property(sd_bus_message *message, char **argv, int *used)
{
	struct property property;
	int ret;

	if (!split_property(argv[(*used)++], &property))
		return -EINVAL;
	ret = sd_bus_message_open_container(message, 'r', "sv");
	if (ret >= 0)
		ret = sd_bus_message_append_basic(message, 's', property.name);
	if (ret >= 0)
		ret = sd_bus_message_open_container(message, 'v', property.signature);
	if (ret < 0)
		return ret;
	if (is_list(property.signature))
		ret = append_list(message, &property, argv, used);
	else if (!property.value)
		ret = -EINVAL;
	else if (strcmp(property.signature, "s") == 0)
		ret = sd_bus_message_append_basic(message, 's', property.value);
	else if (strcmp(property.signature, "ay") == 0)
		ret = append_bytes(message, property.value);
	else if (strlen(property.signature) == 1 && strchr("buti", property.signature[0]))
		ret = append_number(message, property.signature[0], property.value);
	else
		ret = -EINVAL;
	if (ret >= 0)
		ret = sd_bus_message_close_container(message);
	return ret < 0 ? ret : sd_bus_message_close_container(message);
}

/* a(sv) of everything in argv.  The lists are cut in place, so a second try needs a copy. */
static int append_properties(sd_bus_message *message, char **argv)
{
	int used = 0, ret = sd_bus_message_open_container(message, 'a', "(sv)");

	while (ret >= 0 && argv[used]) {
		const char *name = argv[used];

		ret = append_property(message, argv, &used);
		if (ret < 0)
			return say(SYSTEMD_HELPER_USAGE, "property %s: %s", name, strerror(-ret));
	}
	if (ret >= 0)
		ret = sd_bus_message_close_container(message);
	return ret < 0 ? out_of_memory() : 0;
}

/* ---- jobs ---- */

static int on_job_removed(sd_bus_message *message, void *data, sd_bus_error *error)
{
	struct request *request = data;
	const char *path, *unit, *result;
	uint32_t id;

	(void)error;
	if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) >= 0 && request->job &&
	    strcmp(path, request->job) == 0 && !request->result)
		request->result = strdup(result);
	return 0;
}

static uint64_t now_usec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Remembers the job in a reply and waits for its end; signals that came before the reply wait in the queue. */
static int wait_for_job(struct request *request, sd_bus_message *reply, const char *what, const char *unit)
{
	uint64_t end = now_usec() + JOB_WAIT_USEC;
	const char *path;
	int ret = sd_bus_message_read(reply, "o", &path);

	request->job = ret < 0 ? NULL : strdup(path);
	if (!request->job)
		return out_of_memory();
	while (!request->result) {
		uint64_t now = now_usec();

		if (now >= end)
			return say(SYSTEMD_HELPER_TIMEOUT, "cannot %s %s: systemd has not done it in %d seconds", what,
				   unit, JOB_WAIT_USEC / 1000000);
		ret = sd_bus_process(request->bus, NULL);
		if (ret == 0)
			ret = sd_bus_wait(request->bus, end - now);
		if (ret < 0 && ret != -EINTR)
			return say(SYSTEMD_HELPER_FAILED, "cannot %s %s: %s", what, unit, strerror(-ret));
	}
	if (strcmp(request->result, "done") == 0)
		return 0;
	return say(SYSTEMD_HELPER_FAILED, "cannot %s %s: systemd's job ended as \"%s\"", what, unit, request->result);
}

static int watch_jobs(struct request *request)
{
	int ret = sd_bus_match_signal(request->bus, NULL, NULL, ROOT_PATH, MANAGER, "JobRemoved", on_job_removed,
				      request);

	return ret < 0 ? say(SYSTEMD_HELPER_FAILED, "cannot watch systemd's jobs: %s", strerror(-ret)) : 0;
}

/* ---- commands ---- */

static void reset_failed(sd_bus *bus, const char *unit)
{
	(void)sd_bus_call_method(bus, SYSTEMD, ROOT_PATH, MANAGER, "ResetFailedUnit", NULL, NULL, "s", unit);
}

/* The unit's ControlGroup: where the kernel knows it. */
static int print_cgroup(sd_bus *bus, const char *unit)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	char *path = NULL, *cgroup = NULL;
	int ret = sd_bus_path_encode(ROOT_PATH "/unit", unit, &path), status = 0;

	if (ret < 0)
		return out_of_memory();
	ret = sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Scope", "ControlGroup", &error, &cgroup);
	if (ret < 0)
		status = bus_failure(&error, ret, "learn the cgroup of", unit);
	else
		(void)puts(cgroup);
	free(path);
	free(cgroup);
	sd_bus_error_free(&error);
	return status;
}

static int new_call(sd_bus *bus, const char *method, sd_bus_message **message)
{
	int ret = sd_bus_message_new_method_call(bus, message, SYSTEMD, ROOT_PATH, MANAGER, method);

	if (ret >= 0)
		ret = sd_bus_message_set_allow_interactive_authorization(*message, 0);
	return ret < 0 ? out_of_memory() : 0;
}

static int start(struct request *request, const char *unit, char **properties)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *message = NULL, *reply = NULL;
	int ret, status = watch_jobs(request);

	/* What is left of a scope of that name which has failed would be in the way. */
	reset_failed(request->bus, unit);
	if (status == 0)
		status = new_call(request->bus, "StartTransientUnit", &message);
	if (status == 0 && sd_bus_message_append(message, "ss", unit, "fail") < 0)
		status = out_of_memory();
	if (status == 0)
		status = append_properties(message, properties);
	if (status == 0 && sd_bus_message_append(message, "a(sa(sv))", 0) < 0)
		status = out_of_memory();
	if (status == 0) {
		ret = sd_bus_call(request->bus, message, CALL_USEC, &error, &reply);
		status = ret < 0 ? bus_failure(&error, ret, "start", unit)
				 : wait_for_job(request, reply, "start", unit);
	}
	if (status == 0)
		status = print_cgroup(request->bus, unit);
	sd_bus_error_free(&error);
	sd_bus_message_unref(message);
	sd_bus_message_unref(reply);
	return status;
}

static int stop(struct request *request, const char *unit, char **none)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	int ret, status = watch_jobs(request);

	(void)none;
	if (status != 0)
		return status;
	ret = sd_bus_call_method(request->bus, SYSTEMD, ROOT_PATH, MANAGER, "StopUnit", &error, &reply, "ss", unit,
				 "replace");
	if (ret >= 0)
		status = wait_for_job(request, reply, "stop", unit);
	else if (!sd_bus_error_has_name(&error, SYSTEMD ".NoSuchUnit"))
		status = bus_failure(&error, ret, "stop", unit);
	reset_failed(request->bus, unit);
	sd_bus_error_free(&error);
	sd_bus_message_unref(reply);
	return status;
}

static int set(struct request *request, const char *unit, char **properties)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *message = NULL;
	int ret, status = new_call(request->bus, "SetUnitProperties", &message);

	if (status == 0 && sd_bus_message_append(message, "sb", unit, 1) < 0)
		status = out_of_memory();
	if (status == 0)
		status = append_properties(message, properties);
	if (status == 0) {
		ret = sd_bus_call(request->bus, message, CALL_USEC, &error, NULL);
		if (ret < 0)
			status = bus_failure(&error, ret, "change", unit);
	}
	sd_bus_error_free(&error);
	sd_bus_message_unref(message);
	return status;
}

static int version(struct request *request, const char *unit, char **none)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	char *text = NULL;
	int ret = sd_bus_get_property_string(request->bus, SYSTEMD, ROOT_PATH, MANAGER, "Version", &error, &text);
	int status = ret < 0 ? bus_failure(&error, ret, "ask for the version", NULL) : 0;

	(void)unit;
	(void)none;
	if (ret >= 0)
		(void)puts(text);
	free(text);
	sd_bus_error_free(&error);
	return status;
}

static const struct command {
	const char *name;
	bool unit;
	int (*run)(struct request *request, const char *unit, char **properties);
} COMMANDS[] = {
	{ "start", true, start },
	{ "set", true, set },
	{ "stop", true, stop },
	{ "version", false, version },
};

int main(int argc, char **argv)
{
	struct request request = { .bus = NULL };
	const struct command *command = NULL;
	bool user = argc > 1 && strcmp(argv[1], "--user") == 0;
	int status;

	for (size_t i = 0; argc > 2 && i < sizeof(COMMANDS) / sizeof(*COMMANDS); i++)
		if (strcmp(argv[2], COMMANDS[i].name) == 0)
			command = &COMMANDS[i];
	if (!command || (!user && strcmp(argv[1], "--system") != 0) || argc < 3 + command->unit)
		return say(
			SYSTEMD_HELPER_USAGE,
			"usage: caisson-systemd --system|--user start|set|stop UNIT [NAME=TYPE:VALUE...], or version");
	status = connect_to(user, &request.bus);
	if (status == 0)
		status = command->run(&request, command->unit ? argv[3] : NULL, argv + 3 + command->unit);
	sd_bus_flush_close_unref(request.bus);
	free(request.job);
	free(request.result);
	return fflush(stdout) == 0 ? status : SYSTEMD_HELPER_FAILED;
}
