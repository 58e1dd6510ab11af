/* SPDX-License-Identifier: Apache-2.0 */
/* The words of mount(8) and of the OCI runtime specification, as flags. */
#include "linux/mount.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/str.h"

enum option_kind {
	SET,		    /* an MS_ flag */
	CLEAR,		    /* an MS_ flag asked away */
	PROPAGATION,	    /* one of the propagation types */
	RECURSIVE_SET,	    /* a MOUNT_ATTR_ for the tree */
	RECURSIVE_CLEAR,    /* a MOUNT_ATTR_ asked away for the tree */
	RECURSIVE_RELATIME, /* the access time policy whose bits are all 0 */
	SWITCH,		    /* a bool of struct mount_options; the value is its offset */
	NOTHING,	    /* means what is the case anyway */
};

#define ATIME_FLAGS (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)

static const struct option {
	const char *name;
	enum option_kind kind;
	uint64_t value;
} options_known[] = {
	{ "async", CLEAR, MS_SYNCHRONOUS },
	{ "atime", CLEAR, MS_NOATIME },
	{ "bind", SET, MS_BIND },
	{ "copy-symlink", SWITCH, offsetof(struct mount_options, copy_symlink) },
	{ "defaults", NOTHING, 0 },
	{ "dest-nofollow", SWITCH, offsetof(struct mount_options, dest_nofollow) },
	{ "dev", CLEAR, MS_NODEV },
	{ "diratime", CLEAR, MS_NODIRATIME },
	{ "dirsync", SET, MS_DIRSYNC },
	{ "exec", CLEAR, MS_NOEXEC },
	{ "idmap", SWITCH, offsetof(struct mount_options, idmap) },
	{ "iversion", SET, MS_I_VERSION },
	{ "lazytime", SET, MS_LAZYTIME },
	{ "loud", CLEAR, MS_SILENT },
	{ "mand", SET, MS_MANDLOCK },
	{ "noatime", SET, MS_NOATIME },
	{ "nodev", SET, MS_NODEV },
	{ "nodiratime", SET, MS_NODIRATIME },
	{ "noexec", SET, MS_NOEXEC },
	{ "noiversion", CLEAR, MS_I_VERSION },
	{ "nolazytime", CLEAR, MS_LAZYTIME },
	{ "nomand", CLEAR, MS_MANDLOCK },
	{ "norelatime", CLEAR, MS_RELATIME },
	{ "nostrictatime", CLEAR, MS_STRICTATIME },
	{ "nosuid", SET, MS_NOSUID },
	{ "nosymfollow", SET, MS_NOSYMFOLLOW },
	{ "private", PROPAGATION, MS_PRIVATE },
	{ "ratime", RECURSIVE_CLEAR, MOUNT_ATTR_NOATIME },
	{ "rbind", SET, MS_BIND | MS_REC },
	{ "rdev", RECURSIVE_CLEAR, MOUNT_ATTR_NODEV },
	{ "rdiratime", RECURSIVE_CLEAR, MOUNT_ATTR_NODIRATIME },
	{ "relatime", SET, MS_RELATIME },
	{ "remount", SET, MS_REMOUNT },
	{ "rexec", RECURSIVE_CLEAR, MOUNT_ATTR_NOEXEC },
	{ "ridmap", SWITCH, offsetof(struct mount_options, ridmap) },
	{ "rnoatime", RECURSIVE_SET, MOUNT_ATTR_NOATIME },
	{ "rnodev", RECURSIVE_SET, MOUNT_ATTR_NODEV },
	{ "rnodiratime", RECURSIVE_SET, MOUNT_ATTR_NODIRATIME },
	{ "rnoexec", RECURSIVE_SET, MOUNT_ATTR_NOEXEC },
	{ "rnorelatime", RECURSIVE_RELATIME, 0 }, /* as the kernel has no "neither", its default stays */
	{ "rnostrictatime", RECURSIVE_CLEAR, MOUNT_ATTR_STRICTATIME },
	{ "rnosuid", RECURSIVE_SET, MOUNT_ATTR_NOSUID },
	{ "rnosymfollow", RECURSIVE_SET, MOUNT_ATTR_NOSYMFOLLOW },
	{ "ro", SET, MS_RDONLY },
	{ "rprivate", PROPAGATION, MS_PRIVATE | MS_REC },
	{ "rrelatime", RECURSIVE_RELATIME, 0 },
	{ "rro", RECURSIVE_SET, MOUNT_ATTR_RDONLY },
	{ "rrw", RECURSIVE_CLEAR, MOUNT_ATTR_RDONLY },
	{ "rshared", PROPAGATION, MS_SHARED | MS_REC },
	{ "rslave", PROPAGATION, MS_SLAVE | MS_REC },
	{ "rstrictatime", RECURSIVE_SET, MOUNT_ATTR_STRICTATIME },
	{ "rsuid", RECURSIVE_CLEAR, MOUNT_ATTR_NOSUID },
	{ "rsymfollow", RECURSIVE_CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "runbindable", PROPAGATION, MS_UNBINDABLE | MS_REC },
	{ "rw", CLEAR, MS_RDONLY },
	{ "shared", PROPAGATION, MS_SHARED },
	{ "silent", SET, MS_SILENT },
	{ "slave", PROPAGATION, MS_SLAVE },
	{ "src-nofollow", SWITCH, offsetof(struct mount_options, source_nofollow) },
	{ "strictatime", SET, MS_STRICTATIME },
	{ "suid", CLEAR, MS_NOSUID },
	{ "symfollow", CLEAR, MS_NOSYMFOLLOW },
	{ "sync", SET, MS_SYNCHRONOUS },
	{ "tmpcopyup", SWITCH, offsetof(struct mount_options, tmpcopyup) },
	{ "unbindable", PROPAGATION, MS_UNBINDABLE },
};

