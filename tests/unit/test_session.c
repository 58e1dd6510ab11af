/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/session and guest/channel: streams as frames, and their credit.  The host's side is the other end of a socket
 * pair; the process is whoever holds the other ends of the pipes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/session.h"
#include "linux/tty.h"

enum { NUMBER = 5, EXIT_3 = 3 << 8 };

struct scene {
	struct loop loop;
	struct channel channel;
	int host; /* the other end of the channel */
	struct session session;
	int in, out, errors; /* the process's ends */
	struct agent_parser parser;
	struct str got[2]; /* OUTPUT, ERRORS */
	bool ended[2];
	uint32_t granted; /* of INPUT */
	struct error refused;
};

static void take(void *context, const struct agent_frame *frame)
{
	struct scene *scene = context;

	assert_int_equal(frame->session, NUMBER);
	if (frame->kind == AGENT_INPUT)
		(void)session_input(&scene->session, frame, &scene->refused);
	else if (frame->kind == AGENT_INPUT_END)
		session_input_end(&scene->session);
	else
		(void)session_grant(&scene->session, frame, &scene->refused);
	channel_flush(&scene->channel);
}

static void drained(void *context)
{
	session_go_on(&((struct scene *)context)->session);
}

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	int line[2], in[2], out[2], errors[2];

	(void)signal(SIGPIPE, SIG_IGN);
	assert_non_null(scene);
	scene->parser.from = AGENT_FROM_GUEST;
	assert_int_equal(loop_open(&scene->loop, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line), 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(errors, O_CLOEXEC), 0);
	scene->host = line[1];
	scene->in = in[0];
	scene->out = out[1];
	scene->errors = errors[1];
	(void)fcntl(scene->host, F_SETFL, O_RDWR | O_NONBLOCK);
	(void)fcntl(scene->in, F_SETFL, O_RDONLY | O_NONBLOCK);
	(void)fcntl(scene->out, F_SETFL, O_WRONLY | O_NONBLOCK);
	scene->channel.take = take;
	scene->channel.drained = drained;
	scene->channel.context = scene;
	assert_int_equal(channel_open(&scene->channel, &scene->loop, line[0], NULL), 0);
	assert_int_equal(
		session_begin(&scene->session, &scene->channel, NUMBER, getpid(),
			      &(struct session_streams){ .input = in[1], .output = out[0], .errors = errors[0] }, NULL),
		0);
	*state = scene;
	return 0;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	session_close(&scene->session);
	channel_close(&scene->channel);
	loop_close(&scene->loop);
	close_end(&scene->host);
	close_end(&scene->in);
	close_end(&scene->out);
	close_end(&scene->errors);
	agent_parser_free(&scene->parser);
	str_free(&scene->got[0]);
	str_free(&scene->got[1]);
	free(scene);
	return 0;
}

static void hear_frame(struct scene *scene, const struct agent_frame *frame)
{
	bool errors = frame->kind == AGENT_ERRORS || frame->kind == AGENT_ERRORS_END;
	uint32_t stream = 0, count = 0;

	if (frame->kind == AGENT_OUTPUT || frame->kind == AGENT_ERRORS) {
		assert_false(scene->ended[errors]);
		str_append_bytes(&scene->got[errors], frame->payload, frame->size);
	} else if (frame->kind == AGENT_CREDIT_GRANT) {
		assert_true(agent_number(frame, 0, &stream) && agent_number(frame, 1, &count));
		assert_int_equal(stream, AGENT_INPUT);
		scene->granted += count;
	} else {
		assert_true(frame->kind == AGENT_OUTPUT_END || frame->kind == AGENT_ERRORS_END);
		assert_false(scene->ended[errors]);
		scene->ended[errors] = true;
	}
}

/* Hears what there is; false: nothing. */
static bool hear(struct scene *scene)
{
	uint8_t *room = agent_parser_room(&scene->parser, 65536);
	struct agent_frame frame;
	ssize_t count;

	assert_non_null(room);
	count = read(scene->host, room, 65536);
	if (count <= 0)
		return false;
	agent_parser_fed(&scene->parser, (size_t)count);
	while (agent_parser_next(&scene->parser, &frame, NULL) == 1)
		hear_frame(scene, &frame);
	return true;
}

/* Lets the guest's side work, and hears what it says, until neither has anything left to do. */
static void settle(struct scene *scene)
{
	bool idle = false;

	while (!idle) {
		idle = poll(&(struct pollfd){ .fd = scene->loop.epoll, .events = POLLIN }, 1, 0) == 0;
		assert_int_equal(loop_wait(&scene->loop, 0, NULL), 0);
		idle &= !hear(scene);
	}
}

