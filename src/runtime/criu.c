/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/criu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"
#include "linux/fdpass.h"

enum { MESSAGE_MAX = 65536, STAGE_MAX = 64 };

/* How a field's value is written: the low three bits of its key. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* Fields of criu_req and criu_resp. */
enum { REQUEST_TYPE = 1, REQUEST_OPTIONS = 2, REQUEST_NOTIFY_SUCCESS = 3, TYPE_NOTIFY = 6 };
enum {
	RESPONSE_TYPE = 1,
	RESPONSE_SUCCESS = 2,
	RESPONSE_RESTORE = 4,
	RESPONSE_NOTIFY = 5,
	RESPONSE_ERRNO = 7,
	RESPONSE_MESSAGE = 9
};

/* Seven bits a byte, the lowest first. */
static void append_varint(struct str *message, uint64_t number)
{
	do {
		unsigned char byte = (number & 0x7f) | (number > 0x7f ? 0x80 : 0);

		str_append_bytes(message, &byte, 1);
		number >>= 7;
	} while (number);
}

void criu_number(struct str *message, unsigned field, uint64_t number)
{
	append_varint(message, field << 3 | WIRE_VARINT);
	append_varint(message, number);
}

void criu_flag(struct str *message, unsigned field, bool flag)
{
	if (flag)
		criu_number(message, field, 1);
}

void criu_bytes(struct str *message, unsigned field, const void *bytes, size_t size)
{
	append_varint(message, field << 3 | WIRE_BYTES);
	append_varint(message, size);
	str_append_bytes(message, bytes, size);
}

void criu_text(struct str *message, unsigned field, const char *text)
{
	if (text)
		criu_bytes(message, field, text, strlen(text));
}

/* What is left to read of a message. */
struct wire {
	const unsigned char *at, *end;
};

struct wire_field {
	unsigned number;
	uint64_t value;
	struct wire bytes; /* of WIRE_BYTES */
};

