/* SPDX-License-Identifier: Apache-2.0 */
/* config-vm.md: the hypervisor, the kernel and the disk of a container that is a virtual machine. */
#include "spec/parts.h"
#include "spec/runtime.h"

static const struct spec_field hypervisor_fields[] = {
	SPEC_REQUIRED(struct oci_vm, hypervisor.path, "path", spec_read_path),
	SPEC_FIELD(struct oci_vm, hypervisor.parameters, "parameters", spec_read_strings),
};
static const struct spec_object hypervisor = { hypervisor_fields, SPEC_COUNT(hypervisor_fields), false, NULL };

static const struct spec_field kernel_fields[] = {
	SPEC_REQUIRED(struct oci_vm, kernel.path, "path", spec_read_path),
	SPEC_FIELD(struct oci_vm, kernel.parameters, "parameters", spec_read_strings),
	SPEC_FIELD(struct oci_vm, kernel.initrd, "initrd", spec_read_path),
};
static const struct spec_object kernel = { kernel_fields, SPEC_COUNT(kernel_fields), false, NULL };

/* The document knows more of them: whoever opens the image says which it can read. */
static const struct spec_words format_words = {
	"unknown image format: \"",
	"\"",
	(const char *const[]){ "raw", "qcow2", "vdi", "vmdk", "vhd", NULL },
};
static const struct spec_field image_fields[] = {
	SPEC_REQUIRED(struct oci_vm, image.path, "path", spec_read_path),
	SPEC_REQUIRED_HOW(struct oci_vm, image.format, "format", spec_read_known_word, &format_words),
};
static const struct spec_object image = { image_fields, SPEC_COUNT(image_fields), false, NULL };

static const struct spec_range vcpus_range = { 0, UINT32_MAX };
static const struct spec_field hardware_fields[] = {
	SPEC_FIELD_HOW(struct oci_vm, hardware.vcpus, "vcpus", spec_read_u32, &vcpus_range),
	SPEC_FIELD(struct oci_vm, hardware.memory, "memory", spec_read_u64),
};
static const struct spec_object hardware = { hardware_fields, SPEC_COUNT(hardware_fields), false, NULL };

/* The kernel is demanded by the document and not here: we have one for who names none. */
static const struct spec_field vm_fields[] = {
	{ "hypervisor", 0, spec_read_object, &hypervisor, false },
	{ "kernel", 0, spec_read_object, &kernel, false },
	{ "image", 0, spec_read_object, &image, false },
	{ "hwConfig", 0, spec_read_object, &hardware, false },
};
const struct spec_object spec_vm = { vm_fields, SPEC_COUNT(vm_fields), true, NULL };
