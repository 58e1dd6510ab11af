/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paradigm/vm/host: sessions and their streams, the console, the control socket, each against a guest or a client
 * that the test plays.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "linux/fdpass.h"
#include "paradigm/vm/host/console.h"
#include "paradigm/vm/host/server.h"
#include "paradigm/vm/host/session.h"
#include "paradigm/vm/host/shares.h"

/* One VMM, without a machine. */
struct vmm {
	struct loop loop;
	struct sessions sessions;
	struct server server;
	struct agent_parser guest; /* hears what the host says */
	struct str heard;	   /* the kinds that it heard, as text */
	struct str bytes;	   /* of INPUT */
	size_t room;		   /* bytes that the line takes */
	unsigned int hellos, started, failed, exited, overs;
	int holds; /* snapshots that are being taken; -1: there are none */
	uint32_t status, granted_output;
	char words[128];
};

static void on_hello(void *context)
{
	((struct vmm *)context)->hellos++;
}

static void on_started(void *context, struct session *session, uint32_t pid)
{
	struct vmm *vmm = context;

	vmm->started++;
	if (session->number > 0)
		server_started(&vmm->server, session, pid);
}

static void on_failed(void *context, struct session *session, uint32_t code, const char *words)
{
	struct vmm *vmm = context;

	vmm->failed++;
	vmm->status = code;
	(void)snprintf(vmm->words, sizeof(vmm->words), "%.100s", words);
	if (session->number > 0)
		server_failed(&vmm->server, session, code, words);
}

static void on_exited(void *context, struct session *session)
{
	struct vmm *vmm = context;

	vmm->exited++;
	vmm->status = session->status;
	if (session->number > 0)
		server_exited(&vmm->server, session);
}

static void on_over(void *context, const struct session *session)
{
	(void)session;
	((struct vmm *)context)->overs++;
}

static void on_text(void *context, const char *text, size_t size)
{
	server_stats(&((struct vmm *)context)->server, text, size);
}

static void on_ready(void *context)
{
	server_ready(&((struct vmm *)context)->server);
}

/* The guest's ear. */
static size_t on_send(void *context, const void *bytes, size_t count)
{
	struct vmm *vmm = context;
	size_t taken = count < vmm->room ? count : vmm->room;
	struct agent_frame frame;
	struct error err = ERROR_INIT;
	int ret;

	vmm->room -= taken;
	memcpy(agent_parser_room(&vmm->guest, taken), bytes, taken);
	agent_parser_fed(&vmm->guest, taken);
	while ((ret = agent_parser_next(&vmm->guest, &frame, &err)) > 0) {
		uint32_t kind = 0, more = 0;

		str_printf(&vmm->heard, "%u.%u ", frame.kind, frame.session);
		if (frame.kind == AGENT_INPUT)
			str_append_bytes(&vmm->bytes, frame.payload, frame.size);
		if (frame.kind == AGENT_CREDIT_GRANT && agent_number(&frame, 0, &kind) &&
		    agent_number(&frame, 1, &more) && kind == AGENT_OUTPUT)
			vmm->granted_output += more;
	}
	assert_int_equal(ret, 0);
	return taken;
}

static void count_nothing(void *context, struct str *out)
{
	(void)context;
	str_append(out, "{}");
}

static int save_nothing(void *context, int state, int memory, struct error *err)
{
	struct vmm *vmm = context;

	if (vmm->holds < 0)
		return error_set(err, EOPNOTSUPP, "no snapshots here");
	vmm->holds++;
	return state >= 0 && memory >= 0 ? 0 : -EINVAL;
}

static void go_on(void *context)
{
	((struct vmm *)context)->holds--;
}

static int take_nothing(void *context, uint64_t bytes, struct error *err)
{
	(void)context, (void)err;
	return bytes == UINT64_C(7) << 20 ? 0 : -EINVAL;
}