static void say(struct scene *scene, enum agent_kind kind, const void *payload, size_t size)
{
	cleanup_str struct str frame = STR_INIT;

	agent_put(&frame, kind, NUMBER, payload, size);
	assert_int_equal(write(scene->host, frame.text, frame.length), (ssize_t)frame.length);
	settle(scene);
}

static void grant(struct scene *scene, enum agent_kind stream, uint32_t bytes)
{
	cleanup_str struct str frame = STR_INIT;

	agent_put_numbers(&frame, AGENT_CREDIT_GRANT, NUMBER, stream, bytes);
	assert_int_equal(write(scene->host, frame.text, frame.length), (ssize_t)frame.length);
	settle(scene);
}

/* As a process does; how much the pipe took. */
static size_t pour(struct scene *scene, size_t count)
{
	static char data[65536];
	size_t poured = 0;

	while (poured < count) {
		size_t piece = count - poured < sizeof(data) ? count - poured : sizeof(data);
		ssize_t took = write(scene->out, data, piece);

		if (took < 0)
			break;
		poured += (size_t)took;
		settle(scene);
	}
	return poured;
}

static void test_streams(void **state)
{
	struct scene *scene = *state;
	char data[16];

	assert_int_equal(write(scene->out, "out", 3), 3);
	assert_int_equal(write(scene->errors, "err", 3), 3);
	say(scene, AGENT_INPUT, "in", 2);
	assert_string_equal(str_text(&scene->got[0]), "out");
	assert_string_equal(str_text(&scene->got[1]), "err");
	assert_int_equal(read(scene->in, data, sizeof(data)), 2);
	assert_int_equal(read(scene->in, data, sizeof(data)), -1);
	say(scene, AGENT_INPUT_END, NULL, 0);
	assert_int_equal(read(scene->in, data, sizeof(data)), 0);
	close_end(&scene->errors);
	settle(scene);
	assert_true(scene->ended[1]);
	assert_false(scene->ended[0]);
	assert_false(session_is_over(&scene->session));
}

/* What nobody has asked for stays in the pipe; more of the other stream goes on. */
static void test_output_credit(void **state)
{
	struct scene *scene = *state;
	size_t poured = pour(scene, 1 << 20);

	assert_true(poured < 1 << 20);
	assert_int_equal(scene->got[0].length, AGENT_CREDIT);
	assert_int_equal(write(scene->errors, "err", 3), 3);
	settle(scene);
	assert_string_equal(str_text(&scene->got[1]), "err");
	grant(scene, AGENT_OUTPUT, 1000);
	assert_int_equal(scene->got[0].length, AGENT_CREDIT + 1000);
	/* The end behind what is there, however long it takes. */
	session_ended(&scene->session, EXIT_3);
	channel_flush(&scene->channel);
	settle(scene);
	assert_false(session_is_over(&scene->session));
	assert_false(scene->ended[0]);
	grant(scene, AGENT_OUTPUT, 1 << 20);
	assert_int_equal(scene->got[0].length, poured);
	assert_true(session_is_over(&scene->session));
	assert_true(scene->ended[0] && scene->ended[1]);
	assert_int_equal(scene->session.status, 3);
}

/* Others that have the pipe open hold nobody up. */
static void test_end(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(write(scene->out, "last words", 10), 10);
	session_ended(&scene->session, SIGKILL);
	channel_flush(&scene->channel);
	settle(scene);
	assert_string_equal(str_text(&scene->got[0]), "last words");
	assert_true(session_is_over(&scene->session));
	assert_int_equal(scene->session.status, 128 + SIGKILL);
}

static void test_input_credit(void **state)
{
	struct scene *scene = *state;
	static char data[AGENT_DATA_MAX];
	size_t taken = 0;
	ssize_t count;

	for (unsigned int i = 0; i < AGENT_CREDIT / AGENT_DATA_MAX; i++)
		say(scene, AGENT_INPUT, data, sizeof(data));
	assert_int_equal(scene->refused.code, 0);
	/* A pipe holds as much; so that it is counted whether it is read or not. */
	while ((count = read(scene->in, data, sizeof(data))) > 0) {
		taken += (size_t)count;
		settle(scene);
	}
	assert_int_equal(taken, AGENT_CREDIT);
	assert_int_equal(scene->granted, AGENT_CREDIT);
	/* Beyond what was granted. */
	(void)fcntl(scene->session.input.source.fd, F_SETPIPE_SZ, 4096);
	for (unsigned int i = 0; i < AGENT_CREDIT / AGENT_DATA_MAX; i++)
		say(scene, AGENT_INPUT, data, sizeof(data));
	assert_int_equal(scene->refused.code, 0);
	say(scene, AGENT_INPUT, data, 1);
	assert_int_equal(scene->refused.code, EPROTO);
}

