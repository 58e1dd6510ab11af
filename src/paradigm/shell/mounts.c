/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "mounts" of config.md, in the order given.
 *
 * Every destination is resolved once, beneath the root, into a descriptor, and
 * the mount goes onto that: links that are swapped meanwhile lead nowhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "linux/idmap.h"
#include "linux/mount.h"
#include "paradigm/shell/copyup.h"
#include "paradigm/shell/inside.h"

static int open_target(const struct inside *inside, const char *path, bool directory, int *created, struct error *err)
{
	int fd = directory ? file_mkdir_in_root(inside->root_fd, path, 0755, created)
			   : file_touch_in_root(inside->root_fd, path, 0644);

	return fd < 0 ? error_errno(err, -fd, "cannot make the mount point %s", path) : fd;
}

int mounts_open_target(const struct inside *inside, const char *path, bool directory, struct error *err)
{
	return open_target(inside, path, directory, NULL, err);
}

/* "dest-nofollow": a link at the end of the path is covered itself. */
static int open_target_nofollow(const struct inside *inside, const char *path, bool directory, struct error *err)
{
	cleanup_free char *clean = path_clean(path);
	cleanup_close int parent = -1;
	char *slash = clean ? strrchr(clean, '/') : NULL;
	int fd;

	if (!slash || !slash[1])
		return error_set(err, EINVAL, "\"dest-nofollow\" is not for %s", path);
	*slash = '\0';
	parent = open_target(inside, slash == clean ? "/" : clean, true, NULL, err);
	if (parent < 0)
		return parent;
	fd = openat(parent, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 && errno == ENOENT ? open_target(inside, path, directory, NULL, err)
	       : fd < 0			 ? error_errno(err, errno, "cannot open the mount point %s", path)
					 : fd;
}

/* An image that makes /proc or /sys a link would see the host's procfs appear elsewhere, unmasked (CVE-2019-19921). */
static int open_plain_target(const struct inside *inside, const struct oci_mount *mount, struct error *err)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS };
	long fd = syscall(SYS_openat2, inside->root_fd, mount->destination, &how, sizeof(how));

	if (fd < 0 && errno == ENOENT) {
		int made = file_mkdir_in_root(inside->root_fd, mount->destination, 0755, NULL);

		if (made < 0)
			return error_errno(err, -made, "cannot make the mount point %s", mount->destination);
		close(made);
		fd = syscall(SYS_openat2, inside->root_fd, mount->destination, &how, sizeof(how));
	}
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return error_set(err, ELOOP, "filesystem \"%s\" must be mounted on ordinary directory", mount->type);
	return fd < 0 ? error_errno(err, errno, "cannot open the mount point %s", mount->destination) : (int)fd;
}

/* Files of a procfs that tools like lxcfs cover; everything else in it decides about security. */
static bool may_cover_proc(const char *path)
{
	static const char *const allowed[] = { "/proc/cpuinfo",
					       "/proc/diskstats",
					       "/proc/meminfo",
					       "/proc/stat",
					       "/proc/swaps",
					       "/proc/uptime",
					       "/proc/loadavg",
					       "/proc/slabinfo",
					       "/proc/net/dev",
					       "/proc/sys/kernel/ns_last_pid",
					       "/proc/sys/crypto/fips_enabled" };

	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
		if (strcmp(path, allowed[i]) == 0)
			return true;
	}
	return false;
}