static int setup(void **state)
{
	struct vmm *vmm = calloc(1, sizeof(*vmm));
	const struct sessions_owner owner = {
		.hello = on_hello,
		.started = on_started,
		.failed = on_failed,
		.exited = on_exited,
		.over = on_over,
		.log = on_text,
		.stats = on_text,
		.ready = on_ready,
		.send = on_send,
		.drained = NULL,
		.context = vmm,
	};

	assert_non_null(vmm);
	assert_int_equal(loop_open(&vmm->loop, NULL), 0);
	vmm->room = SIZE_MAX;
	vmm->guest.from = AGENT_FROM_HOST;
	sessions_open(&vmm->sessions, &vmm->loop, &owner);
	*state = vmm;
	return 0;
}

static int teardown(void **state)
{
	struct vmm *vmm = *state;

	server_close(&vmm->server);
	sessions_close(&vmm->sessions);
	agent_parser_free(&vmm->guest);
	str_free(&vmm->heard);
	str_free(&vmm->bytes);
	loop_close(&vmm->loop);
	free(vmm);
	return 0;
}

/* Rounds until nothing is ready any more. */
static void turn(struct vmm *vmm)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_wait(&vmm->loop, 0, NULL), 0);
}

static int feed(struct vmm *vmm, const struct str *frames)
{
	struct error err = ERROR_INIT;
	int ret = sessions_feed(&vmm->sessions, frames->text, frames->length, &err);

	if (ret < 0)
		(void)snprintf(vmm->words, sizeof(vmm->words), "%.100s", err.text);
	return ret;
}

/* The guest says one thing. */
static int say(struct vmm *vmm, enum agent_kind kind, uint16_t session, const void *payload, size_t size)
{
	cleanup_str struct str out = STR_INIT;

	agent_put(&out, kind, session, payload, size);
	return feed(vmm, &out);
}

static int say_numbers(struct vmm *vmm, enum agent_kind kind, uint16_t session, uint32_t first, uint32_t second)
{
	cleanup_str struct str out = STR_INIT;

	agent_put_numbers(&out, kind, session, first, second);
	return feed(vmm, &out);
}

static int say_failed(struct vmm *vmm, uint16_t session, uint32_t code, const char *words)
{
	cleanup_str struct str out = STR_INIT;

	agent_put_text(&out, AGENT_FAILED, session, code, words);
	return feed(vmm, &out);
}

static void say_hello(struct vmm *vmm)
{
	static const uint8_t version[4] = { AGENT_VERSION };

	assert_int_equal(say(vmm, AGENT_HELLO, 0, version, sizeof(version)), 0);
}

/* A workload on pipes: ours are the other ends. */
static void begin(struct vmm *vmm, int ours[3])
{
	int stdio[3];

	for (int i = 0; i < 3; i++) {
		int ends[2];

		assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
		stdio[i] = ends[i != 0];
		ours[i] = ends[i == 0];
	}
	say_hello(vmm);
	assert_non_null(sessions_start(&vmm->sessions, AGENT_CONFIG, "{}", 2, stdio, NULL, NULL));
	assert_int_equal(say_numbers(vmm, AGENT_STARTED, 0, 7, 0), 0);
}

static void expect_read(int fd, const char *text)
{
	char bytes[256];
	ssize_t count = read(fd, bytes, sizeof(bytes) - 1);

	if (!text) { /* the end */
		assert_int_equal(count, 0);
		return;
	}
	assert_int_equal(count, strlen(text));
	assert_memory_equal(bytes, text, strlen(text));
}

