/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/document.h"

#include <errno.h>
#include <string.h>

enum { KEY_MAX = 64 };

/* docker's defaults; what is not listed is absent until it is set. */
static const char defaults[] =
	"{\"Config\":{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,"
	"\"AttachStderr\":false,\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":[],\"Cmd\":null,"
	"\"Image\":\"\",\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":{},"
	"\"StopSignal\":\"\",\"StopTimeout\":null},"
	"\"HostConfig\":{\"Binds\":null,\"ContainerIDFile\":\"\",\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{}},"
	"\"NetworkMode\":\"none\",\"PortBindings\":{},\"RestartPolicy\":{\"Name\":\"no\",\"MaximumRetryCount\":0},"
	"\"AutoRemove\":false,\"VolumeDriver\":\"\",\"VolumesFrom\":null,\"ConsoleSize\":[0,0],\"Annotations\":{},"
	"\"CapAdd\":null,\"CapDrop\":null,\"CgroupnsMode\":\"private\",\"Dns\":[],\"DnsOptions\":[],\"DnsSearch\":[],"
	"\"ExtraHosts\":null,\"GroupAdd\":null,\"IpcMode\":\"private\",\"Cgroup\":\"\",\"OomScoreAdj\":0,\"PidMode\":"
	"\"\","
	"\"Privileged\":false,\"PublishAllPorts\":false,\"ReadonlyRootfs\":false,\"SecurityOpt\":null,\"Tmpfs\":{},"
	"\"UTSMode\":\"\",\"UsernsMode\":\"\",\"ShmSize\":67108864,\"Sysctls\":{},\"Runtime\":\"caisson\","
	"\"Isolation\":\"container\",\"CpuShares\":0,\"Memory\":0,\"NanoCpus\":0,\"CgroupParent\":\"\",\"BlkioWeight\":"
	"0,"
	"\"BlkioWeightDevice\":[],\"BlkioDeviceReadBps\":[],\"BlkioDeviceWriteBps\":[],\"BlkioDeviceReadIOps\":[],"
	"\"BlkioDeviceWriteIOps\":[],\"CpuPeriod\":0,\"CpuQuota\":0,\"CpuRealtimePeriod\":0,\"CpuRealtimeRuntime\":0,"
	"\"CpusetCpus\":\"\",\"CpusetMems\":\"\",\"Devices\":[],\"DeviceCgroupRules\":null,\"DeviceRequests\":null,"
	"\"MemoryReservation\":0,\"MemorySwap\":0,\"MemorySwappiness\":null,\"OomKillDisable\":false,\"PidsLimit\":"
	"null,"
	"\"Ulimits\":[],\"Init\":false,\"Mounts\":[],\"MaskedPaths\":null,\"ReadonlyPaths\":null}}";

json_t *document_new(void)
{
	return json_loads(defaults, 0, NULL);
}

/* Lists of objects; all others are of texts, or of numbers as the default is. */
static bool lists_objects(const char *key)
{
	return strcmp(key, "Mounts") == 0 || strcmp(key, "Ulimits") == 0 || strncmp(key, "Device", 6) == 0 ||
	       strncmp(key, "Blkio", 5) == 0;
}

static bool is_list(const char *key, const json_t *list, json_type type)
{
	json_t *item;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)list, i, item) {
		if (json_typeof(item) != (lists_objects(key) ? JSON_OBJECT : type))
			return false;
	}
	return json_is_array(list);
}

static bool is_map_of_texts(const json_t *map)
{
	const char *key;
	json_t *item;

	json_object_foreach ((json_t *)(uintptr_t)map, key, item) {
		if (!json_is_string(item))
			return false;
	}
	return json_is_object(map);
}

/* Whether a value can stand where the default is. */
static bool fits(const char *name, const json_t *value, const json_t *standard)
{
	const char *key;
	json_t *item;

	if (json_is_object(standard) && json_object_size(standard) == 0)
		return is_map_of_texts(value);
	json_object_foreach ((json_t *)(uintptr_t)standard, key, item) {
		const json_t *has = json_object_get(value, key);

		if (has && !fits(key, has, item))
			return false;
	}
	if (json_is_integer(json_array_get(standard, 0)))
		return is_list(name, value, JSON_INTEGER) && json_array_size(value) == json_array_size(standard);
	if (json_is_array(value) && (json_is_null(standard) || json_is_array(standard)))
		return is_list(name, value, JSON_STRING);
	if (json_is_null(standard))
		return json_is_null(value) || json_is_integer(value) || json_is_object(value);
	return json_is_boolean(standard) ? json_is_boolean(value) : json_typeof(value) == json_typeof(standard);
}

bool document_is_record(const json_t *record)
{
	static const char *const texts[] = { "Id", "Name", "Path", "Image", "Created" };
	cleanup_json json_t *standard = document_new();
	const json_t *mounts = json_object_get(record, "Mounts");

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (json_string_length(json_object_get(record, texts[i])) == 0)
			return false;
	}
	return fits("", record, standard) && is_list("Args", json_object_get(record, "Args"), JSON_STRING) &&
	       (!mounts || is_list("Mounts", mounts, JSON_OBJECT)) &&
	       json_is_object(json_object_get(record, "Config")) &&
	       json_is_object(json_object_get(record, "HostConfig"));
}

/* Copies the next key of a path; returns where the rest begins, NULL when there is no next key. */
static const char *next_key(const char *path, char key[static KEY_MAX])
{
	size_t length = strcspn(path, ".");

	if (length == 0 || length >= KEY_MAX)
		return NULL;
	memcpy(key, path, length);
	key[length] = '\0';
	return path + length + (path[length] == '.');
}

json_t *document_at(const json_t *document, const char *path)
{
	char key[KEY_MAX];

	while (document && (path = next_key(path, key)))
		document = json_object_get(document, key);
	return (json_t *)(uintptr_t)document;
}

const char *document_text(const json_t *document, const char *path)
{
	const char *text = json_string_value(document_at(document, path));

	return text ? text : "";
}

json_int_t document_int(const json_t *document, const char *path)
{
	return json_integer_value(document_at(document, path));
}

bool document_bool(const json_t *document, const char *path)
{
	return json_is_true(document_at(document, path));
}

int document_set(json_t *document, const char *path, json_t *value)
{
	char key[KEY_MAX];

	for (path = next_key(path, key); path && *path; path = next_key(path, key)) {
		json_t *child = json_object_get(document, key);

		if (!json_is_object(child)) {
			child = json_object();
			if (json_object_set_new(document, key, child) < 0)
				path = NULL;
		}
		document = child;
		if (!path)
			break;
	}
	if (!path || !value) {
		json_decref(value);
		return -ENOMEM;
	}
	return json_object_set_new(document, key, value) < 0 ? -ENOMEM : 0;
}

int document_set_text(json_t *document, const char *path, const char *text)
{
	return document_set(document, path, json_string(text));
}

int document_add(json_t *document, const char *path, json_t *value)
{
	json_t *list = document_at(document, path);

	if (!json_is_array(list)) {
		list = json_array();
		if (document_set(document, path, list) < 0) {
			json_decref(value);
			return -ENOMEM;
		}
	}
	return value && json_array_append_new(list, value) == 0 ? 0 : -ENOMEM;
}

bool document_lists(const json_t *document, const char *path, const char *text)
{
	json_t *list = document_at(document, path), *item;
	size_t i;

	json_array_foreach (list, i, item) {
		if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
			return true;
	}
	return false;
}
