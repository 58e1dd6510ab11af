/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/settings.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "linux/vfio.h"

enum {
	CPUS_MAX = 8192,
	BOOT_SECONDS = 120, /* a guest that has not spoken by then never will, even where it is translated */
	BOOT_SECONDS_MAX = 86400,
};

static const uint64_t MIB = UINT64_C(1) << 20, GIB = UINT64_C(1) << 30;

static int read_engine(const struct oci_spec *spec, struct vm_settings *settings, struct error *err)
{
	static const char *const words[] = { [VM_WISH_AUTO] = "auto", [VM_WISH_KVM] = "kvm", [VM_WISH_QEMU] = "qemu" };
	const char *text = oci_spec_annotation(spec, VM_ANNOTATION "engine");

	/* Who names a hypervisor means that one. */
	settings->qemu = spec->vm.hypervisor.path;
	settings->engine = settings->qemu ? VM_WISH_QEMU : VM_WISH_AUTO;
	if (spec->vm.hypervisor.parameters.count)
		return error_set(err, ENOTSUP, "vm.hypervisor.parameters are not supported");
	settings->machine = oci_spec_annotation(spec, VM_ANNOTATION "machine");
	if (settings->machine &&
	    (!*settings->machine || strspn(settings->machine, "abcdefghijklmnopqrstuvwxyz"
							      "0123456789.-_") != strlen(settings->machine)))
		return error_set(err, EINVAL, "\"%s\" is no name of a machine like microvm or q35", settings->machine);
	for (size_t i = 0; text && i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp(words[i], text) == 0) {
			settings->engine = (enum vm_engine_wish)i;
			return 0;
		}
	}
	return text ? error_set(err, EINVAL, "unknown engine \"%s\"; known are auto, kvm and qemu", text) : 0;
}

static int read_patience(const struct oci_spec *spec, struct vm_settings *settings, struct error *err)
{
	const char *text = oci_spec_annotation(spec, VM_ANNOTATION "boot-timeout");
	uint64_t seconds = BOOT_SECONDS;

	if (text && (str_to_u64(text, &seconds) < 0 || seconds > BOOT_SECONDS_MAX))
		return error_set(err, EINVAL, "\"%s\" is no number of seconds for a guest to answer in", text);
	settings->boot_seconds = (uint32_t)seconds;
	return 0;
}

/* What the document says of the machine, or else the annotations; 0: nothing is said. */
static int read_hardware(const struct oci_spec *spec, uint64_t *memory, uint64_t *vcpus, struct error *err)
{
	const char *size = oci_spec_annotation(spec, VM_ANNOTATION "memory");
	const char *count = oci_spec_annotation(spec, VM_ANNOTATION "vcpus");

	*memory = spec->vm.hardware.memory;
	*vcpus = spec->vm.hardware.vcpus;
	if (!*memory && size && str_to_size(size, memory) < 0)
		return error_set(err, EINVAL, "invalid size of memory \"%s\"; write it like 512m, 2g", size);
	if (!*vcpus && count && str_to_u64(count, vcpus) < 0)
		return error_set(err, EINVAL, "\"%s\" is no number of vCPUs", count);
	return 0;
}

static int read_memory(const struct oci_spec *spec, uint64_t said, struct vm_settings *settings, struct error *err)
{
	const struct oci_i64 *limit = &spec->linux_.resources.memory.limit;
	const char *pages = oci_spec_annotation(spec, VM_ANNOTATION "hugepages");
	uint64_t unit = 2 * MIB;

	if (pages && strcmp(pages, "2M") != 0 && strcmp(pages, "1G") != 0)
		return error_set(err, EINVAL, "unknown size of huge pages \"%s\"; known are 2M and 1G", pages);
	settings->hugepages = !pages ? 0 : *pages == '2' ? 2 * MIB : GIB;
	unit = settings->hugepages ? settings->hugepages : unit;
	settings->limited = limit->set && limit->value > 0;
	settings->memory = said		       ? said
			   : settings->limited ? (uint64_t)limit->value
					       : (uint64_t)VM_MEMORY_DEFAULT_MIB * MIB;
	if (settings->memory < (uint64_t)VM_MEMORY_MIN_MIB * MIB)
		return error_set(err, EINVAL,
				 "%ju MiB of memory are too little for a virtual machine: its kernel needs %d MiB",
				 (uintmax_t)(settings->memory / MIB), VM_MEMORY_MIN_MIB);
	if (settings->memory > UINT64_C(1) << 46)
		return error_set(err, EINVAL, "%ju MiB are more memory than a virtual machine can have",
				 (uintmax_t)(settings->memory / MIB));
	settings->memory = (settings->memory + unit - 1) / unit * unit;
	return 0;
}

/* As many as the quota gives time to, if there is one: a guest with more would find its locks held by CPUs that stand.
 */