static void test_life(void **state)
{
	struct vmm *vmm = *state;
	int ours[3];

	begin(vmm, ours);
	assert_int_equal(vmm->hellos, 1);
	assert_int_equal(vmm->started, 1);
	assert_int_equal(write(ours[0], "typed", 5), 5);
	turn(vmm);
	assert_string_equal(str_text(&vmm->bytes), "typed");
	close(ours[0]);
	turn(vmm);
	assert_string_equal(str_text(&vmm->heard), "66.0 68.0 69.0 "); /* CONFIG, INPUT, INPUT_END */
	assert_int_equal(say(vmm, AGENT_OUTPUT, 0, "out", 3), 0);
	assert_int_equal(say(vmm, AGENT_ERRORS, 0, "err", 3), 0);
	expect_read(ours[1], "out");
	expect_read(ours[2], "err");
	assert_int_equal(say(vmm, AGENT_OUTPUT_END, 0, NULL, 0), 0);
	expect_read(ours[1], NULL);
	session_signal(sessions_workload(&vmm->sessions), 15);
	session_resize(sessions_workload(&vmm->sessions), 24, 80);
	assert_string_equal(str_text(&vmm->heard), "66.0 68.0 69.0 70.0 71.0 ");
	assert_int_equal(say_numbers(vmm, AGENT_EXIT, 0, 42, 0), 0);
	assert_int_equal(vmm->overs, 1);
	assert_int_equal(vmm->exited, 1);
	assert_int_equal(vmm->status, 42);
	assert_null(sessions_workload(&vmm->sessions));
	expect_read(ours[2], NULL);
	close(ours[1]);
	close(ours[2]);
}

/* A program that cannot be started: the words are the guest's, and the session is gone. */
static void test_failed(void **state)
{
	struct vmm *vmm = *state;
	int none[3] = { -1, -1, -1 };

	say_hello(vmm);
	assert_non_null(sessions_start(&vmm->sessions, AGENT_CONFIG, "{}", 2, none, NULL, NULL));
	assert_int_equal(say_failed(vmm, 0, ENOENT, "unable to start container process: exec: \"x\": not found"), 0);
	assert_int_equal(vmm->failed, 1);
	assert_int_equal(vmm->status, ENOENT);
	assert_string_equal(vmm->words, "exec: \"x\": not found");
	assert_null(sessions_workload(&vmm->sessions));
}

/* Without a descriptor a stream ends at once, or is dropped, and its credit comes back. */
static void test_no_descriptors(void **state)
{
	struct vmm *vmm = *state;
	int none[3] = { -1, -1, -1 };
	char bytes[AGENT_DATA_MAX] = { 0 };

	say_hello(vmm);
	assert_non_null(sessions_start(&vmm->sessions, AGENT_CONFIG, "{}", 2, none, NULL, NULL));
	assert_int_equal(say_numbers(vmm, AGENT_STARTED, 0, 7, 0), 0);
	assert_string_equal(str_text(&vmm->heard), "66.0 69.0 ");
	for (int i = 0; i < 20; i++)
		assert_int_equal(say(vmm, AGENT_OUTPUT, 0, bytes, sizeof(bytes)), 0);
	assert_true(vmm->granted_output >= 20 * sizeof(bytes) - AGENT_CREDIT);
}

/* Who does not read his output holds up the guest's stream, and we hold no more than the credit. */
static void test_credit_of_output(void **state)
{
	struct vmm *vmm = *state;
	char bytes[AGENT_DATA_MAX] = { 0 };
	size_t sent = 0, read_back = 0;
	int ours[3];
	ssize_t count;

	begin(vmm, ours);
	(void)fcntl(ours[1], F_SETPIPE_SZ, 4096);
	while (sent < AGENT_CREDIT) {
		assert_int_equal(say(vmm, AGENT_OUTPUT, 0, bytes, sizeof(bytes)), 0);
		sent += sizeof(bytes);
		turn(vmm);
	}
	assert_int_equal(vmm->granted_output, 0);
	assert_true(sessions_workload(&vmm->sessions)->output.held.length <= AGENT_CREDIT);
	assert_int_equal(say_numbers(vmm, AGENT_EXIT, 0, 0, 0), 0);
	assert_int_equal(vmm->overs, 1);
	assert_int_equal(vmm->exited, 0); /* not before everything is read */
	while (read_back < sent) {
		count = read(ours[1], bytes, sizeof(bytes));
		assert_true(count > 0 || (count < 0 && errno == EAGAIN));
		read_back += count > 0 ? (size_t)count : 0;
		turn(vmm);
	}
	assert_int_equal(vmm->exited, 1);
	for (int i = 0; i < 3; i++)
		close(ours[i]);
}

