/* SPDX-License-Identifier: Apache-2.0 */
/* What configurations say of machines, and what they may not say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "paradigm/vm/settings.h"

#define MIB (UINT64_C(1) << 20)

/* rest: further members of config.json, each with a comma before it. */
static int read_settings(const char *rest, struct oci_spec *spec, struct vm_settings *settings, struct error *err)
{
	cleanup_str struct str text = STR_INIT;

	str_printf(&text, "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"}%s}", rest);
	if (oci_spec_parse(str_text(&text), text.length, spec, err) < 0)
		fail_msg("%s", err->text);
	return vm_settings_read(spec, settings, err);
}

static void with_nothing_said_there_are_defaults(void **state)
{
	struct vm_settings settings;
	struct error err = ERROR_INIT;
	struct oci_spec spec;

	(void)state;
	assert_int_equal(read_settings("", &spec, &settings, &err), 0);
	assert_int_equal(settings.engine, VM_WISH_AUTO);
	assert_int_equal(settings.boot_seconds, 120);
	assert_true(settings.memory == VM_MEMORY_DEFAULT_MIB * MIB && !settings.limited);
	assert_int_equal(settings.vcpus, 1);
	assert_null(settings.kernel);
	assert_null(settings.image);
	assert_int_equal(settings.disks_count, 0);
	oci_spec_free(&spec);
}

static void limits_are_the_size_of_the_machine(void **state)
{
	struct vm_settings settings;
	struct error err = ERROR_INIT;
	struct oci_spec spec;

	(void)state;
	assert_int_equal(read_settings(",\"linux\":{\"resources\":{\"memory\":{\"limit\":268435457},"
				       "\"cpu\":{\"quota\":150000,\"period\":100000}}}",
				       &spec, &settings, &err),
			 0);
	assert_true(settings.memory == 258 * MIB && settings.limited);
	assert_int_equal(settings.vcpus, 2);
	oci_spec_free(&spec);
	/* What is said of the machine itself comes first. */
	assert_int_equal(read_settings(",\"vm\":{\"hwConfig\":{\"memory\":1073741824,\"vcpus\":3}},\"linux\":{"
				       "\"resources\":{\"memory\":{\"limit\":-1},\"cpu\":{\"quota\":150000}}}",
				       &spec, &settings, &err),
			 0);
	assert_true(settings.memory == 1024 * MIB && !settings.limited);
	assert_int_equal(settings.vcpus, 3);
	oci_spec_free(&spec);
	/* A quota of many more CPUs than a machine can have is no error: nobody asked for so many vCPUs. */
	assert_int_equal(
		read_settings(",\"linux\":{\"resources\":{\"cpu\":{\"quota\":100000000}}}", &spec, &settings, &err), 0);
	assert_int_equal(settings.vcpus, VM_VCPUS_MAX);
	oci_spec_free(&spec);
}

static void annotations_say_the_rest(void **state)
{
	struct vm_settings settings;
	struct error err = ERROR_INIT;
	struct oci_spec spec;

	(void)state;
	assert_int_equal(
		read_settings(",\"vm\":{\"kernel\":{\"path\":\"/k\",\"initrd\":\"/i\",\"parameters\":[\"a=b\"]},"
			      "\"image\":{\"path\":\"/d\",\"format\":\"qcow2\"},\"hwConfig\":{\"vcpus\":3}},"
			      "\"annotations\":{\"org.caisson.vm.engine\":\"qemu\",\"org.caisson.vm.machine\":\"q35\","
			      "\"org.caisson.vm.boot-timeout\":\"7\","
			      "\"org.caisson.vm.hugepages\":\"1G\",\"org.caisson.vm.vcpu-pin\":\"0-1,7\","
			      "\"org.caisson.vm.image.backing\":\"/b\",\"org.caisson.vm.vsock\":\"/v\","
			      "\"org.caisson.vm.disk\":\"/a,ro\\n/b.qcow2\\n/c,format=qcow2,readonly,backing=/"
			      "d.qcow2,backing=/e\\n\"}",
			      &spec, &settings, &err),
		0);
	assert_int_equal(settings.engine, VM_WISH_QEMU);
	assert_string_equal(settings.machine, "q35");
	assert_int_equal(settings.boot_seconds, 7);
	assert_true(settings.hugepages == 1024 * MIB && settings.memory == 1024 * MIB);
	assert_int_equal(settings.pins_count, 3);
	assert_true(settings.pins[0] == 0 && settings.pins[1] == 1 && settings.pins[2] == 7);
	assert_string_equal(settings.kernel, "/k");
	assert_string_equal(settings.initrd, "/i");
	assert_string_equal(settings.parameters.items[0], "a=b");
	assert_string_equal(settings.backing, "/b");
	assert_string_equal(settings.vsock, "/v");
	assert_int_equal(settings.disks_count, 3);
	assert_string_equal(settings.disks[0].path, "/a");
	assert_true(settings.disks[0].read_only && strcmp(settings.disks[0].format, "raw") == 0);
	assert_true(!settings.disks[1].read_only && strcmp(settings.disks[1].format, "qcow2") == 0);
	assert_int_equal(settings.disks[1].backing_count, 0);
	assert_int_equal(settings.disks[2].backing_count, 2);
	assert_string_equal(settings.disks[2].backing[0], "/d.qcow2");
	assert_string_equal(settings.disks[2].backing_formats[0], "qcow2");
	assert_string_equal(settings.disks[2].backing[1], "/e");
	assert_string_equal(settings.disks[2].backing_formats[1], "raw");
	assert_true(settings.disks[2].read_only && strcmp(settings.disks[2].format, "qcow2") == 0);
	oci_spec_free(&spec);
	assert_int_equal(read_settings(",\"vm\":{\"hypervisor\":{\"path\":\"/q\"}}", &spec, &settings, &err), 0);
	assert_int_equal(settings.engine, VM_WISH_QEMU);
	assert_string_equal(settings.qemu, "/q");
	oci_spec_free(&spec);
}