static int read_vcpus(const struct oci_spec *spec, uint64_t said, struct vm_settings *settings, struct error *err)
{
	const struct oci_i64 *quota = &spec->linux_.resources.cpu.quota;
	const struct oci_u64 *period = &spec->linux_.resources.cpu.period;
	uint64_t each = period->set && period->value ? period->value : 100000, vcpus = said;

	if (!vcpus && quota->set && quota->value > 0)
		vcpus = ((uint64_t)quota->value + each - 1) / each;
	if (!vcpus)
		vcpus = 1;
	if (vcpus > VM_VCPUS_MAX && said)
		return error_set(err, EINVAL, "a virtual machine has at most %d vCPUs, not %ju", VM_VCPUS_MAX,
				 (uintmax_t)vcpus);
	settings->vcpus = vcpus > VM_VCPUS_MAX ? VM_VCPUS_MAX : (uint32_t)vcpus;
	return 0;
}

static bool read_number(const char **text, uint32_t *number)
{
	size_t digits = strspn(*text, "0123456789");
	uint32_t value = 0;

	if (digits == 0 || digits > 4)
		return false;
	for (; digits; digits--)
		value = value * 10 + (uint32_t)(*(*text)++ - '0');
	*number = value;
	return value < CPUS_MAX;
}

static bool read_list(const char *text, struct vm_settings *settings)
{
	for (;;) {
		uint32_t first, last;

		if (!read_number(&text, &first))
			return false;
		last = first;
		if (*text == '-') {
			text++;
			if (!read_number(&text, &last) || last < first)
				return false;
		}
		for (; first <= last; first++) {
			if (settings->pins_count == VM_VCPUS_MAX)
				return false;
			settings->pins[settings->pins_count++] = (int32_t)first;
		}
		if (!*text)
			return true;
		if (*text++ != ',')
			return false;
	}
}

static int read_pins(const struct oci_spec *spec, struct vm_settings *settings, struct error *err)
{
	const char *text = oci_spec_annotation(spec, VM_ANNOTATION "vcpu-pin");

	if (!text)
		return 0;
	if (!read_list(text, settings))
		return error_set(err, EINVAL, "\"%s\" is no list of CPUs like 0-3 or 0,2", text);
	if (settings->pins_count != settings->vcpus)
		return error_set(err, EINVAL, "%zu CPUs to pin %u vCPUs to: there must be one for each",
				 settings->pins_count, settings->vcpus);
	return 0;
}

static int read_image(const struct oci_spec *spec, struct vm_settings *settings, struct error *err)
{
	settings->image = spec->vm.image.path;
	settings->image_format = spec->vm.image.format;
	settings->snapshot = oci_spec_annotation(spec, VM_ANNOTATION "snapshot");
	settings->backing = oci_spec_annotation(spec, VM_ANNOTATION "image.backing");
	if (!settings->image)
		return 0;
	if (strcmp(settings->image_format, "raw") != 0 && strcmp(settings->image_format, "qcow2") != 0)
		return error_set(err, ENOTSUP,
				 "vm.image.format: %s is not supported; raw and qcow2 are: qemu-img convert makes them",
				 settings->image_format);
	if (settings->backing && strcmp(settings->image_format, "qcow2") != 0)
		return error_set(err, EINVAL,
				 "a raw image stands on no other: " VM_ANNOTATION "image.backing is for "
				 "qcow2");
	return 0;
}

static const char *format_of(const char *path)
{
	return str_ends(path, ".qcow2") ? "qcow2" : "raw";
}

static int read_disk_word(const char *word, struct vm_disk_setting *disk, struct error *err)
{
	if (strcmp(word, "ro") == 0 || strcmp(word, "readonly") == 0) {
		disk->read_only = true;
	} else if (strcmp(word, "format=raw") == 0 || strcmp(word, "format=qcow2") == 0) {
		disk->format = word + strlen("format=");
	} else if (str_starts(word, "backing=")) {
		if (disk->backing_count == VM_CHAIN_MAX - 1)
			return error_set(err, EINVAL, "the disk %s stands on more than %d others", disk->path,
					 VM_CHAIN_MAX - 1);
		disk->backing[disk->backing_count] = word + strlen("backing=");
		disk->backing_formats[disk->backing_count++] = format_of(word);
	} else {
		return error_set(
			err, EINVAL,
			"unknown option \"%s\" of disk %s; known are format=raw, format=qcow2, backing=PATH and "
			"ro",
			word, disk->path);
	}
	return 0;
}

/* A path with a comma must be told otherwise. */
int vm_disk_setting_read(char *text, struct vm_disk_setting *disk, struct error *err)
{
	char *word;
	int ret = 0;

	*disk = (struct vm_disk_setting){ .path = strsep(&text, ",") };
	disk->format = format_of(disk->path);
	while (ret == 0 && (word = strsep(&text, ",")))
		ret = read_disk_word(word, disk, err);
	if (ret == 0 && disk->backing_count && strcmp(disk->format, "qcow2") != 0)
		ret = error_set(err, EINVAL, "the disk %s is raw, and stands on no other", disk->path);
	for (size_t i = 0; ret == 0 && i + 1 < disk->backing_count; i++) {
		if (strcmp(disk->backing_formats[i], "qcow2") != 0)
			ret = error_set(err, EINVAL, "the disk %s is raw, and stands on no other", disk->backing[i]);
	}
	return ret;
}