/* As much input goes out as the guest has granted, whatever is there to be read. */
static void test_credit_of_input(void **state)
{
	struct vmm *vmm = *state;
	char name[] = "/tmp/caisson-test.XXXXXX";
	int stdio[3] = { mkstemp(name), -1, -1 };

	assert_true(stdio[0] >= 0);
	unlink(name);
	assert_int_equal(ftruncate(stdio[0], 3 * AGENT_CREDIT), 0);
	say_hello(vmm);
	assert_non_null(sessions_start(&vmm->sessions, AGENT_CONFIG, "{}", 2, stdio, NULL, NULL));
	assert_int_equal(say_numbers(vmm, AGENT_STARTED, 0, 7, 0), 0);
	turn(vmm);
	assert_int_equal(vmm->bytes.length, AGENT_CREDIT);
	assert_int_equal(say_numbers(vmm, AGENT_CREDIT_GRANT, 0, AGENT_INPUT, 5), 0);
	assert_int_equal(vmm->bytes.length, AGENT_CREDIT + 5);
	/* A line that takes nothing for a while loses nothing. */
	vmm->room = 100;
	assert_int_equal(say_numbers(vmm, AGENT_CREDIT_GRANT, 0, AGENT_INPUT, AGENT_CREDIT), 0);
	assert_true(vmm->bytes.length < AGENT_CREDIT + 5 + 100);
	vmm->room = SIZE_MAX;
	sessions_room(&vmm->sessions);
	assert_int_equal(vmm->bytes.length, 2 * AGENT_CREDIT + 5);
	assert_int_equal(say_numbers(vmm, AGENT_CREDIT_GRANT, 0, AGENT_INPUT, AGENT_CREDIT), 0);
	assert_int_equal(vmm->bytes.length, 3 * AGENT_CREDIT);
	assert_true(strstr(vmm->heard.text, "69.0") != NULL); /* INPUT_END */
}

/* Nobody reads any more: the bytes are dropped, and the guest goes on. */
static void test_reader_gone(void **state)
{
	struct vmm *vmm = *state;
	char bytes[AGENT_DATA_MAX] = { 0 };
	int ours[3];

	begin(vmm, ours);
	close(ours[1]);
	for (int i = 0; i < 10; i++)
		assert_int_equal(say(vmm, AGENT_OUTPUT, 0, bytes, sizeof(bytes)), 0);
	assert_true(vmm->granted_output > 0);
	close(ours[0]);
	close(ours[2]);
}

