/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime/criu.h: this program is CRIU's stand-in, too ("PROGRAM swrk FD").  It
 * does what the request's log file is called, and knows the bytes of rpc.proto
 * by heart.  The real one is asked in tests/lab/restore.bats.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "linux/fdpass.h"
#include "runtime/criu.h"

#define NOTIFY(stage) "\x08\x06\x10\x01\x2a" stage
static const char hooks_due[] = NOTIFY("\x14\x0a\x10setup-namespaces\x10\x2a"); /* pid 42 */
static const char terminal_comes[] = NOTIFY("\x15\x0a\x11orphan-pts-master\x10\x00");
static const char restored[] = "\x08\x02\x10\x01\x22\x03\x08\xd2\x09"; /* pid 1234 */
static const char unknown_fields[] = "\x08\x02\x10\x01\x22\x02\x08\x07\x59"
				     "12345678"
				     "\x65"
				     "1234"
				     "\x68\x01";
static const char refused[] = "\x08\x01\x10\x00\x38\x10\x4a\x0aout of it\n"; /* EBUSY */
static const char good_answer[] = "\x08\x06\x18\x01", bad_answer[] = "\x08\x06\x18\x00";

static void say(int socket, const void *bytes, size_t size)
{
	if (send(socket, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
		_exit(3);
}

/* What was said between the two; whether the answer was the expected one is told by how it ends. */
static void expect(int socket, const char *bytes, size_t size)
{
	char answer[64];

	if (recv(socket, answer, sizeof(answer), 0) != (ssize_t)size || memcmp(answer, bytes, size) != 0)
		say(socket, refused, sizeof(refused) - 1);
}

static int stand_in(int socket)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char request[4096];
	ssize_t size = recv(socket, request, sizeof(request), 0);

	if (size <= 0)
		return 2;
	if (memmem(request, (size_t)size, "refuse", 6)) {
		say(socket, refused, sizeof(refused) - 1);
	} else if (memmem(request, (size_t)size, "rubbish", 7)) {
		say(socket, "\x08\x02\x10\x01\x22\x7f\x08", 7); /* longer than the message */
	} else if (memmem(request, (size_t)size, "unknown", 7)) {
		say(socket, unknown_fields, sizeof(unknown_fields) - 1);
	} else if (memmem(request, (size_t)size, "stages", 6)) {
		say(socket, hooks_due, sizeof(hooks_due) - 1);
		expect(socket, good_answer, sizeof(good_answer) - 1);
		(void)fdpass_send(socket, &null, 1, terminal_comes, sizeof(terminal_comes) - 1, NULL);
		expect(socket, good_answer, sizeof(good_answer) - 1);
		say(socket, restored, sizeof(restored) - 1);
	} else if (memmem(request, (size_t)size, "stubborn", 8)) {
		say(socket, hooks_due, sizeof(hooks_due) - 1);
		expect(socket, bad_answer, sizeof(bad_answer) - 1);
		say(socket, restored, sizeof(restored) - 1);
	} else if (!memmem(request, (size_t)size, "silent", 6)) {
		return 4;
	}
	return 1;
}

struct told {
	int stages, terminals;
	pid_t pid;
	bool fail;
};

static int hear(void *context, const char *stage, pid_t pid, int fd, struct error *err)
{
	struct told *told = context;
	struct stat st;

	told->stages++;
	if (strcmp(stage, "setup-namespaces") == 0)
		told->pid = pid;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && strcmp(stage, "orphan-pts-master") == 0)
		told->terminals++;
	if (fd >= 0)
		close(fd);
	return told->fail ? error_set(err, EPROTO, "the hook failed") : 0;
}

/* By its name: under valgrind /proc/self/exe is not this program for who executes it. */
static char program[4096];

static int ask(const char *what, struct told *told, struct error *err)
{
	cleanup_str struct str options = STR_INIT;

	*err = ERROR_INIT;
	criu_text(&options, CRIU_LOG_FILE, what);
	return criu_run(program, CRIU_RESTORE, &options, hear, told, err);
}

static void fields_are_as_protocol_buffers_have_them(void **state)
{
	static const char expected[] = "\x08\x05\xf0\x01\xac\x02\x52\x03"
				       "abc\x90\x03\x01";
	cleanup_str struct str message = STR_INIT;

	(void)state;
	criu_number(&message, CRIU_IMAGES_DIR_FD, 5);
	criu_number(&message, 30, 300);
	criu_text(&message, CRIU_LOG_FILE, "abc");
	criu_text(&message, CRIU_ROOT, NULL);
	criu_flag(&message, CRIU_TRACK_MEMORY, false);
	criu_flag(&message, CRIU_ORPHAN_PTS_MASTER, true);
	assert_int_equal(message.length, sizeof(expected) - 1);
	assert_memory_equal(message.text, expected, message.length);
}

static void stages_are_told_one_after_the_other(void **state)
{
	struct told told = { 0 };
	struct error err;

	(void)state;
	assert_int_equal(ask("stages", &told, &err), 1234);
	assert_int_equal(told.stages, 2);
	assert_int_equal(told.terminals, 1);
	assert_int_equal(told.pid, 42);
	assert_int_equal(ask("unknown", &told, &err), 7);
}

static void what_fails_here_is_the_error(void **state)
{
	struct told told = { .fail = true };
	struct error err;

	(void)state;
	assert_int_equal(ask("stubborn", &told, &err), -EPROTO);
	assert_string_equal(err.text, "the hook failed");
	assert_int_equal(told.stages, 1);
}

static void what_fails_there_is_told(void **state)
{
	cleanup_str struct str options = STR_INIT;
	struct told told = { 0 };
	struct error err;

	(void)state;
	assert_int_equal(ask("refuse", &told, &err), -EIO);
	assert_string_equal(err.text, "criu failed: type RESTORE errno 16; out of it");
	assert_int_equal(ask("silent", &told, &err), -EIO);
	assert_string_equal(err.text, "criu failed: type RESTORE");
	assert_int_equal(ask("rubbish", &told, &err), -EIO);
	assert_int_equal(criu_run("no-such-criu", CRIU_DUMP, &options, NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "install criu"));
	assert_int_equal(criu_run("/proc/self/maps", CRIU_DUMP, &options, NULL, NULL, &err), -EACCES);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_as_protocol_buffers_have_them),
		cmocka_unit_test(stages_are_told_one_after_the_other),
		cmocka_unit_test(what_fails_here_is_the_error),
		cmocka_unit_test(what_fails_there_is_told),
	};

	if (argc == 3 && strcmp(argv[1], "swrk") == 0)
		return stand_in(atoi(argv[2])); /* NOLINT(cert-err34-c) */
	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
