/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device programs: what they say is compared with the rules' own meaning for many accesses, by a machine that
 * knows just the instructions they use; then the kernel loads them, and a process in a real cgroup opens devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/bpf.h"
#include "linux/cgroup.h"

enum { M = BPF_DEVCG_ACC_MKNOD, R = BPF_DEVCG_ACC_READ, W = BPF_DEVCG_ACC_WRITE };

static struct cgroup_device_rule rule(bool allow, char type, int64_t major, int64_t minor, int access)
{
	return (struct cgroup_device_rule){ .allow = allow,
					    .read = access & R,
					    .write = access & W,
					    .mknod = access & M,
					    .type = type,
					    .major = major,
					    .minor = minor };
}

/* The rules' meaning, said plainly. */
static bool meant(const struct cgroup_device_rule *rules, size_t count, int type, uint32_t major, uint32_t minor,
		  int access)
{
	for (int kind = 1; kind <= W; kind <<= 1) {
		bool allowed = false;

		if (!(access & kind))
			continue;
		for (size_t i = 0; i < count; i++) {
			const struct cgroup_device_rule *r = &rules[i];
			bool named = (kind == R && r->read) || (kind == W && r->write) || (kind == M && r->mknod);
			bool device = r->type == 'a' ||
				      (r->type == (type == BPF_DEVCG_DEV_BLOCK ? 'b' : 'c') &&
				       (r->major < 0 || r->major == major) && (r->minor < 0 || r->minor == minor));

			if (named && device)
				allowed = r->allow;
		}
		if (!allowed)
			return false;
	}
	return true;
}

/* Runs a program; -1 when it does what the kernel would refuse. */
static int interpret(const struct bpf_insn *insns, size_t count, const struct bpf_cgroup_dev_ctx *context)
{
	uint64_t regs[16] = { 0 };
	uint32_t word;

	for (size_t at = 0; at < count; at++) {
		const struct bpf_insn *insn = &insns[at];
		uint64_t *dst = &regs[insn->dst_reg];

		switch (insn->code) {
		case BPF_LDX | BPF_MEM | BPF_W:
			memcpy(&word, (const char *)context + insn->off, sizeof(word));
			*dst = word;
			break;
		case BPF_ALU | BPF_MOV | BPF_X:
			*dst = (uint32_t)regs[insn->src_reg];
			break;
		case BPF_ALU64 | BPF_MOV | BPF_K:
			*dst = (uint64_t)(int64_t)insn->imm;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			*dst = (uint32_t)*dst & (uint32_t)insn->imm;
			break;
		case BPF_ALU | BPF_RSH | BPF_K:
			*dst = (uint32_t)*dst >> insn->imm;
			break;
		case BPF_JMP32 | BPF_JNE | BPF_K:
			at += (uint32_t)*dst != (uint32_t)insn->imm ? (size_t)insn->off : 0;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			at += *dst & (uint64_t)(int64_t)insn->imm ? (size_t)insn->off : 0;
			break;
		case BPF_JMP | BPF_JA:
			at += (size_t)insn->off;
			break;
		case BPF_JMP | BPF_EXIT:
			return (int)regs[BPF_REG_0];
		default:
			return -1;
		}
	}
	return -1;
}

static void check(const struct cgroup_device_rule *rules, size_t count)
{
	static const uint32_t NUMBERS[] = { 0, 1, 3, 5, 136, 0x7fffffff, 0x80000000, 0xffffffff };
	cleanup_free struct bpf_insn *insns = NULL;
	struct error err = ERROR_INIT;
	size_t insn_count;

	if (bpf_device_program(rules, count, &insns, &insn_count, &err) < 0)
		fail_msg("%s", err.text);
	for (int type = BPF_DEVCG_DEV_BLOCK; type <= BPF_DEVCG_DEV_CHAR; type++)
		for (size_t i = 0; i < 8; i++)
			for (size_t j = 0; j < 8; j++)
				for (int access = 1; access <= (M | R | W); access++) {
					struct bpf_cgroup_dev_ctx context = { .access_type = (uint32_t)(access << 16 |
													type),
									      .major = NUMBERS[i],
									      .minor = NUMBERS[j] };
					bool want = meant(rules, count, type, NUMBERS[i], NUMBERS[j], access);
					int got = interpret(insns, insn_count, &context);

					if (got != want)
						fail_msg("type %d %u:%u access %d: %d", type, NUMBERS[i], NUMBERS[j],
							 access, got);
				}
	if (geteuid() == 0) {
		int fd = bpf_device_load(insns, insn_count, "caisson_test", &err);

		if (fd < 0)
			fail_msg("%s", err.text);
		close(fd);
	}
}

static void test_meaning(void **state)
{
	const struct cgroup_device_rule deny = rule(false, 'a', -1, -1, M | R | W);
	const struct cgroup_device_rule allow = rule(true, 'a', -1, -1, M | R | W);
	const struct cgroup_device_rule usual[] = {
		deny,
		rule(true, 'c', -1, -1, M),
		rule(true, 'b', -1, -1, M),
		rule(true, 'c', 1, 3, M | R | W),
		rule(true, 'c', 1, 5, R | W),
		rule(true, 'c', 136, -1, M | R | W),
		rule(true, 'c', 5, 0xffffffff, R),
		rule(false, 'c', 1, 5, W),
	};
	const struct cgroup_device_rule middle[] = { usual[3], deny, usual[4], allow,
						     rule(false, 'b', 0x80000000, -1, R) };
	const struct cgroup_device_rule parts[] = { rule(true, 'a', -1, -1, R), rule(true, 'c', 1, -1, W),
						    rule(false, 'a', 7, 7, M), rule(true, 'b', -1, 3, 0) };

	(void)state;
	check(NULL, 0);
	check(&deny, 1);
	check(&allow, 1);
	check(usual, sizeof(usual) / sizeof(*usual));
	check(middle, sizeof(middle) / sizeof(*middle));
	check(parts, sizeof(parts) / sizeof(*parts));
}