/* What no guest of ours says ends the conversation. */
static void test_hostile(void **state)
{
	static const struct {
		bool hello, start;
		uint16_t kind, session;
		uint32_t first, second;
		const char *words;
	} bad[] = {
		{ false, false, AGENT_STARTED, 0, 1, 0, "began with a frame" },
		{ true, false, AGENT_STARTED, 0, 1, 0, "not open" },
		{ true, false, AGENT_EXIT, 5, 1, 0, "not open" },
		{ true, true, AGENT_STARTED, 0, 1, 0, "twice" },
		{ true, true, AGENT_STARTED, 1, 1, 0, "not open" },
		{ true, true, AGENT_EXIT, 64, 1, 0, "session 64" },
		{ true, true, AGENT_CREDIT_GRANT, 0, AGENT_OUTPUT, 1, "granted" },
		{ true, true, AGENT_CREDIT_GRANT, 0, AGENT_INPUT, UINT32_MAX, "granted" },
		{ true, true, AGENT_EXEC, 0, 0, 0, "unknown kind" },
		{ true, true, 999, 0, 0, 0, "unknown kind" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int none[3] = { -1, -1, -1 };
		struct vmm *vmm;

		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
		vmm = *state;
		if (bad[i].hello)
			say_hello(vmm);
		if (bad[i].start) {
			assert_non_null(sessions_start(&vmm->sessions, AGENT_CONFIG, "{}", 2, none, NULL, NULL));
			assert_int_equal(say_numbers(vmm, AGENT_STARTED, 0, 7, 0), 0);
		}
		assert_int_equal(say_numbers(vmm, bad[i].kind, bad[i].session, bad[i].first, bad[i].second), -EPROTO);
		if (!strstr(vmm->words, bad[i].words))
			fail_msg("%zu: %s", i, vmm->words);
		/* And stays ended. */
		assert_true(vmm->sessions.broken);
		say_numbers(vmm, AGENT_EXIT, 0, 1, 0);
		assert_int_equal(vmm->exited, 0);
	}
}

static void test_beyond_credit(void **state)
{
	struct vmm *vmm = *state;
	char bytes[AGENT_DATA_MAX] = { 0 };
	int ours[3], ret = 0;

	begin(vmm, ours);
	(void)fcntl(ours[1], F_SETPIPE_SZ, 4096);
	for (int i = 0; i <= AGENT_CREDIT / AGENT_DATA_MAX && ret == 0; i++)
		ret = say(vmm, AGENT_ERRORS, 0, bytes, sizeof(bytes));
	assert_int_equal(ret, 0); /* this pipe took all of it */
	for (int i = 0; i <= AGENT_CREDIT / AGENT_DATA_MAX && ret == 0; i++)
		ret = say(vmm, AGENT_OUTPUT, 0, bytes, sizeof(bytes));
	assert_int_equal(ret, -EPROTO);
	for (int i = 0; i < 3; i++)
		close(ours[i]);
}

static void test_console(void **state)
{
	struct console *console = calloc(1, sizeof(*console));
	cleanup_close int fd = memfd_create("console", MFD_CLOEXEC);
	char block[4096];

	(void)state;
	assert_non_null(console);
	for (int round = 0; round < 3; round++) {
		cleanup_str struct str tail = STR_INIT;

		console_open(console, fd);
		if (round == 2)
			console_take(console, "[ 1] Kernel panic - not syncing\r\ntrace\033[2J\r\n", 44);
		for (int i = 0; i < (round == 0 ? 600 : 0); i++) {
			memset(block, 'x', sizeof(block));
			block[sizeof(block) - 1] = '\n';
			console_take(console, block, sizeof(block));
		}
		if (round != 2)
			console_take(console, "one\r\nlast \033[31m line\r\n", 22);
		console_tail(console, 100, &tail);
		if (round == 2)
			assert_string_equal(tail.text, "[ 1] Kernel panic - not syncing\ntrace?[2J");
		else
			assert_string_equal(tail.text, "one\nlast ?[31m line");
		assert_true(lseek(fd, 0, SEEK_END) <= CONSOLE_FILE_MAX + CONSOLE_KEPT);
		assert_true(lseek(fd, 0, SEEK_END) > 0);
	}
	free(console);
}

/* ---- the control socket ---- */

struct reply {
	struct control_message head;
	char text[1024];
};

static int dial(struct vmm *vmm, int listener)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
	turn(vmm);
	return fd;
}

static int open_server(struct vmm *vmm)
{
	const struct server_owner owner = {
		.counters = count_nothing,
		.snapshot = save_nothing,
		.resume = go_on,
		.balloon = take_nothing,
		.context = vmm,
	};
	sa_family_t family = AF_UNIX;
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&family, sizeof(family)), 0); /* a name of its own */
	assert_int_equal(listen(listener, 128), 0);
	assert_int_equal(server_open(&vmm->server, &vmm->loop, listener, &vmm->sessions, &owner, NULL), 0);
	return listener;
}

