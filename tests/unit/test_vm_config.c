/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/config: what is written is read again; what nobody writes is refused by name. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "paradigm/vm/config.h"

static void test_round_trip(void **state)
{
	struct vm_config config = VM_CONFIG_INIT, again;
	cleanup_str struct str first = STR_INIT, second = STR_INIT;
	struct arena arena = { 0 };
	struct error err = ERROR_INIT;

	(void)state;
	config.engine = VM_ENGINE_QEMU;
	config.kind = VM_KIND_VM;
	config.kernel = 7;
	config.machine = "pc";
	config.command_line = "quiet \"x\\y\"\n";
	config.memory = UINT64_C(1) << 40;
	config.vcpus = VM_VCPUS_MAX;
	config.pins[0] = 3;
	config.pins[1] = 0;
	config.pins_count = 2;
	config.disks_count = VM_DISKS_MAX;
	for (size_t i = 0; i < VM_DISKS_MAX; i++) {
		config.disks[i].chain_count = i + 1;
		for (size_t k = 0; k <= i; k++) {
			config.disks[i].chain[k].fd = (int)(10 * i + k);
			config.disks[i].chain[k].format = k % 2 ? "raw" : "qcow2";
		}
		config.disks[i].read_only = i % 2;
	}
	config.nets[0] = (struct vm_net){ .taps = { 90, 93 }, .taps_count = 2, .mac = "02:00:00:00:00:01" };
	config.nets_count = 1;
	config.shares[0] = (struct vm_share){ .fd = 91, .tag = "share0", .read_only = true, .mount = 5 };
	config.shares_count = 1;
	config.files[0] = (struct vm_file){ .fd = 92, .mount = 4000000000U };
	config.files_count = 1;
	config.cid = UINT32_MAX;
	vm_config_write(&config, &first);
	assert_false(str_failed(&first));
	assert_int_equal(vm_config_read(first.text, first.length, &arena, &again, &err), 0);
	assert_string_equal(again.command_line, config.command_line);
	assert_null(again.qemu);
	assert_int_equal(again.disks[7].chain[6].fd, 76);
	assert_int_equal(again.nets[0].taps[1], 93);
	assert_int_equal(again.nets[0].vhosts_count, 0);
	assert_string_equal(again.shares[0].tag, "share0");
	assert_int_equal(again.files[0].mount, 4000000000U);
	vm_config_write(&again, &second);
	assert_string_equal(first.text, second.text);
	arena_free(&arena);
}

static void test_defaults(void **state)
{
	static const char text[] = "{\"kernel\":3}";
	const struct vm_config plain = VM_CONFIG_INIT;
	struct vm_config config;
	struct arena arena = { 0 };
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(vm_config_read(text, strlen(text), &arena, &config, &err), 0);
	assert_int_equal(config.kernel, 3);
	assert_int_equal(config.oci, -1);
	assert_int_equal(config.snapshot_memory, -1);
	assert_true(config.memory == plain.memory);
	assert_int_equal(config.vcpus, 1);
	arena_free(&arena);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "", "line 1" },
		{ "[]", "expected an object, got an array" },
		{ "{}", "kernel: is required" },
		{ "{\"kernle\":3}", "\"kernle\" is not known" },
		{ "{\"kernel\":3,\"kernel\":4}", "\"kernel\" is there twice" },
		{ "{\"kernel\":-2}", "kernel: -2 is out of range" },
		{ "{\"kernel\":1048577}", "kernel: 1048577 is out of range" },
		{ "{\"kernel\":\"3\"}", "kernel: expected an integer, got a string" },
		{ "{\"kernel\":3,\"engine\":\"xen\"}", "engine: \"xen\" is not known" },
		{ "{\"kernel\":3,\"engine\":1}", "engine: expected a string, got an integer" },
		{ "{\"kernel\":3,\"memory\":9223372036854775808}", "memory: 9223372036854775808 is out of range" },
		{ "{\"kernel\":3,\"memory\":-1}", "memory: -1 is out of range" },
		{ "{\"kernel\":3,\"vcpus\":0}", "vcpus: must be from 1 to 64" },
		{ "{\"kernel\":3,\"vcpus\":65}", "vcpus: must be from 1 to 64" },
		{ "{\"kernel\":3,\"pins\":[1,-1]}", "pins: [1]: -1 is out of range" },
		{ "{\"kernel\":3,\"pins\":{}}", "pins: expected an array, got an object" },
		{ "{\"kernel\":3,\"disks\":[{},{},{},{},{},{},{},{},{}]}", "disks: more than 8 items" },
		{ "{\"kernel\":3,\"disks\":[{\"chain\":[]}]}", "disks: [0]: chain: must not be empty" },
		{ "{\"kernel\":3,\"disks\":[{\"chain\":[{\"format\":\"raw\"}]}]}",
		  "disks: [0]: chain: [0]: fd: is required" },
		{ "{\"kernel\":3,\"disks\":[{\"chain\":[{\"fd\":4,\"format\":\"vmdk\"}]}]}",
		  "disks: [0]: chain: [0]: format: must be raw or qcow2" },
		{ "{\"kernel\":3,\"disks\":[{\"read_only\":1}]}",
		  "disks: [0]: read_only: expected true or false, got an integer" },
		{ "{\"kernel\":3,\"shares\":[{\"fd\":4}]}", "shares: [0]: fd and tag are required" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct arena arena = { 0 };
		struct error err = ERROR_INIT;
		struct vm_config config;

		assert_int_equal(vm_config_read(bad[i].text, strlen(bad[i].text), &arena, &config, &err), -EINVAL);
		if (!strstr(err.text, bad[i].words))
			fail_msg("%s: %s", bad[i].text, err.text);
		arena_free(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