static void test_random(void **state)
{
	static const int64_t NUMBERS[] = { -1, 0, 1, 3, 5, 136, 0xffffffff };
	struct cgroup_device_rule rules[12];
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 200; round++) {
		size_t count = (size_t)rand_r(&seed) % 12;

		for (size_t i = 0; i < count; i++)
			rules[i] = rule(rand_r(&seed) & 1, "abcc"[rand_r(&seed) & 3], NUMBERS[rand_r(&seed) % 7],
					NUMBERS[rand_r(&seed) % 7], rand_r(&seed) & 7);
		check(rules, count);
	}
}

static void test_bad_rules(void **state)
{
	const struct cgroup_device_rule bad[] = {
		rule(true, 'u', 1, 1, R),
		rule(true, 'c', -2, 1, R),
		rule(true, 'c', 1, INT64_C(0x100000000), R),
		rule(true, 0, 1, 1, R),
	};
	cleanup_free struct cgroup_device_rule *many = calloc(BPF_DEVICE_RULES_MAX + 1, sizeof(*many));
	struct bpf_insn *insns;
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(bpf_device_program(&bad[i], 1, &insns, &count, NULL), -EINVAL);
	assert_int_equal(bpf_device_program(many, BPF_DEVICE_RULES_MAX + 1, &insns, &count, NULL), -E2BIG);
	for (size_t i = 0; i < BPF_DEVICE_RULES_MAX; i++)
		many[i] = rule(i & 1, 'c', (int64_t)i, 1, R);
	check(many, BPF_DEVICE_RULES_MAX);
}

static void test_verifier_speaks(void **state)
{
	const struct bpf_insn endless[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K } };
	struct error err = ERROR_INIT;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_true(bpf_device_load(endless, 1, "caisson_test", &err) < 0);
	assert_non_null(strstr(err.text, "cannot load the device program"));
	assert_non_null(strstr(err.text, "last insn"));
}

/* What a process in the cgroup may do: bit 0 read /dev/zero, bit 1 write it, bit 2 make one like it. */
static int try_devices(const struct cgroup *cgroup)
{
	int doors[CGROUP_HIERARCHIES_MAX], status, count = cgroup_doors_open(cgroup, false, doors, NULL);
	pid_t pid = fork();

	assert_true(count > 0);
	if (pid == 0) {
		char node[64];
		int result = 0;

		if (cgroup_doors_enter(doors, count) < 0)
			_exit(100);
		(void)snprintf(node, sizeof(node), "/tmp/caisson-test-node-%d", (int)getpid());
		result |= open("/dev/zero", O_RDONLY | O_CLOEXEC) >= 0 ? 1 : 0;
		result |= open("/dev/zero", O_WRONLY | O_CLOEXEC) >= 0 ? 2 : 0;
		result |= mknod(node, S_IFCHR | 0600, makedev(1, 5)) == 0 ? 4 : 0;
		(void)unlink(node);
		_exit(result);
	}
	for (int i = 0; i < count; i++)
		close(doors[i]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void set_rules(const struct cgroup *cgroup, const struct cgroup_device_rule *rules, size_t count)
{
	struct error err = ERROR_INIT;

	if (cgroup_devices_v2(cgroup, rules, count, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_kernel(void **state)
{
	const char *const none[] = { "", NULL };
	const struct cgroup_device_rule all = rule(true, 'a', -1, -1, M | R | W), zero = rule(true, 'c', 1, 5, R | M),
					rules[] = { all, rule(false, 'c', 1, 5, M | W) };
	struct cgroup_host host;
	struct cgroup cgroup;
	struct error err = ERROR_INIT;
	char path[64];
	int dir, program, before;

	(void)state;
	assert_int_equal(cgroup_host_read(&host, &err), 0);
	if (geteuid() != 0 || cgroup_host_find(&host, "") < 0) {
		cgroup_host_free(&host);
		print_message("skipped: needs root and a cgroup v2 tree\n");
		skip();
	}
	(void)snprintf(path, sizeof(path), "caisson-test-bpf-%d", (int)getpid());
	if (cgroup_create(&host, path, none, 0, false, &cgroup, &err) < 0)
		fail_msg("%s", err.text);
	dir = cgroup_v2_dir(&cgroup);
	before = try_devices(&cgroup);
	assert_int_equal(bpf_device_find(dir, "caisson_dev", &err), -ENOENT);
	set_rules(&cgroup, NULL, 0);
	assert_int_equal(try_devices(&cgroup), 0);
	set_rules(&cgroup, &zero, 1);
	assert_int_equal(try_devices(&cgroup), 5);
	set_rules(&cgroup, rules, 2);
	assert_int_equal(try_devices(&cgroup), 1);
	/* Each took the place of the one before: without the last one everything is as it was. */
	program = bpf_device_find(dir, "caisson_dev", &err);
	assert_true(program >= 0);
	assert_int_equal(bpf_device_detach(dir, program, &err), 0);
	close(program);
	assert_int_equal(try_devices(&cgroup), before);
	assert_int_equal(before, 7);
	assert_int_equal(cgroup_remove(&cgroup, &err), 0);
	cgroup_close(&cgroup);
	cgroup_host_free(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meaning),		cmocka_unit_test(test_random), cmocka_unit_test(test_bad_rules),
		cmocka_unit_test(test_verifier_speaks), cmocka_unit_test(test_kernel),
	};

	return cmocka_run_group_tests_name("bpf", tests, NULL, NULL);
}