static void request(struct vmm *vmm, int fd, struct control_message head, const char *text, const int *fds,
		    size_t count)
{
	struct reply message = { .head = head };

	memcpy(message.text, text, strlen(text));
	assert_int_equal(fdpass_send(fd, fds, count, &message, sizeof(head) + strlen(text), NULL), 0);
	turn(vmm);
}

static void expect_reply(int fd, uint32_t kind, uint32_t number, const char *text)
{
	struct reply reply = { 0 };
	ssize_t count = recv(fd, &reply, sizeof(reply) - 1, MSG_DONTWAIT);

	if (kind == 0) { /* the end */
		assert_int_equal(count, 0);
		return;
	}
	assert_true(count >= (ssize_t)sizeof(reply.head));
	assert_int_equal(reply.head.kind, kind);
	assert_int_equal(reply.head.number, number);
	assert_int_equal(reply.head.size, count - (ssize_t)sizeof(reply.head));
	assert_non_null(strstr(reply.text, text));
}

static void test_control_exec(void **state)
{
	struct vmm *vmm = *state;
	int listener = open_server(vmm), ours[3], pipes[2], client;

	client = dial(vmm, listener);
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	/* Before there is a workload there is nothing to join. */
	request(vmm, client, (struct control_message){ .kind = CONTROL_EXEC, .size = 2 }, "{}",
		(int[]){ pipes[1], pipes[1], pipes[1] }, 3);
	expect_reply(client, CONTROL_FAILED, EAGAIN, "does not run");
	expect_reply(client, 0, 0, NULL);
	close(client);
	begin(vmm, ours);
	client = dial(vmm, listener);
	request(vmm, client, (struct control_message){ .kind = CONTROL_EXEC, .size = 2 }, "{}",
		(int[]){ pipes[0], pipes[1], pipes[1] }, 3);
	assert_int_equal(say_numbers(vmm, AGENT_STARTED, 1, 99, 0), 0);
	expect_reply(client, CONTROL_STARTED, 99, "");
	request(vmm, client, (struct control_message){ .kind = CONTROL_SIGNAL, .number = 15 }, "", NULL, 0);
	request(vmm, client, (struct control_message){ .kind = CONTROL_RESIZE, .number = 25, .second = 80 }, "", NULL,
		0);
	assert_string_equal(str_text(&vmm->heard), "66.0 67.1 70.1 71.1 ");
	assert_int_equal(say(vmm, AGENT_OUTPUT, 1, "from exec", 9), 0);
	assert_int_equal(say_numbers(vmm, AGENT_EXIT, 1, 3, 0), 0);
	expect_reply(client, CONTROL_EXITED, 3, "");
	expect_reply(client, 0, 0, NULL);
	expect_read(pipes[0], "from exec");
	close(client);
	/* One that cannot be started; and one whose client goes away, which the process survives. */
	client = dial(vmm, listener);
	request(vmm, client, (struct control_message){ .kind = CONTROL_EXEC, .size = 2 }, "{}",
		(int[]){ pipes[0], pipes[1], pipes[1] }, 3);
	assert_int_equal(say_failed(vmm, 1, EACCES, "no"), 0);
	expect_reply(client, CONTROL_FAILED, EACCES, "no");
	close(client);
	client = dial(vmm, listener);
	request(vmm, client, (struct control_message){ .kind = CONTROL_EXEC, .size = 2 }, "{}",
		(int[]){ pipes[0], pipes[1], pipes[1] }, 3);
	close(client);
	turn(vmm);
	assert_int_equal(say_numbers(vmm, AGENT_STARTED, 1, 100, 0), 0);
	assert_int_equal(say_numbers(vmm, AGENT_EXIT, 1, 0, 0), 0);
	for (int i = 0; i < 3; i++)
		close(ours[i]);
	close(pipes[0]);
	close(pipes[1]);
}

