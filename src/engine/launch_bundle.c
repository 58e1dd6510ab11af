/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/launch_bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "engine/launch_disk.h"
#include "engine/mounts.h"
#include "engine/snapshot.h"
#include "engine/spec.h"
#include "engine/state.h"
#include "engine/volume.h"
#include "image/snapshot.h"
#include "image/user.h"
#include "runtime/paradigms.h"

enum { SMALL_FILE_MAX = 1 << 20, PROFILE_MAX = 4 << 20 };

static int write_whole(const struct instance *instance, const char *name, const char *text, struct error *err)
{
	cleanup_close int fd = openat(instance->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
				      0644);
	int ret = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));

	return ret < 0 ? error_errno(err, -ret, "cannot write %s of instance %s", name, instance->id) : 0;
}

/* The host's own file, or NULL. */
static char *host_file(const char *path)
{
	char *text = NULL;

	(void)file_read(AT_FDCWD, path, SMALL_FILE_MAX, &text, NULL, NULL);
	return text;
}

static int write_hosts(const struct instance *instance, struct error *err)
{
	static const char standard[] = "127.0.0.1\tlocalhost\n"
				       "::1\tlocalhost ip6-localhost ip6-loopback\n"
				       "fe00::0\tip6-localnet\n"
				       "ff00::0\tip6-mcastprefix\n"
				       "ff02::1\tip6-allnodes\n"
				       "ff02::2\tip6-allrouters\n";
	bool host = strcmp(document_text(instance->record, "HostConfig.NetworkMode"), "host") == 0;
	cleanup_free char *from_host = host ? host_file("/etc/hosts") : NULL;
	cleanup_str struct str text = STR_INIT;
	size_t i;
	json_t *item;

	str_append(&text, from_host ? from_host : standard);
	/* Programs look their own host up. */
	if (!host)
		str_printf(&text, "127.0.0.1\t%s %s\n", document_text(instance->record, "Config.Hostname"),
			   instance_name(instance));
	json_array_foreach (document_at(instance->record, "HostConfig.ExtraHosts"), i, item) {
		const char *extra = json_string_value(item), *colon = strchr(extra, ':');

		if (colon)
			str_printf(&text, "%s\t%.*s\n", colon + 1, (int)(colon - extra), extra);
	}
	return write_whole(instance, "hosts", str_text(&text), err);
}

static int write_resolv(const struct instance *instance, struct error *err)
{
	static const struct {
		const char *path, *word;
	} lists[] = { { "HostConfig.Dns", "nameserver" },
		      { "HostConfig.DnsSearch", "search" },
		      { "HostConfig.DnsOptions", "options" } };
	cleanup_str struct str text = STR_INIT;
	size_t i;
	json_t *item;

	for (size_t list = 0; list < 3; list++) {
		json_array_foreach (document_at(instance->record, lists[list].path), i, item) {
			bool one_line = list > 0;

			str_printf(&text, "%s%s %s", i == 0 || !one_line ? lists[list].word : "", "",
				   json_string_value(item));
			if (!one_line || i + 1 == json_array_size(document_at(instance->record, lists[list].path)))
				str_append(&text, "\n");
		}
	}
	if (text.length == 0) {
		cleanup_free char *host = host_file("/etc/resolv.conf");

		str_append(&text, host ? host : "");
	}
	return write_whole(instance, "resolv.conf", str_text(&text), err);
}

static int write_files(const struct instance *instance, struct error *err)
{
	cleanup_str struct str name = STR_INIT;
	int ret;

	str_printf(&name, "%s\n", document_text(instance->record, "Config.Hostname"));
	ret = write_whole(instance, "hostname", str_text(&name), err);
	if (ret == 0)
		ret = write_hosts(instance, err);
	return ret == 0 ? write_resolv(instance, err) : ret;
}

const struct paradigm *launch_paradigm(const struct instance *instance)
{
	const char *name = document_text(instance->record, "HostConfig.Isolation");

	/* Records have it as docker says it, where "" and "default" are the same. */
	return paradigm_find(instance->engine->runtime.paradigms,
			     *name && strcmp(name, "default") != 0 ? name : "container");
}

static bool has_disk(const struct instance *instance)
{
	const struct paradigm *paradigm = launch_paradigm(instance);

	return paradigm && paradigm->root_is_disk;
}

static bool has_own_kernel(const struct instance *instance)
{
	const struct paradigm *paradigm = launch_paradigm(instance);

	return paradigm && paradigm->own_kernel;
}