/* For who cannot write a "vm" of config.json. */
static void annotations_say_what_the_document_could(void **state)
{
	static const char annotations[] =
		",\"annotations\":{\"org.caisson.vm.kernel\":\"k\",\"org.caisson.vm.initrd\":\"/i\","
		"\"org.caisson.vm.vcpus\":\"2\",\"org.caisson.vm.memory\":\"1g\"}";
	cleanup_str struct str both = STR_INIT;
	struct vm_settings settings;
	struct error err = ERROR_INIT;
	struct oci_spec spec;

	(void)state;
	assert_int_equal(read_settings(annotations, &spec, &settings, &err), 0);
	assert_string_equal(settings.kernel, "k");
	assert_string_equal(settings.initrd, "/i");
	assert_true(settings.vcpus == 2 && settings.memory == 1024 * MIB);
	oci_spec_free(&spec);
	str_printf(&both, "%s,\"vm\":{\"kernel\":{\"path\":\"/d\"},\"hwConfig\":{\"vcpus\":1,\"memory\":536870912}}",
		   annotations);
	assert_int_equal(read_settings(str_text(&both), &spec, &settings, &err), 0);
	assert_string_equal(settings.kernel, "/d");
	assert_null(settings.initrd);
	assert_true(settings.vcpus == 1 && settings.memory == 512 * MIB);
	oci_spec_free(&spec);
}

#define ANNOTATION(name, value) ",\"annotations\":{\"org.caisson.vm." name "\":\"" value "\"}"

static void what_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *text, *words;
		int code;
	} bad[] = {
		{ ",\"linux\":{\"resources\":{\"memory\":{\"limit\":33554432}}}", "32 MiB of memory are too little",
		  EINVAL },
		{ ",\"vm\":{\"hwConfig\":{\"memory\":18446744073709551615}}", "more memory than", EINVAL },
		{ ",\"vm\":{\"hwConfig\":{\"vcpus\":65}}", "at most 64 vCPUs, not 65", EINVAL },
		{ ",\"vm\":{\"hypervisor\":{\"path\":\"/q\",\"parameters\":[\"-x\"]}}", "not supported", ENOTSUP },
		{ ",\"vm\":{\"image\":{\"path\":\"/q\",\"format\":\"vmdk\"}}", "qemu-img convert", ENOTSUP },
		{ ANNOTATION("boot-timeout", "soon"), "\"soon\" is no number of seconds", EINVAL },
		{ ANNOTATION("engine", "xen"), "unknown engine \"xen\"", EINVAL },
		{ ANNOTATION("memory", "much"), "invalid size of memory", EINVAL },
		{ ANNOTATION("vcpus", "-1"), "is no number of vCPUs", EINVAL },
		{ ANNOTATION("machine", "q35,accel=kvm"), "no name of a machine", EINVAL },
		{ ANNOTATION("hugepages", "4K"), "unknown size", EINVAL },
		{ ANNOTATION("vcpu-pin", "0-3"), "4 CPUs to pin 1 vCPUs", EINVAL },
		{ ANNOTATION("vcpu-pin", "0,"), "no list of CPUs", EINVAL },
		{ ANNOTATION("vcpu-pin", "3-1"), "no list of CPUs", EINVAL },
		{ ANNOTATION("vcpu-pin", "0-9999"), "no list of CPUs", EINVAL },
		{ ANNOTATION("vcpu-pin", "99999999999"), "no list of CPUs", EINVAL },
		{ ANNOTATION("disk", "disk.img"), "must be an absolute path", EINVAL },
		{ ANNOTATION("disk", "/d,cache=none"), "unknown option \"cache=none\" of disk /d", EINVAL },
		{ ANNOTATION("disk", "/d.qcow2,backing=e"), "\"e\" must be an absolute path", EINVAL },
		{ ANNOTATION("disk", "/d,backing=/e"), "/d is raw, and stands on no other", EINVAL },
		{ ANNOTATION("disk", "/d.qcow2,backing=/e,backing=/f"), "/e is raw, and stands on no other", EINVAL },
		{ ANNOTATION("disk", "/d.qcow2,backing=/1,backing=/2,backing=/3,backing=/4,backing=/5,backing=/6,"
				     "backing=/7,backing=/8"),
		  "more than 7 others", EINVAL },
		{ ANNOTATION("disk", "/1\\n/2\\n/3\\n/4\\n/5\\n/6\\n/7\\n/8"), "at most 8 disks", EINVAL },
		{ ANNOTATION("vsock", "v"), "must be an absolute path", EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct vm_settings settings;
		struct error err = ERROR_INIT;
		struct oci_spec spec;

		if (read_settings(bad[i].text, &spec, &settings, &err) != -bad[i].code ||
		    !strstr(err.text, bad[i].words))
			fail_msg("%s: %s", bad[i].text, err.text);
		oci_spec_free(&spec);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_nothing_said_there_are_defaults),
		cmocka_unit_test(limits_are_the_size_of_the_machine),
		cmocka_unit_test(annotations_say_the_rest),
		cmocka_unit_test(annotations_say_what_the_document_could),
		cmocka_unit_test(what_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