static void test_control_requests(void **state)
{
	struct vmm *vmm = *state;
	int listener = open_server(vmm), client = dial(vmm, listener), other;

	request(vmm, client, (struct control_message){ .kind = CONTROL_COUNTERS }, "", NULL, 0);
	expect_reply(client, CONTROL_DONE, 0, "{}");
	request(vmm, client, (struct control_message){ .kind = CONTROL_BALLOON, .number = 7 }, "", NULL, 0);
	expect_reply(client, CONTROL_DONE, 0, "");
	other = dial(vmm, listener);
	request(vmm, other, (struct control_message){ .kind = CONTROL_STATS }, "", NULL, 0);
	expect_reply(other, CONTROL_FAILED, EAGAIN, "does not speak");
	close(other);
	say_hello(vmm);
	request(vmm, client, (struct control_message){ .kind = CONTROL_STATS }, "", NULL, 0);
	assert_int_equal(say(vmm, AGENT_STATS, 0, "{\"a\":1}", 7), 0);
	expect_reply(client, CONTROL_DONE, 0, "{\"a\":1}");
	other = dial(vmm, listener);
	vmm->holds = -1;
	request(vmm, other, (struct control_message){ .kind = CONTROL_SNAPSHOT }, "", (int[]){ 0, 1 }, 2);
	expect_reply(other, CONTROL_FAILED, EOPNOTSUPP, "no snapshots here");
	close(other);
	/* The machine stands still as long as who took the snapshot stays; nobody else can take one meanwhile. */
	vmm->holds = 0;
	request(vmm, client, (struct control_message){ .kind = CONTROL_SNAPSHOT }, "", (int[]){ 0, 1 }, 2);
	expect_reply(client, CONTROL_DONE, 0, "");
	assert_int_equal(vmm->holds, 1);
	other = dial(vmm, listener);
	request(vmm, other, (struct control_message){ .kind = CONTROL_SNAPSHOT }, "", (int[]){ 0, 1 }, 2);
	expect_reply(other, CONTROL_FAILED, EBUSY, "another snapshot");
	close(other);
	assert_int_equal(vmm->holds, 1);
	close(client);
	turn(vmm);
	assert_int_equal(vmm->holds, 0);
}

/* The guest is asked to do what it has put off, and everybody who asked for it hears when that is done. */
static void test_control_settle(void **state)
{
	struct vmm *vmm = *state;
	int listener = open_server(vmm), client = dial(vmm, listener), other, ours[3];
	char byte;

	/* Before its process runs, READY would mean something else. */
	request(vmm, client, (struct control_message){ .kind = CONTROL_SETTLE }, "", NULL, 0);
	expect_reply(client, CONTROL_FAILED, EAGAIN, "does not run");
	close(client);
	begin(vmm, ours);
	client = dial(vmm, listener);
	other = dial(vmm, listener);
	request(vmm, client, (struct control_message){ .kind = CONTROL_SETTLE }, "", NULL, 0);
	assert_string_equal(str_text(&vmm->heard), "66.0 73.0 ");
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(say(vmm, AGENT_READY, 0, "", 0), 0);
	expect_reply(client, CONTROL_DONE, 0, "");
	/* One that nobody asked for is nobody's. */
	assert_int_equal(say(vmm, AGENT_READY, 0, "", 0), 0);
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(recv(other, &byte, 1, MSG_DONTWAIT), -1);
	close(client);
	close(other);
	for (int i = 0; i < 3; i++)
		close(ours[i]);
}

