/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/bpf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "linux/cgroup.h"

enum {
	INSNS_PER_RULE = 12,
	INSNS_AROUND = 8,
	ALL_ACCESS = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE,
	VERIFIER_LOG_SIZE = 64 * 1024,
	LOG_TAIL = 400,
	TO_END = INT16_MAX,
	TO_RELOAD = INT16_MAX - 1,
	ATTACHED_MAX = 64,
};

/* Which registers hold what during the program. */
enum {
	RESULT = BPF_REG_0,
	CONTEXT = BPF_REG_1,
	TYPE = BPF_REG_2,
	LEFT = BPF_REG_3,
	MAJOR = BPF_REG_4,
	MINOR = BPF_REG_5
};

struct program {
	struct bpf_insn *insns;
	size_t count;
};

static void emit(struct program *program, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	program->insns[program->count++] = (struct bpf_insn){
		.code = code, .dst_reg = dst & 0xf, .src_reg = src & 0xf, .off = off, .imm = imm
	};
}

static void emit_return(struct program *program, bool allow)
{
	emit(program, BPF_ALU64 | BPF_MOV | BPF_K, RESULT, 0, 0, allow);
	emit(program, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void emit_load(struct program *program, uint8_t reg, size_t offset)
{
	emit(program, BPF_LDX | BPF_MEM | BPF_W, reg, CONTEXT, (int16_t)offset, 0);
}

static void emit_load_device(struct program *program)
{
	emit_load(program, TYPE, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	emit(program, BPF_ALU | BPF_AND | BPF_K, TYPE, 0, 0, 0xffff);
	emit_load(program, MAJOR, offsetof(struct bpf_cgroup_dev_ctx, major));
	emit_load(program, MINOR, offsetof(struct bpf_cgroup_dev_ctx, minor));
}

static void emit_prologue(struct program *program)
{
	emit_load(program, LEFT, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	emit(program, BPF_ALU | BPF_RSH | BPF_K, LEFT, 0, 0, 16);
	emit_load_device(program);
}

/* Leaves the rule for to (TO_END, TO_RELOAD) unless reg == value.  How far that is land() fills in. */
static void emit_unless(struct program *program, uint8_t reg, int64_t value, int16_t to)
{
	emit(program, BPF_JMP32 | BPF_JNE | BPF_K, reg, 0, to, (int32_t)(uint32_t)value);
}

/* The jumps to that place lead here. */
static void land(struct program *program, size_t begin, int16_t to)
{
	for (size_t i = begin; i < program->count; i++)
		if (program->insns[i].off == to)
			program->insns[i].off = (int16_t)(program->count - i - 1);
}

static int access_of(const struct cgroup_device_rule *rule)
{
	return (rule->mknod ? BPF_DEVCG_ACC_MKNOD : 0) | (rule->read ? BPF_DEVCG_ACC_READ : 0) |
	       (rule->write ? BPF_DEVCG_ACC_WRITE : 0);
}

/* LEFT holds the kinds of access that no later rule has decided.  True if the rule decides every access for good. */
static bool emit_rule(struct program *program, const struct cgroup_device_rule *rule)
{
	size_t begin = program->count;
	int access = access_of(rule);
	bool every = rule->type == 'a';

	if (access == 0)
		return false;
	if (!every)
		emit_unless(program, TYPE, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR, TO_END);
	if (!every && rule->major >= 0)
		emit_unless(program, MAJOR, rule->major, TO_END);
	if (!every && rule->minor >= 0)
		emit_unless(program, MINOR, rule->minor, TO_RELOAD);
	/* Over the two instructions of the return, unless the access is decided. */
	if (access != ALL_ACCESS && rule->allow) {
		emit(program, BPF_ALU | BPF_AND | BPF_K, LEFT, 0, 0, ALL_ACCESS & ~access);
		emit(program, BPF_JMP32 | BPF_JNE | BPF_K, LEFT, 0, 2, 0);
	} else if (access != ALL_ACCESS) {
		emit(program, BPF_JMP | BPF_JSET | BPF_K, LEFT, 0, 1, access);
		emit(program, BPF_JMP | BPF_JA, 0, 0, 2, 0);
	}
	emit_return(program, rule->allow);
	/*
	 * The verifier knows by now which device it is, and would walk the rest of the program for this one device, and
	 * again for that of every other rule: beyond some hundred rules it gives up.  Loaded anew, it is any device.
	 */
	land(program, begin, TO_RELOAD);
	if (!every && (access != ALL_ACCESS || rule->minor >= 0))
		emit_load_device(program);
	land(program, begin, TO_END);
	return every && access == ALL_ACCESS;
}

static int check_rule(const struct cgroup_device_rule *rule, size_t i, struct error *err)
{
	if (rule->type != 'a' && rule->type != 'b' && rule->type != 'c')
		return error_set(err, EINVAL, "device rule %zu: the type is a, b or c", i);
	if (rule->major < -1 || rule->major > UINT32_MAX || rule->minor < -1 || rule->minor > UINT32_MAX)
		return error_set(err, EINVAL, "device rule %zu: %lld:%lld is no device number", i,
				 (long long)rule->major, (long long)rule->minor);
	return 0;
}

int bpf_device_program(const struct cgroup_device_rule *rules, size_t rule_count, struct bpf_insn **insns,
		       size_t *count, struct error *err)
{
	struct program program = { .count = 0 };
	bool decided = false;

	if (rule_count > BPF_DEVICE_RULES_MAX)
		return error_set(err, E2BIG, "%zu device rules: at most %d are possible", rule_count,
				 BPF_DEVICE_RULES_MAX);
	for (size_t i = 0; i < rule_count; i++)
		if (check_rule(&rules[i], i, err) < 0)
			return -EINVAL;
	program.insns = calloc(rule_count * INSNS_PER_RULE + INSNS_AROUND, sizeof(*program.insns));
	if (!program.insns)
		return error_errno(err, ENOMEM, "cannot compile device rules");
	emit_prologue(&program);
	/* The verifier takes no program with code that is never reached: what comes before "all" is left out. */
	for (size_t i = rule_count; i > 0 && !decided; i--)
		decided = emit_rule(&program, &rules[i - 1]);
	if (!decided)
		emit_return(&program, false);
	*insns = program.insns;
	*count = program.count;
	return 0;
}

static int sys_bpf(int command, union bpf_attr *attr)
{
	long ret = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return ret < 0 ? -errno : (int)ret;
}

/* The last words of the verifier, on one line. */
static int verifier_error(union bpf_attr *attr, int code, struct error *err)
{
	cleanup_free char *log = calloc(1, VERIFIER_LOG_SIZE);
	size_t length;

	if (!log)
		return error_errno(err, code, "cannot load the device program");
	attr->log_buf = (uint64_t)(uintptr_t)log;
	attr->log_size = VERIFIER_LOG_SIZE;
	attr->log_level = 1;
	if (sys_bpf(BPF_PROG_LOAD, attr) >= 0)
		return error_errno(err, code, "cannot load the device program");
	length = strnlen(log, VERIFIER_LOG_SIZE - 1);
	for (size_t i = 0; i < length; i++)
		if (log[i] == '\n')
			log[i] = ';';
	(void)error_errno(err, code, "cannot load the device program");
	if (length > 0)
		(void)error_hint(err, "%s", log + (length > LOG_TAIL ? length - LOG_TAIL : 0));
	return -code;
}

int bpf_device_load(const struct bpf_insn *insns, size_t count, const char *name, struct error *err)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uint64_t)(uintptr_t)insns,
		.insn_cnt = (uint32_t)count,
		.license = (uint64_t)(uintptr_t) "Apache-2.0",
		.expected_attach_type = BPF_CGROUP_DEVICE,
	};
	int fd = -EAGAIN;

	(void)snprintf(attr.prog_name, sizeof(attr.prog_name), "%s", name);
	/* EAGAIN: the verifier was interrupted by a signal. */
	for (int tries = 0; fd == -EAGAIN && tries < 5; tries++)
		fd = sys_bpf(BPF_PROG_LOAD, &attr);
	if (fd == -EPERM) {
		(void)error_errno(err, EPERM, "cannot load the device program");
		(void)error_hint(err, "cgroup v2 controls devices by BPF programs, which need CAP_SYS_ADMIN");
		return -EPERM;
	}
	return fd < 0 ? verifier_error(&attr, -fd, err) : fd;
}

int bpf_device_attach(int cgroup_fd, int program_fd, int replace_fd, struct error *err)
{
	union bpf_attr attr = {
		.target_fd = (uint32_t)cgroup_fd,
		.attach_bpf_fd = (uint32_t)program_fd,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};
	int ret;

	if (replace_fd >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)replace_fd;
	}
	ret = sys_bpf(BPF_PROG_ATTACH, &attr);
	return ret < 0 ? error_errno(err, -ret, "cannot attach the device program") : 0;
}