/* What a process that has closed its input would get is dropped, and does not stop the host. */
static void test_closed_input(void **state)
{
	struct scene *scene = *state;
	static char data[AGENT_DATA_MAX];

	close_end(&scene->in);
	for (unsigned int i = 0; i < 4 * AGENT_CREDIT / AGENT_DATA_MAX; i++)
		say(scene, AGENT_INPUT, data, sizeof(data));
	assert_int_equal(scene->refused.code, 0);
	assert_int_equal(scene->granted, 4 * AGENT_CREDIT);
}

static void test_wrong_grants(void **state)
{
	struct scene *scene = *state;

	grant(scene, AGENT_INPUT, 1);
	assert_int_equal(scene->refused.code, EPROTO);
	scene->refused = ERROR_INIT;
	grant(scene, AGENT_OUTPUT, UINT32_MAX - AGENT_CREDIT);
	assert_int_equal(scene->refused.code, 0);
	grant(scene, AGENT_OUTPUT, 1);
	assert_int_equal(scene->refused.code, EPROTO);
}

/* Writes until nothing more is taken; how much that was. */
static size_t fill_line(struct scene *scene)
{
	static char data[65536];
	size_t poured = 0, more;

	grant(scene, AGENT_OUTPUT, 64 << 20);
	do {
		ssize_t took = write(scene->out, data, sizeof(data));

		more = took > 0 ? (size_t)took : 0;
		poured += more;
		for (int i = 0; i < 8; i++)
			assert_int_equal(loop_wait(&scene->loop, 0, NULL), 0);
	} while (more > 0 && poured < 32 << 20);
	assert_true(poured < 32 << 20);
	assert_true(channel_is_full(&scene->channel));
	return poured;
}

/* A host that does not read the line holds up the process, and loses nothing. */
static void test_full_line(void **state)
{
	struct scene *scene = *state;
	size_t poured = fill_line(scene);

	settle(scene);
	assert_int_equal(scene->got[0].length, poured);
	assert_true(scene->channel.out.room < 1 << 20);
}

/* The same where it is another's frame that finds room on the line again. */
static void test_emptied_by_others(void **state)
{
	struct scene *scene = *state;
	size_t poured = fill_line(scene);

	while (scene->channel.out.length > 0) {
		(void)hear(scene);
		channel_flush(&scene->channel);
	}
	assert_true(scene->got[0].length < poured);
	settle(scene);
	assert_int_equal(scene->got[0].length, poured);
}

static void test_terminal(void **state)
{
	struct scene *scene = *state;
	int pts = open("/dev/pts", O_RDONLY | O_DIRECTORY | O_CLOEXEC), master, slave;
	unsigned int rows, columns;
	char data[16];

	if (pts < 0) {
		print_message("no /dev/pts here\n");
		skip();
	}
	master = tty_open(pts, NULL);
	close(pts);
	if (master < 0) {
		print_message("no terminal can be made in /dev/pts\n");
		skip();
	}
	session_close(&scene->session);
	slave = tty_open_peer(master, NULL);
	assert_true(slave >= 0);
	assert_int_equal(session_begin(&scene->session, &scene->channel, NUMBER, getpid(),
				       &(struct session_streams){ .input = master, .output = -1, .errors = -1 }, NULL),
			 0);
	assert_int_equal(session_resize(&scene->session, 50, 99), 0);
	assert_int_equal(tty_get_size(slave, &rows, &columns), 0);
	assert_int_equal(rows, 50);
	assert_int_equal(columns, 99);
	assert_true(session_resize(&scene->session, 1 << 16, 1) < 0);
	say(scene, AGENT_INPUT, "in\n", 3);
	assert_int_equal(read(slave, data, sizeof(data)), 3);
	say(scene, AGENT_INPUT_END, NULL, 0);
	assert_int_equal(write(slave, "out", 3), 3);
	/* Closed by all does not mean that nobody will open it again. */
	close(slave);
	settle(scene);
	assert_false(session_is_over(&scene->session));
	session_ended(&scene->session, 0);
	for (int i = 0; i < 100 && !session_is_over(&scene->session); i++) {
		assert_int_equal(loop_wait(&scene->loop, session_timeout(&scene->session), NULL), 0);
		session_go_on(&scene->session);
	}
	channel_flush(&scene->channel);
	settle(scene);
	assert_true(session_is_over(&scene->session));
	/* With the echo. */
	assert_string_equal(str_text(&scene->got[0]), "in\r\nout");
	assert_true(scene->ended[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_streams, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_output_credit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_input_credit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closed_input, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_grants, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_emptied_by_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_terminal, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