/* A volatile overlay refuses to be mounted twice; its work directory is scratch. */
static int renew_work(const struct instance *instance, struct error *err)
{
	cleanup_close int work = openat(instance->dir_fd, "work", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int ret;

	if (work < 0 || fstatat(work, "work/incompat", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	ret = file_remove_all(instance->dir_fd, "work", err);
	if (ret == 0 && mkdirat(instance->dir_fd, "work", 0700) < 0)
		ret = error_errno(err, errno, "cannot renew the work directory");
	return ret;
}

/* The disk, and beside it the layers by themselves: users, groups and volumes are looked up in them. */
static int provide_disk(struct instance *instance, struct image *image, struct error *err)
{
	struct image_store *store = &instance->engine->images;
	struct image_layers layers;
	int ret = image_layers_open(store, image, &layers, err);

	if (ret < 0)
		return ret;
	ret = launch_disk(instance, image, &layers, err);
	if (ret == 0)
		ret = image_snapshot_mount(store, &layers, -1, -1, IMAGE_SNAPSHOT_READ_ONLY, 0, err);
	image_layers_close(&layers);
	return ret;
}

static int mount_layers(struct instance *instance, struct image *image, struct error *err)
{
	struct image_store *store = &instance->engine->images;
	cleanup_close int upper = openat(instance->dir_fd, "diff", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int work = -1;
	bool fleeting = document_bool(instance->record, "HostConfig.AutoRemove");
	struct image_layers layers;
	int ret = renew_work(instance, err);

	if (ret < 0)
		return ret;
	work = openat(instance->dir_fd, "work", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (upper < 0 || work < 0)
		return error_errno(err, errno, "cannot open the directories of instance %s", instance->id);
	ret = image_layers_open(store, image, &layers, err);
	if (ret < 0)
		return ret;
	/* Once: what the instance makes of its root later is its own. */
	if (!instance_marked(instance, "last-run"))
		ret = image_upper_prepare(store, &layers, upper, err);
	if (ret == 0)
		ret = image_snapshot_mount(store, &layers, upper, work, fleeting ? IMAGE_SNAPSHOT_VOLATILE : 0, 0, err);
	image_layers_close(&layers);
	return ret;
}

static int provide_root(struct instance *instance, struct image *image, struct error *err)
{
	return has_disk(instance) ? provide_disk(instance, image, err) : mount_layers(instance, image, err);
}

int launch_rootfs(struct instance *instance, struct image *image, struct error *err)
{
	const char *id = document_text(instance->record, "Image");
	struct image own;
	int ret;

	if (image)
		return provide_root(instance, image, err);
	ret = image_open_leased(&instance->engine->images, instance->id, id, &own, err);
	if (ret < 0)
		return error_wrap(err, "the image of the instance cannot be opened");
	ret = provide_root(instance, &own, err);
	image_close(&own);
	return ret;
}

static int fill_volumes(const struct instance *instance, int rootfs, struct error *err)
{
	int ret = mounts_provide(instance->engine, instance->record, err);
	size_t i;
	json_t *mount;

	json_array_foreach (document_at(instance->record, "Mounts"), i, mount) {
		if (ret == 0 && strcmp(document_text(mount, "Type"), "volume") == 0 && !document_bool(mount, "NoCopy"))
			ret = volume_populate(instance->engine, document_text(mount, "Name"), rootfs,
					      document_text(mount, "Destination"), err);
	}
	return ret;
}

/* The namespaces of other instances: they must run now. */
static int find_namespaces(const struct instance *instance, struct spec_namespaces *namespaces, struct error *err)
{
	const struct {
		const char *mode, *file;
		char *path;
	} lent[] = { { "HostConfig.NetworkMode", "net", namespaces->network },
		     { "HostConfig.PidMode", "pid", namespaces->pid },
		     { "HostConfig.IpcMode", "ipc", namespaces->ipc },
		     { "HostConfig.UTSMode", "uts", namespaces->uts },
		     { "HostConfig.UsernsMode", "user", namespaces->user },
		     { "HostConfig.CgroupnsMode", "cgroup", namespaces->cgroup } };

	for (size_t i = 0; i < sizeof(lent) / sizeof(*lent); i++) {
		const char *mode = document_text(instance->record, lent[i].mode);
		cleanup_instance struct instance other = INSTANCE_INIT;
		struct instance_state state;
		int ret;

		if (!str_starts(mode, "container:"))
			continue;
		ret = instance_open(instance->engine, mode + strlen("container:"), 0, &other, err);
		if (ret == 0)
			ret = instance_state_read(&other, &state, err);
		if (ret < 0)
			return ret;
		if (!instance_state_alive(&state))
			return error_set(err, EINVAL,
					 "cannot join the %s namespace of container %s: it is not running; "
					 "start it first",
					 lent[i].file, instance_name(&other));
		(void)snprintf(lent[i].path, sizeof(namespaces->network), "/proc/%d/ns/%s", (int)state.pid,
			       lent[i].file);
	}
	return 0;
}

/* --security-opt seccomp=FILE: read at every start, as docker keeps the text that it was given. */
static int read_seccomp(const json_t *record, json_t **profile, struct error *err)
{
	const char *text = document_text(record, "SeccompProfile");
	json_error_t where;

	*profile = NULL;
	if (!*text)
		return 0;
	*profile = json_loads(text, 0, &where);
	return *profile ? 0
			: error_set(err, EINVAL, "the seccomp profile is no JSON: line %d: %s", where.line, where.text);
}

int launch_resolve_user(const char *name, int rootfs, struct image_user *user, struct error *err)
{
	cleanup_free char *text = NULL;
	int ret = image_resolve_user(name, rootfs, user, err);

	if (ret == 0 && file_read(AT_FDCWD, "/proc/self/setgroups", SMALL_FILE_MAX, &text, NULL, NULL) == 0 &&
	    str_starts(text, "deny"))
		user->groups_denied = true;
	return ret;
}

static int resolve_groups(const json_t *record, int rootfs, gid_t **groups, size_t *count, struct error *err)
{
	json_t *list = document_at(record, "HostConfig.GroupAdd"), *item;
	size_t i;

	*groups = calloc(json_array_size(list) + 1, sizeof(**groups));
	if (!*groups)
		return error_errno(err, ENOMEM, "cannot look up groups");
	json_array_foreach (list, i, item) {
		int ret = image_resolve_group(json_string_value(item), rootfs, &(*groups)[i], err);

		if (ret < 0)
			return ret;
	}
	*count = json_array_size(list);
	return 0;
}

/* *path NULL: where the runtime finds that a user who is not root may have one, if anywhere. */
static int name_cgroup(const struct instance *instance, char **path)
{
	const char *parent = document_text(instance->record, "HostConfig.CgroupParent");

	*path = NULL;
	if (!*parent && instance->engine->images.rootless)
		return 0;
	return asprintf(path, *parent ? "%s/%s" : "%s/caisson-%s", parent, instance->id) < 0 ? -ENOMEM : 0;
}

static int write_config(const struct instance *instance, const struct spec_facts *facts, char **text, struct error *err)
{
	cleanup_json json_t *config = spec_build(instance->record, facts, err);

	if (!config)
		return err ? -err->code : -EINVAL;
	*text = spec_text(config);
	return *text ? 0 : error_errno(err, ENOMEM, "cannot describe the instance");
}

static int build_config(struct instance *instance, const struct launch_options *options, int rootfs, char **config,
			struct error *err)
{
	cleanup_free char *directory = instance_path(instance, "");
	cleanup_free char *root = path_join(instance->engine->images.root, ENGINE_ROOTFS);
	cleanup_free char *disk = instance_path(instance, INSTANCE_DISK),
			  *base = instance_path(instance, INSTANCE_DISK_BASE);
	cleanup_free char *snapshot = snapshot_path(instance->engine,
						    document_text(instance->record, "HostConfig.Snapshot"));
	cleanup_free char *kernels = path_join(instance->engine->images.root, "kernels");
	cleanup_free char *cgroup = NULL;
	cleanup_json json_t *seccomp = NULL;
	cleanup_free gid_t *groups = NULL;
	const char *name = document_text(instance->record, "Config.User");
	struct image_user user = { 0 };
	struct spec_facts facts = { .directory = directory, .rootfs = root, .user = &user };
	int ret = directory && root && disk && base && name_cgroup(instance, &cgroup) == 0
			  ? 0
			  : error_errno(err, ENOMEM, "cannot describe the instance");

	if (ret == 0 && mkdirat(instance->engine->images.fd, ENGINE_ROOTFS, 0711) < 0 && errno != EEXIST)
		ret = error_errno(err, errno, "cannot make %s", root);
	if (ret == 0)
		ret = launch_resolve_user(*name ? name : NULL, rootfs, &user, err);
	if (ret == 0)
		ret = resolve_groups(instance->record, rootfs, &groups, &facts.extra_groups_count, err);
	if (ret == 0)
		ret = find_namespaces(instance, &facts.namespaces, err);
	if (ret == 0)
		ret = read_seccomp(instance->record, &seccomp, err);
	if (has_disk(instance)) {
		facts.disk = disk;
		facts.disk_base = base;
	}
	if (has_own_kernel(instance)) {
		facts.own_kernel = true;
		/* Only at first: what has run since is on its disk. */
		if (*document_text(instance->record, "HostConfig.Snapshot") && !instance_marked(instance, "last-run"))
			facts.snapshot = snapshot;
		facts.kernels = kernels && access(kernels, F_OK) == 0 ? kernels : NULL;
	}
	facts.cgroup = cgroup;
	facts.extra_groups = groups;
	facts.init = options->init;
	facts.seccomp = seccomp;
	facts.rootless = instance->engine->images.rootless;
	if (ret == 0)
		ret = write_config(instance, &facts, config, err);
	image_user_free(&user);
	return ret;
}

int launch_bundle(struct instance *instance, const struct launch_options *options, int *rootfs, char **config,
		  struct error *err)
{
	cleanup_close int mount = launch_rootfs(instance, options->image, err);
	int ret = mount < 0 ? mount : fill_volumes(instance, mount, err);

	if (ret == 0)
		ret = write_files(instance, err);
	if (ret == 0)
		ret = build_config(instance, options, mount, config, err);
	if (ret == 0)
		*rootfs = take_fd(&mount);
	return ret;
}