int bpf_device_detach(int cgroup_fd, int program_fd, struct error *err)
{
	union bpf_attr attr = {
		.target_fd = (uint32_t)cgroup_fd,
		.attach_bpf_fd = (uint32_t)program_fd,
		.attach_type = BPF_CGROUP_DEVICE,
	};
	int ret = sys_bpf(BPF_PROG_DETACH, &attr);

	return ret < 0 ? error_errno(err, -ret, "cannot detach the device program") : 0;
}

/* The program's descriptor if it is called name, else -ENOENT; -errno. */
static int open_if_called(uint32_t id, const char *name)
{
	struct bpf_prog_info info = { .type = 0 };
	union bpf_attr by_id = { .prog_id = id }, query = { .info = { .bpf_fd = 0 } };
	cleanup_close int fd = sys_bpf(BPF_PROG_GET_FD_BY_ID, &by_id);
	int ret;

	if (fd < 0)
		return fd;
	query.info.bpf_fd = (uint32_t)fd;
	query.info.info_len = sizeof(info);
	query.info.info = (uint64_t)(uintptr_t)&info;
	ret = sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &query);
	if (ret < 0)
		return ret;
	return strncmp(info.name, name, sizeof(info.name) - 1) == 0 ? take_fd(&fd) : -ENOENT;
}

int bpf_device_find(int cgroup_fd, const char *name, struct error *err)
{
	uint32_t ids[ATTACHED_MAX];
	union bpf_attr attr = { .query = { .target_fd = (uint32_t)cgroup_fd,
					   .attach_type = BPF_CGROUP_DEVICE,
					   .prog_ids = (uint64_t)(uintptr_t)ids,
					   .prog_cnt = ATTACHED_MAX } };
	int ret = sys_bpf(BPF_PROG_QUERY, &attr);

	if (ret < 0)
		return error_errno(err, -ret, "cannot list the device programs");
	for (uint32_t i = 0; i < attr.query.prog_cnt; i++) {
		int fd = open_if_called(ids[i], name);

		if (fd != -ENOENT)
			return fd < 0 ? error_errno(err, -fd, "cannot look at device program %u", ids[i]) : fd;
	}
	return -ENOENT;
}