static bool read_varint(struct wire *wire, uint64_t *number)
{
	*number = 0;
	for (unsigned shift = 0; wire->at < wire->end && shift < 64; shift += 7) {
		unsigned char byte = *wire->at++;

		*number |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

/* 1 with a field, 0 at the end, -EPROTO. */
static int next_field(struct wire *wire, struct wire_field *field)
{
	uint64_t key, skip = 0;

	if (wire->at == wire->end)
		return 0;
	if (!read_varint(wire, &key))
		return -EPROTO;
	*field = (struct wire_field){ .number = (unsigned)(key >> 3) };
	switch (key & 7) {
	case WIRE_VARINT:
		return read_varint(wire, &field->value) ? 1 : -EPROTO;
	case WIRE_BYTES:
		if (!read_varint(wire, &skip))
			return -EPROTO;
		break;
	case WIRE_64:
		skip = 8;
		break;
	case WIRE_32:
		skip = 4;
		break;
	default:
		return -EPROTO;
	}
	if (skip > (uint64_t)(wire->end - wire->at))
		return -EPROTO;
	field->bytes = (struct wire){ wire->at, wire->at + skip };
	wire->at += skip;
	return 1;
}

struct response {
	uint64_t type, success, error_number;
	pid_t restored, pid;
	char stage[STAGE_MAX], message[256];
};

static void copy_text(struct wire text, char *to, size_t room)
{
	(void)snprintf(to, room, "%.*s", (int)(text.end - text.at), (const char *)text.at);
	to[strcspn(to, "\n")] = '\0';
}

/* Of the messages inside: criu_notify has the stage's name and the pid, criu_restore_resp has the pid first. */
static int parse_inner(struct wire wire, char stage[STAGE_MAX], pid_t *pid, unsigned pid_field)
{
	struct wire_field field;
	int ret;

	while ((ret = next_field(&wire, &field)) == 1) {
		if (field.number == pid_field)
			*pid = (pid_t)field.value;
		else if (field.number == 1 && stage)
			copy_text(field.bytes, stage, STAGE_MAX);
	}
	return ret;
}

static int parse_response(const char *bytes, size_t size, struct response *response)
{
	struct wire wire = { (const unsigned char *)bytes, (const unsigned char *)bytes + size };
	struct wire_field field;
	int ret;

	*response = (struct response){ .type = 0 };
	while ((ret = next_field(&wire, &field)) == 1) {
		switch (field.number) {
		case RESPONSE_TYPE:
			response->type = field.value;
			break;
		case RESPONSE_SUCCESS:
			response->success = field.value;
			break;
		case RESPONSE_RESTORE:
			ret = parse_inner(field.bytes, NULL, &response->restored, 1);
			break;
		case RESPONSE_NOTIFY:
			ret = parse_inner(field.bytes, response->stage, &response->pid, 2);
			break;
		case RESPONSE_ERRNO:
			response->error_number = field.value;
			break;
		case RESPONSE_MESSAGE:
			copy_text(field.bytes, response->message, sizeof(response->message));
			break;
		default:
			break;
		}
		if (ret < 0)
			break;
	}
	return ret;
}

__attribute__((noreturn)) static void become_criu(const char *program, enum criu_type type, int socket, int report)
{
	char number[12];
	sigset_t none;
	int code;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Of a pre-dump it complains that no dump follows on the same connection; what matters is in its log. */
	if (type == CRIU_PRE_DUMP)
		(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	(void)snprintf(number, sizeof(number), "%d", socket);
	(void)fcntl(socket, F_SETFD, 0);
	(void)execlp(program, program, "swrk", number, (char *)NULL);
	code = errno;
	(void)file_write_all(report, &code, sizeof(code));
	_exit(127);
}

static int send_request(int socket, const struct str *message, struct error *err)
{
	if (message->failed)
		return error_errno(err, ENOMEM, "cannot run criu");
	return fdpass_send(socket, NULL, 0, message->text, message->length, err);
}

static int answer_stage(int socket, bool good, struct error *err)
{
	cleanup_str struct str message = STR_INIT;

	criu_number(&message, REQUEST_TYPE, TYPE_NOTIFY);
	criu_number(&message, REQUEST_NOTIFY_SUCCESS, good);
	return send_request(socket, &message, err);
}

static const char *type_name(enum criu_type type)
{
	return type == CRIU_DUMP ? "DUMP" : type == CRIU_RESTORE ? "RESTORE" : "PRE_DUMP";
}

static int refusal(const struct response *response, enum criu_type type, struct error *err)
{
	(void)error_set(err, EIO, "criu failed: type %s errno %d", type_name(type), (int)response->error_number);
	if (*response->message)
		(void)error_hint(err, "%s", response->message);
	return -EIO;
}

/* Until CRIU has said how it went.  A stage that failed here is the error, whatever CRIU makes of it. */
static int converse(int socket, enum criu_type type, criu_stage_fn *stage, void *context, struct error *err)
{
	cleanup_free char *buffer = malloc(MESSAGE_MAX);
	int failed = 0;

	if (!buffer)
		return error_errno(err, ENOMEM, "cannot run criu");
	for (;;) {
		struct error ignored = ERROR_INIT;
		struct response response;
		size_t count = 1;
		int fd = -1, ret = fdpass_receive(socket, &fd, &count, buffer, MESSAGE_MAX, &ignored);

		if (count == 0)
			fd = -1;
		if (ret > 0)
			ret = parse_response(buffer, (size_t)ret, &response) < 0 ? -EPROTO : 1;
		if (ret == 1 && response.type == TYPE_NOTIFY && failed == 0 && stage) {
			failed = stage(context, response.stage, response.pid, fd, err);
			fd = -1;
		}
		if (fd >= 0)
			close(fd);
		if (ret <= 0)
			return failed ? failed : error_set(err, EIO, "criu failed: type %s", type_name(type));
		if (response.type != TYPE_NOTIFY)
			return failed ? failed : response.success ? response.restored : refusal(&response, type, err);
		if (answer_stage(socket, failed == 0, failed ? NULL : err) < 0)
			return failed ? failed : -EIO;
	}
}

static int missing(const char *program, int code, struct error *err)
{
	if (code == ENOENT)
		return error_set(err, ENOENT,
				 "criu failed: exec: \"%s\": executable file not found in $PATH; install criu to "
				 "checkpoint and restore containers",
				 program);
	return error_errno(err, code, "criu failed: exec: \"%s\"", program);
}

int criu_run(const char *program, enum criu_type type, const struct str *options, criu_stage_fn *stage, void *context,
	     struct error *err)
{
	cleanup_str struct str request = STR_INIT;
	int pair[2], report[2], code = 0, status, ret;
	pid_t pid;

	if (str_failed(options))
		return error_errno(err, ENOMEM, "cannot run criu");
	criu_number(&request, REQUEST_TYPE, type);
	criu_bytes(&request, REQUEST_OPTIONS, options->text, options->length);
	if (pipe2(report, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot run criu");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		ret = error_errno(err, errno, "cannot run criu");
		fds_close(report, 2);
		return ret;
	}
	pid = fork();
	if (pid == 0)
		become_criu(program, type, pair[1], report[1]);
	ret = pid < 0 ? error_errno(err, errno, "cannot run criu") : 0;
	close(report[1]);
	close(pair[1]);
	if (ret == 0 && read(report[0], &code, sizeof(code)) == sizeof(code))
		ret = missing(program, code, err);
	/* One that ends before it listens has logged why. */
	if (ret == 0 && send_request(pair[0], &request, NULL) < 0)
		ret = error_set(err, EIO, "criu failed: type %s", type_name(type));
	if (ret == 0)
		ret = converse(pair[0], type, stage, context, err);
	/* The end of the conversation is CRIU's. */
	close(pair[0]);
	close(report[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return ret;
}