enum { OPTIONS_COUNT = sizeof(options_known) / sizeof(*options_known) };

static int compare_name(const void *name, const void *option)
{
	return strcmp(name, ((const struct option *)option)->name);
}

static const struct option *option_find(const char *name)
{
	return bsearch(name, options_known, OPTIONS_COUNT, sizeof(*options_known), compare_name);
}

const char *mount_option_name(size_t index)
{
	return index < OPTIONS_COUNT ? options_known[index].name : NULL;
}

unsigned long mount_propagation_from_name(const char *name)
{
	const struct option *option = option_find(name);

	return option && option->kind == PROPAGATION ? option->value : 0;
}

static void set_flags(struct mount_options *parsed, unsigned long value)
{
	if (value & ATIME_FLAGS) /* one field with three values */
		parsed->flags &= ~(unsigned long)ATIME_FLAGS;
	parsed->flags |= value;
	parsed->cleared &= ~value;
}

static void set_recursive(struct mount_options *parsed, uint64_t set, uint64_t clear)
{
	/* mount_setattr(2) wants the access time's field cleared as a whole by whoever changes it. */
	if ((set | clear) & MOUNT_ATTR__ATIME)
		clear |= MOUNT_ATTR__ATIME;
	parsed->recursive_set = (parsed->recursive_set & ~clear) | set;
	parsed->recursive_cleared = (parsed->recursive_cleared & ~(set & ~(uint64_t)MOUNT_ATTR__ATIME)) | clear;
}

static int apply_option(struct mount_options *parsed, const struct option *option, struct error *err)
{
	switch (option->kind) {
	case SET:
		set_flags(parsed, option->value);
		break;
	case CLEAR:
		parsed->flags &= ~option->value;
		parsed->cleared |= option->value;
		break;
	case PROPAGATION:
		if (parsed->propagation_count == MOUNT_PROPAGATIONS_MAX)
			return error_set(err, EINVAL, "more than %d propagation options", MOUNT_PROPAGATIONS_MAX);
		parsed->propagation[parsed->propagation_count++] = option->value;
		break;
	case RECURSIVE_SET:
		set_recursive(parsed, option->value, 0);
		break;
	case RECURSIVE_CLEAR:
		set_recursive(parsed, 0, option->value);
		break;
	case RECURSIVE_RELATIME:
		set_recursive(parsed, 0, MOUNT_ATTR__ATIME);
		break;
	case SWITCH:
		*(bool *)((char *)parsed + option->value) = true;
		break;
	case NOTHING:
		break;
	}
	return 0;
}

int mount_options_parse(const char *const *options, size_t count, struct mount_options *parsed, struct error *err)
{
	struct str data = STR_INIT;
	int ret = 0;

	*parsed = (struct mount_options){ .flags = 0 };
	for (size_t i = 0; i < count && ret == 0; i++) {
		const struct option *option = option_find(options[i]);

		if (option) {
			ret = apply_option(parsed, option, err);
		} else if (*options[i]) {
			if (data.length > 0)
				str_append(&data, ",");
			str_append(&data, options[i]);
		}
	}
	if (ret == 0 && parsed->idmap && parsed->ridmap)
		ret = error_set(err, EINVAL, "mount options idmap and ridmap exclude each other");
	if (ret == 0 && str_failed(&data))
		ret = error_errno(err, ENOMEM, "mount options");
	if (ret == 0 && data.length > 0)
		parsed->data = str_take(&data);
	str_free(&data);
	return ret;
}

void mount_options_free(struct mount_options *options)
{
	free(options->data);
	options->data = NULL;
}

static const struct {
	unsigned long flag;
	uint64_t attribute;
} pairs[] = {
	{ MS_RDONLY, MOUNT_ATTR_RDONLY },	  { MS_NOSUID, MOUNT_ATTR_NOSUID },
	{ MS_NODEV, MOUNT_ATTR_NODEV },		  { MS_NOEXEC, MOUNT_ATTR_NOEXEC },
	{ MS_NODIRATIME, MOUNT_ATTR_NODIRATIME }, { MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
};

static uint64_t access_time(unsigned long flags)
{
	if (flags & MS_STRICTATIME)
		return MOUNT_ATTR_STRICTATIME;
	return flags & MS_NOATIME ? MOUNT_ATTR_NOATIME : MOUNT_ATTR_RELATIME;
}

void mount_attributes(unsigned long flags, unsigned long cleared, uint64_t *set, uint64_t *clear)
{
	*set = *clear = 0;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		if (flags & pairs[i].flag)
			*set |= pairs[i].attribute;
		else if (cleared & pairs[i].flag)
			*clear |= pairs[i].attribute;
	}
	if ((flags | cleared) & ATIME_FLAGS)
		*clear |= MOUNT_ATTR__ATIME;
	*set |= access_time(flags);
}

void mount_attributes_only(unsigned long flags, uint64_t *set, uint64_t *clear)
{
	bool times = flags & (ATIME_FLAGS | MS_NODIRATIME);

	*set = *clear = 0;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		if (flags & pairs[i].flag)
			*set |= pairs[i].attribute;
		else if (pairs[i].flag != MS_NODIRATIME || times)
			*clear |= pairs[i].attribute;
	}
	if (!times)
		return;
	*clear |= MOUNT_ATTR__ATIME;
	*set |= access_time(flags);
}