static size_t open_fds(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Nonsense gets one answer and the end; descriptors that came with it are closed. */
static void test_control_hostile(void **state)
{
	static const struct {
		struct control_message head;
		const char *text;
		size_t fds;
	} bad[] = {
		{ { .kind = 0 }, "", 0 },
		{ { .kind = 4000 }, "", 3 },
		{ { .kind = CONTROL_STARTED }, "", 0 },
		{ { .kind = CONTROL_EXEC, .size = 2 }, "{}", 2 },
		{ { .kind = CONTROL_EXEC, .size = 2 }, "{}", 4 },
		{ { .kind = CONTROL_EXEC, .size = 3 }, "{}", 3 },
		{ { .kind = CONTROL_EXEC, .size = UINT32_MAX }, "{}", 3 },
		{ { .kind = CONTROL_SIGNAL, .number = 65 }, "", 0 },
		{ { .kind = CONTROL_SIGNAL }, "", 0 },
		{ { .kind = CONTROL_SIGNAL, .number = 9 }, "", 1 },
		{ { .kind = CONTROL_RESIZE, .number = 65536 }, "", 0 },
		{ { .kind = CONTROL_SNAPSHOT }, "", 1 },
		{ { .kind = CONTROL_COUNTERS, .size = 1 }, "x", 0 },
		{ { .kind = CONTROL_BALLOON }, "", 20 },
	};
	struct vmm *vmm = *state;
	int listener = open_server(vmm), fds[20] = { 0 };
	size_t before = open_fds();

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int client = dial(vmm, listener);
		char byte;

		request(vmm, client, bad[i].head, bad[i].text, fds, bad[i].fds);
		if (bad[i].fds <= 4)
			expect_reply(client, CONTROL_FAILED, EINVAL, "");
		assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), 0);
		close(client);
	}
	/* Less than a head. */
	for (size_t size = 1; size < sizeof(struct control_message); size += 5) {
		int client = dial(vmm, listener);

		assert_int_equal(fdpass_send(client, fds, 2, "0123456789abcdef", size, NULL), 0);
		turn(vmm);
		expect_reply(client, 0, 0, NULL);
		close(client);
	}
	turn(vmm);
	assert_int_equal(open_fds(), before);
}

/* More clients than there is room for wait their turn; none is lost. */
static void test_control_crowd(void **state)
{
	enum { CROWD = CONTROL_CLIENTS_MAX + 10 };
	struct vmm *vmm = *state;
	int listener = open_server(vmm), clients[CROWD];

	for (int i = 0; i < CROWD; i++)
		clients[i] = dial(vmm, listener);
	for (int i = 0; i < 20; i++)
		close(clients[i]);
	turn(vmm);
	for (int i = 20; i < CROWD; i++) {
		request(vmm, clients[i], (struct control_message){ .kind = CONTROL_COUNTERS }, "", NULL, 0);
		expect_reply(clients[i], CONTROL_DONE, 0, "{}");
		close(clients[i]);
	}
}

static void end_child(struct shares *shares, int status)
{
	siginfo_t info;

	*shares = (struct shares){ .count = 1, .pids = { fork() } };
	if (shares->pids[0] == 0)
		_exit(status);
	assert_true(shares->pids[0] > 0);
	assert_int_equal(waitid(P_PID, (id_t)shares->pids[0], &info, WEXITED | WNOWAIT), 0);
}

static void test_shares_end(void **state)
{
	struct shares shares;
	struct error err = ERROR_INIT;

	(void)state;
	end_child(&shares, 0);
	assert_int_equal(shares_check(&shares, &err), 0);
	end_child(&shares, 1);
	assert_int_equal(shares_check(&shares, &err), -EIO);
	assert_non_null(strstr(err.text, "shared directory"));
	assert_int_equal(shares_check(&shares, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_failed),
		TEST(test_no_descriptors),
		TEST(test_credit_of_output),
		TEST(test_credit_of_input),
		TEST(test_reader_gone),
		TEST(test_hostile),
		TEST(test_beyond_credit),
		cmocka_unit_test(test_console),
		TEST(test_control_exec),
		TEST(test_control_requests),
		TEST(test_control_settle),
		TEST(test_control_hostile),
		TEST(test_control_crowd),
		cmocka_unit_test(test_shares_end),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as the supervisor's mask does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