static bool is_procfs(int fd)
{
	struct statfs fs;

	return fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* Of a mount that others may write to.  source: what is bound, or -1. */
static int check_target(struct inside *inside, const struct oci_mount *mount, int target, int source, struct error *err)
{
	cleanup_free char *clean = path_clean(mount->destination);
	struct statfs fs;

	if (!clean)
		return -ENOMEM;
	if (fstatfs(target, &fs) < 0)
		return error_errno(err, errno, "cannot see what %s is on", mount->destination);
	fresh_forget(inside, clean, fs.f_type);
	/* In the place of /proc itself only another procfs will do (CVE-2019-16884: images can name it as a volume). */
	if (strcmp(clean, "/proc") == 0)
		return is_procfs(source)
			       ? 0
			       : error_set(err, EPERM, "\"%s\" cannot be mounted because it is not of type proc",
					   mount->destination);
	if (fs.f_type != PROC_SUPER_MAGIC || may_cover_proc(clean))
		return 0;
	return error_set(err, EPERM, "\"%s\" cannot be mounted because it is inside /proc", mount->destination);
}

static const char *source_path(const struct shell_options *options, const struct oci_mount *mount, char **owned)
{
	if (!mount->source || *mount->source == '/')
		return mount->source;
	*owned = path_join(options->bundle, mount->source);
	return *owned;
}

static bool is_link(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
}

static bool is_below(const char *path, const char *top)
{
	size_t length = strlen(top);

	return strncmp(path, top, length) == 0 && (!path[length] || path[length] == '/' || top[length - 1] == '/');
}

/*
 * What a source is called in the container, if it is in the root file system and a mount before it has changed what is
 * there: the host's path leads to the tree without that mount.  NULL for all others.
 */
static const char *inner_source(const struct shell_options *options, size_t index)
{
	const struct oci_mount *mounts = options->spec->mounts;
	const char *source = mounts[index].source;
	size_t length = strlen(options->rootfs);

	if (!source || options->rootfs_fd >= 0 || strncmp(source, options->rootfs, length) != 0 ||
	    source[length] != '/' || length < 2)
		return NULL;
	for (size_t i = 0; i < index; i++)
		if (is_below(source + length, mounts[i].destination) ||
		    is_below(mounts[i].destination, source + length))
			return source + length;
	return NULL;
}

static int open_inner_source(const struct inside *inside, const char *path, const struct mount_options *parsed,
			     int userns, struct error *err)
{
	cleanup_close int fd = file_open_in_root(inside->root_fd, path, O_PATH, 0);
	cleanup_close int tree = -1;
	int ret;

	if (fd < 0)
		return error_errno(err, -fd, "cannot open %s in the root file system", path);
	tree = mount_clone(fd, "", parsed->flags & MS_REC, 0, err);
	if (tree < 0)
		return tree;
	ret = userns >= 0 ? mount_set_idmap(tree, userns, parsed->ridmap, err) : 0;
	return ret < 0 ? ret : take_fd(&tree);
}

/* The source is a link for "copy-symlink" (as itself), else a detached mount. */
static int open_source(const struct shell_options *options, const struct oci_mount *mount,
		       const struct mount_options *parsed, struct error *err)
{
	cleanup_free char *owned = NULL;
	const char *path = source_path(options, mount, &owned);

	if (!path)
		return error_set(err, EINVAL, "mount %s has no source", mount->destination);
	if (parsed->copy_symlink) {
		int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0 && is_link(fd))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return mount_clone(AT_FDCWD, path, parsed->flags & MS_REC, parsed->source_nofollow ? AT_SYMLINK_NOFOLLOW : 0,
			   err);
}

/* "copy-symlink": made again in the container; the same one may be there already. */
static int copy_link(const struct inside *inside, const struct oci_mount *mount, int source, struct error *err)
{
	cleanup_free char *clean = path_clean(mount->destination);
	char target[PATH_MAX], there[PATH_MAX];
	ssize_t length = readlinkat(source, "", target, sizeof(target) - 1), old;
	char *slash = clean ? strrchr(clean, '/') : NULL;
	cleanup_close int parent = -1;

	if (length < 0 || !slash || !slash[1])
		return error_set(err, EINVAL, "cannot make the link %s again", mount->destination);
	target[length] = '\0';
	*slash = '\0';
	parent = mounts_open_target(inside, slash == clean ? "/" : clean, true, err);
	if (parent < 0)
		return parent;
	if (symlinkat(target, parent, slash + 1) == 0)
		return 0;
	if (errno != EEXIST)
		return error_errno(err, errno, "cannot make the link %s", mount->destination);
	old = readlinkat(parent, slash + 1, there, sizeof(there));
	if (old == length && memcmp(there, target, (size_t)length) == 0)
		return 0;
	return error_set(err, EEXIST, "cannot make the link %s: there is something else", mount->destination);
}

/*
 * Whether the container's /dev is what was just bound: by a link of the image, or in other words, any destination may
 * have led there.  Nothing must be made or unlinked in it then.
 */
static bool is_dev(const struct inside *inside, const struct stat *bound)
{
	cleanup_close int dev = file_open_in_root(inside->root_fd, "/dev", O_PATH | O_DIRECTORY, 0);
	struct stat st;

	return dev >= 0 && fstat(dev, &st) == 0 && st.st_dev == bound->st_dev && st.st_ino == bound->st_ino;
}

static int mount_bind(struct inside *inside, size_t index, const struct mount_options *parsed, struct error *err)
{
	const struct oci_mount *mount = &inside->spec->mounts[index];
	cleanup_close int opened = -1, target = -1;
	const char *inner = inner_source(inside->options, index);
	int given = inside->sources ? inside->sources[index] : -1, source = given, ret;
	struct stat st;

	if (inner)
		source = opened = open_inner_source(inside, inner, parsed, given, err);
	else if (source < 0)
		source = opened = open_source(inside->options, mount, parsed, err);
	if (source < 0)
		return source;
	if (fstat(source, &st) < 0)
		return error_errno(err, errno, "cannot stat %s", mount->source);
	if (parsed->copy_symlink && S_ISLNK(st.st_mode))
		return copy_link(inside, mount, source, err);
	target = parsed->dest_nofollow ? open_target_nofollow(inside, mount->destination, S_ISDIR(st.st_mode), err)
				       : mounts_open_target(inside, mount->destination, S_ISDIR(st.st_mode), err);
	if (target < 0)
		return target;
	ret = check_target(inside, mount, target, source, err);
	if (ret == 0)
		ret = mount_apply_bind(source, parsed, inside->in_userns, err);
	if (ret == 0)
		ret = mount_attach(source, target, err);
	if (ret == 0 && S_ISDIR(st.st_mode) && !inside->dev_is_bound)
		inside->dev_is_bound = is_dev(inside, &st);
	return ret;
}

static bool has_option(const char *data, const char *start)
{
	while (data && !str_starts(data, start)) {
		data = strchr(data, ',');
		if (data)
			data++;
	}
	return data != NULL;
}

/* A tmpfs that starts with what the image has there. */
static int mount_copyup(struct inside *inside, const struct oci_mount *mount, const struct mount_options *parsed,
			struct error *err)
{
	cleanup_close int target = mounts_open_target(inside, mount->destination, true, err);
	struct mount_options writable = *parsed;
	cleanup_close int fs = -1;
	int ret;

	if (target < 0)
		return target;
	ret = check_target(inside, mount, target, -1, err);
	if (ret < 0)
		return ret;
	writable.flags &= ~(unsigned long)MS_RDONLY;
	fs = mount_new(mount->type, mount->source, &writable, err);
	if (fs < 0)
		return fs;
	ret = copyup(target, fs, !has_option(parsed->data, "mode="),
		     !has_option(parsed->data, "uid=") && !has_option(parsed->data, "gid="), err);
	if (ret == 0 && (parsed->flags & MS_RDONLY))
		ret = mount_set_attributes(fs, "", MOUNT_ATTR_RDONLY, 0, false, err);
	if (ret == 0)
		ret = mount_apply(fs, parsed, err);
	return ret == 0 ? mount_attach(fs, target, err) : ret;
}

/* SELinux: what is made for the container gets its label as a mount option. */
static char *data_with_label(const struct inside *inside, const struct oci_mount *mount, const char *data)
{
	const char *label = inside->spec->linux_.mount_label;
	cleanup_str struct str text = STR_INIT;

	if (!label || !*label || !mount->type ||
	    (strcmp(mount->type, "tmpfs") != 0 && strcmp(mount->type, "mqueue") != 0))
		return data ? strdup(data) : NULL;
	str_printf(&text, "%s%scontext=\"%s\"", data ? data : "", data ? "," : "", label);
	return str_take(&text);
}

/* sysfs shows the network namespace and may be mounted only by who owns that: the host's own is the next best. */
static int mount_host_sys(int target, const struct mount_options *parsed, struct error *err)
{
	cleanup_close int tree = mount_clone(AT_FDCWD, "/sys", true, 0, err);
	int ret;

	if (tree < 0)
		return tree;
	ret = mount_apply_bind(tree, parsed, true, err);
	return ret == 0 ? mount_attach(tree, target, err) : ret;
}

/* A new tmpfs that says no mode gets that of the directory which it covers, as under runc and crun. */
static int inherit_mode(char **data, int target, struct error *err)
{
	struct stat st;
	char *longer;

	if (fstat(target, &st) < 0)
		return error_errno(err, errno, "cannot stat a mount point");
	if (asprintf(&longer, "%s%smode=%o", *data ? *data : "", *data ? "," : "", st.st_mode & 07777U) < 0)
		return error_errno(err, ENOMEM, "cannot mount a tmpfs");
	free(*data);
	*data = longer;
	return 0;
}

static bool is_one_of(const char *type, const char *const *list)
{
	while (*list && strcmp(*list, type) != 0)
		list++;
	return *list != NULL;
}

/* On a new directory in a /dev that is ours alone, nothing has to be looked up.  -ENOTDIR: this is another case. */
static int mount_below_dev(const struct inside *inside, const struct oci_mount *mount, unsigned long flags,
			   const char *data, struct error *err)
{
	const char *name, *source = mount->source ? mount->source : mount->type;
	int dev = fresh_find(inside, FRESH_DEV, mount->destination, &name);

	if (dev < 0 || strchr(name, '/') || mkdirat(dev, name, 0755) < 0)
		return -ENOTDIR;
	return mount_classic_at(source, dev, name, mount->type, flags, data, err);
}

static int mount_on_target(struct inside *inside, const struct oci_mount *mount, const struct mount_options *parsed,
			   unsigned long flags, char **data, struct error *err)
{
	static const char *const plain[] = { "proc", "sysfs", NULL };
	/* Nobody else has a name in a new one of these. */
	static const char *const empty[] = { "proc", "sysfs", "tmpfs", "devpts", "mqueue", NULL };
	bool is_plain = is_one_of(mount->type, plain);
	int made = 0, ret = 0;
	cleanup_close int target = is_plain ? open_plain_target(inside, mount, err)
					    : open_target(inside, mount->destination, true, &made, err);

	if (target < 0)
		return target;
	if (!is_one_of(mount->type, empty) || (!is_plain && str_starts(mount->destination, "/proc/")))
		ret = check_target(inside, mount, target, -1, err);
	else if (is_plain && strcmp(mount->destination, "/proc") != 0 && strcmp(mount->destination, "/sys") != 0)
		fresh_forget(inside, mount->destination, PROC_SUPER_MAGIC);
	if (ret == 0 && !made && strcmp(mount->type, "tmpfs") == 0 && !has_option(*data, "mode="))
		ret = inherit_mode(data, target, err);
	if (ret < 0)
		return ret;
	ret = mount_classic(mount->source ? mount->source : mount->type, target, mount->type, flags, *data, err);
	if (ret == -EPERM && strcmp(mount->type, "sysfs") == 0)
		return mount_host_sys(target, parsed, err);
	if (ret == 0 && strcmp(mount->type, "proc") == 0)
		inside->proc_is_readonly = flags & MS_RDONLY || parsed->recursive_set & MOUNT_ATTR_RDONLY;
	if (ret == 0)
		fresh_note(inside, mount->type, mount->destination, &target);
	return ret;
}

static int mount_filesystem(struct inside *inside, const struct oci_mount *mount, struct mount_options *parsed,
			    struct error *err)
{
	cleanup_free char *data = data_with_label(inside, mount, parsed->data);
	cleanup_close int top = -1;
	unsigned long flags = parsed->flags;
	int ret;

	/* Device nodes are still to be made in a read-only /dev: devices.c closes it. */
	if (strcmp(mount->destination, "/dev") == 0)
		flags &= ~(unsigned long)MS_RDONLY;
	ret = mount_below_dev(inside, mount, flags, data, err);
	if (ret == -ENOTDIR)
		ret = mount_on_target(inside, mount, parsed, flags, &data, err);
	if (ret < 0 || !(parsed->propagation_count || parsed->recursive_set || parsed->recursive_cleared))
		return ret;
	top = file_open_in_root(inside->root_fd, mount->destination, O_PATH | O_DIRECTORY, 0);
	return top < 0 ? error_errno(err, -top, "cannot open the new mount") : mount_apply(top, parsed, err);
}

/* "remount" changes what a mount before this one made. */
static int remount(struct inside *inside, const struct oci_mount *mount, const struct mount_options *parsed,
		   struct error *err)
{
	cleanup_close int target = file_open_in_root(inside->root_fd, mount->destination, O_PATH, 0);

	if (target < 0)
		return error_errno(err, -target, "cannot open %s", mount->destination);
	fresh_forget(inside, mount->destination, PROC_SUPER_MAGIC);
	return mount_classic(mount->source, target, NULL, parsed->flags, parsed->data, err);
}

static bool is_cgroup(const struct oci_mount *mount)
{
	return mount->type && (strcmp(mount->type, "cgroup") == 0 || strcmp(mount->type, "cgroup2") == 0);
}

static int mount_one(struct inside *inside, size_t index, struct mount_options *parsed, struct error *err)
{
	const struct oci_mount *mount = &inside->spec->mounts[index];

	if (parsed->flags & MS_REMOUNT)
		return remount(inside, mount, parsed, err);
	if ((parsed->flags & MS_BIND) || !mount->type || strcmp(mount->type, "bind") == 0 ||
	    strcmp(mount->type, "rbind") == 0)
		return mount_bind(inside, index, parsed, err);
	if (is_cgroup(mount))
		return cgroup_mount_make(inside, mount, err);
	if (parsed->tmpcopyup && strcmp(mount->type, "tmpfs") == 0)
		return mount_copyup(inside, mount, parsed, err);
	return mount_filesystem(inside, mount, parsed, err);
}

/* Whether a mount can come after all others: none of those behind it lies below it or on it. */
static bool may_wait(const struct oci_spec *spec, size_t index)
{
	for (size_t i = index + 1; i < spec->mounts_count; i++) {
		if (str_starts(spec->mounts[i].destination, spec->mounts[index].destination))
			return false;
	}
	return true;
}

static int make_one(struct inside *inside, size_t index, struct error *err)
{
	const struct oci_mount *mount = &inside->spec->mounts[index];
	struct mount_options parsed;
	int ret = mount_options_parse(mount->options.items, mount->options.count, &parsed, err);

	if (ret == 0) {
		ret = mount_one(inside, index, &parsed, err);
		mount_options_free(&parsed);
	}
	if (ret < 0)
		(void)error_wrap(err, "error mounting \"%s\" to rootfs at \"%s\"",
				 mount->source ? mount->source
				 : mount->type ? mount->type
					       : "",
				 mount->destination);
	return ret;
}

int mounts_make_all(struct inside *inside, struct error *err)
{
	int ret = 0;

	for (size_t i = 0; i < inside->spec->mounts_count && ret == 0; i++) {
		if (!is_cgroup(&inside->spec->mounts[i]) || !may_wait(inside->spec, i))
			ret = make_one(inside, i, err);
	}
	return ret;
}

int mounts_make_late(struct inside *inside, struct error *err)
{
	int ret = inside_join_cgroup(inside, err);

	for (size_t i = 0; i < inside->spec->mounts_count && ret == 0; i++) {
		if (is_cgroup(&inside->spec->mounts[i]) && may_wait(inside->spec, i))
			ret = make_one(inside, i, err);
	}
	return ret;
}

static int open_namespace(const struct oci_id_mappings *uids, const struct oci_id_mappings *gids, struct error *err)
{
	/* The two structs say the same in the same order: ids inside, ids outside, how many. */
	_Static_assert(sizeof(struct oci_id_mapping) == sizeof(struct idmap_range), "id mappings differ");
	struct idmap map = {
		.uids = (const struct idmap_range *)uids->items,
		.gids = (const struct idmap_range *)gids->items,
		.uids_count = uids->count,
		.gids_count = gids->count,
	};

	return idmap_namespace(&map, err);
}

/* A mount without mappings of its own that wants to be mapped takes the container's, made or joined. */
static int open_mapping(const struct oci_spec *spec, const struct oci_mount *mount, struct error *err)
{
	const struct oci_namespace *user = &spec->linux_.namespaces[OCI_NS_USER];
	int fd;

	if (mount->uid_mappings.count)
		return open_namespace(&mount->uid_mappings, &mount->gid_mappings, err);
	if (!user->set || !user->path)
		return open_namespace(&spec->linux_.uid_mappings, &spec->linux_.gid_mappings, err);
	fd = open(user->path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_errno(err, errno, "cannot open the user namespace %s", user->path) : fd;
}

static int map_source(const struct oci_spec *spec, const struct oci_mount *mount, const struct mount_options *parsed,
		      int source, struct error *err)
{
	cleanup_close int userns = open_mapping(spec, mount, err);

	return userns < 0 ? userns : mount_set_idmap(source, userns, parsed->ridmap, err);
}

static int open_for_child(const struct shell_options *options, size_t index, bool in_userns, int *source,
			  struct error *err)
{
	const struct oci_mount *mount = &options->spec->mounts[index];
	struct mount_options parsed;
	const char *propagation = options->spec->linux_.rootfs_propagation;
	bool mapped, bound;
	int ret = mount_options_parse(mount->options.items, mount->options.count, &parsed, err);

	if (ret < 0)
		return ret;
	bound = (parsed.flags & MS_BIND) || (mount->type && strcmp(mount->type, "bind") == 0);
	mapped = parsed.idmap || parsed.ridmap || mount->uid_mappings.count || mount->gid_mappings.count;
	if (mapped && !bound)
		ret = error_set(err, EINVAL, "invalid mount: id mappings are for bind mounts: %s", mount->destination);
	else if (!mount->uid_mappings.count != !mount->gid_mappings.count ||
		 (mapped && !mount->uid_mappings.count && !options->spec->linux_.namespaces[OCI_NS_USER].set))
		ret = error_set(err, EINVAL, "invalid mount: both uidMappings and gidMappings are needed: %s",
				mount->destination);
	if (ret == 0 && bound && inner_source(options, index)) {
		/* The child's to open: the mapping is all that it gets. */
		*source = mapped ? open_mapping(options->spec, mount, err) : -1;
		ret = mapped && *source < 0 ? *source : 0;
	} else if (ret == 0 && bound && (in_userns || mapped) && !(parsed.flags & MS_REMOUNT)) {
		*source = open_source(options, mount, &parsed, err);
		ret = *source < 0 ? *source : 0;
		/* Opened here, it is still a peer of the host's mount: cut like the child cuts all others. */
		if (ret == 0 && !(parsed.copy_symlink && is_link(*source)))
			ret = mount_set_propagation(
				*source, "", propagation ? mount_propagation_from_name(propagation) : MS_SLAVE | MS_REC,
				err);
		if (ret == 0 && mapped)
			ret = map_source(options->spec, mount, &parsed, *source, err);
	}
	mount_options_free(&parsed);
	return ret < 0 ? (error_wrap(err, "error mounting \"%s\"", mount->source ? mount->source : ""), ret) : 0;
}

int mounts_open_sources(const struct shell_options *options, int **sources, struct error *err)
{
	const struct oci_spec *spec = options->spec;
	bool in_userns = spec->linux_.namespaces[OCI_NS_USER].set, needed = in_userns;
	int ret = 0;

	*sources = NULL;
	for (size_t i = 0; i < spec->mounts_count && !needed; i++) {
		needed = spec->mounts[i].uid_mappings.count || spec->mounts[i].gid_mappings.count;
		for (size_t k = 0; k < spec->mounts[i].options.count && !needed; k++)
			needed = str_ends(spec->mounts[i].options.items[k], "idmap");
	}
	if (!needed || spec->mounts_count == 0)
		return 0;
	*sources = malloc(spec->mounts_count * sizeof(int));
	if (!*sources)
		return error_errno(err, ENOMEM, "cannot open the mounts");
	for (size_t i = 0; i < spec->mounts_count; i++)
		(*sources)[i] = -1;
	/* A rootless caller has nothing to give that its child has not. */
	for (size_t i = 0; i < spec->mounts_count && ret == 0; i++)
		ret = open_for_child(options, i, in_userns && geteuid() == 0, &(*sources)[i], err);
	return ret;
}