static int add_disk(struct arena *arena, char *line, struct vm_settings *settings, struct error *err)
{
	struct vm_disk_setting *disk = &settings->disks[settings->disks_count];
	int ret;

	(void)arena;
	if (settings->disks_count == VM_DISKS_MAX - 1)
		return error_set(err, EINVAL, "a virtual machine has at most %d disks", VM_DISKS_MAX);
	ret = vm_disk_setting_read(line, disk, err);
	if (ret == 0 && *disk->path != '/')
		ret = error_set(err, EINVAL, "the disk \"%s\" must be an absolute path", disk->path);
	for (size_t i = 0; ret == 0 && i < disk->backing_count; i++) {
		if (*disk->backing[i] != '/')
			ret = error_set(err, EINVAL, "the disk \"%s\" must be an absolute path", disk->backing[i]);
	}
	settings->disks_count += ret == 0;
	return ret;
}

static int add_device(struct arena *arena, char *line, struct vm_settings *settings, struct error *err)
{
	char address[VFIO_ADDRESS_SIZE];
	int ret;

	if (!str_starts(line, "vfio:"))
		return error_set(err, EINVAL, "a device of a virtual machine is vfio:ADDRESS, not \"%s\"", line);
	if (settings->devices_count == VM_DEVICES_MAX)
		return error_set(err, EINVAL, "a virtual machine has at most %d devices of the host", VM_DEVICES_MAX);
	ret = vfio_address(line + strlen("vfio:"), address, err);
	if (ret < 0)
		return ret;
	settings->devices[settings->devices_count] = arena_strdup(arena, address);
	return settings->devices[settings->devices_count++] ? 0 : error_errno(err, ENOMEM, "cannot name a device");
}

/* An annotation with something on each line: "disk", "device". */
static int read_lines(struct oci_spec *spec, const char *name,
		      int (*add)(struct arena *arena, char *line, struct vm_settings *settings, struct error *err),
		      struct vm_settings *settings, struct error *err)
{
	const char *text = oci_spec_annotation(spec, name);
	char *rest = text ? arena_strdup(&spec->arena, text) : NULL, *line;
	int ret = 0;

	if (text && !rest)
		return error_errno(err, ENOMEM, "cannot read %s", name);
	while (ret == 0 && (line = strsep(&rest, "\n"))) {
		if (*line)
			ret = add(&spec->arena, line, settings, err);
	}
	return ret;
}

static int read_vsock(const struct oci_spec *spec, struct vm_settings *settings, struct error *err)
{
	settings->vsock = oci_spec_annotation(spec, VM_ANNOTATION "vsock");
	if (settings->vsock && *settings->vsock != '/')
		return error_set(err, EINVAL, "the directory of sockets \"%s\" must be an absolute path",
				 settings->vsock);
	return 0;
}

static void read_kernel(const struct oci_spec *spec, struct vm_settings *settings)
{
	settings->kernels = oci_spec_annotation(spec, VM_ANNOTATION "kernels");
	settings->kernel = spec->vm.kernel.path;
	settings->initrd = spec->vm.kernel.initrd;
	settings->parameters = spec->vm.kernel.parameters;
	if (settings->kernel)
		return;
	settings->kernel = oci_spec_annotation(spec, VM_ANNOTATION "kernel");
	settings->initrd = oci_spec_annotation(spec, VM_ANNOTATION "initrd");
}

int vm_settings_read(struct oci_spec *spec, struct vm_settings *settings, struct error *err)
{
	uint64_t memory = 0, vcpus = 0;
	int ret;

	*settings = (struct vm_settings){ .memory = 0 };
	read_kernel(spec, settings);
	ret = read_engine(spec, settings, err);
	if (ret == 0)
		ret = read_patience(spec, settings, err);
	if (ret == 0)
		ret = read_hardware(spec, &memory, &vcpus, err);
	if (ret == 0)
		ret = read_memory(spec, memory, settings, err);
	if (ret == 0)
		ret = read_vcpus(spec, vcpus, settings, err);
	if (ret == 0)
		ret = read_pins(spec, settings, err);
	if (ret == 0)
		ret = read_vsock(spec, settings, err);
	if (ret == 0)
		ret = read_image(spec, settings, err);
	if (ret == 0)
		ret = read_lines(spec, VM_ANNOTATION "disk", add_disk, settings, err);
	return ret == 0 ? read_lines(spec, VM_ANNOTATION "device", add_device, settings, err) : ret;
}
