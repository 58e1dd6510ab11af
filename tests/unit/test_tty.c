/* SPDX-License-Identifier: Apache-2.0 */
/* linux/tty.h, and the way of its masters: linux/fdpass.h; and linux/notify.h, which has sockets, too. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/fdpass.h"
#include "linux/mount.h"
#include "linux/notify.h"
#include "linux/tty.h"

/* A devpts of our own where that is allowed, so that the host's is left alone. */
static int open_devpts(void)
{
	struct mount_options options = { .data = NULL };
	char data[] = "newinstance,ptmxmode=0666";
	int fd;

	options.data = data;
	fd = geteuid() == 0 ? mount_new("devpts", NULL, &options, NULL) : -1;
	return fd >= 0 ? fd : open("/dev/pts", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int terminal(void)
{
	struct error err = ERROR_INIT;
	cleanup_close int pts = open_devpts(), elsewhere = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int master = tty_open(pts, &err), peer = -1;
	unsigned int rows, columns;
	struct termios saved, now;
	char text[32] = "";

	if (master == -EACCES) /* the host's is not for users, and a devpts of our own takes root */
		return CHILD_SKIP;
	CHECK(master >= 0 && (fcntl(master, F_GETFD) & FD_CLOEXEC));
	CHECK(tty_number(master) >= 0);
	CHECK(tty_open(elsewhere, &err) == -ENODEV);
	peer = tty_open_peer(master, &err);
	CHECK(peer >= 0 && isatty(peer) && (fcntl(peer, F_GETFD) & FD_CLOEXEC));
	CHECK(tty_set_size(master, 33, 101) == 0);
	CHECK(tty_get_size(peer, &rows, &columns) == 0 && rows == 33 && columns == 101);
	CHECK(tty_set_size(master, 70000, 1) == -ERANGE);
	CHECK(tty_get_size(elsewhere, &rows, &columns) < 0);
	CHECK(tty_make_raw(peer, &saved, &err) == 0);
	CHECK(write(master, "ab", 2) == 2 && read(peer, text, sizeof(text)) == 2); /* without a line's end */
	CHECK(tty_restore(peer, &saved) == 0);
	CHECK(tcgetattr(peer, &now) == 0 && (now.c_lflag & ICANON) && (now.c_lflag & ECHO));
	CHECK(tty_make_raw(elsewhere, &saved, &err) < 0);
	(void)signal(SIGHUP, SIG_IGN); /* which a session's leader gets when the master is closed */
	CHECK(tty_make_controlling(peer, &err) == 0);
	CHECK(tcgetsid(peer) == getpid());
	CHECK(tty_make_controlling(elsewhere, &err) < 0);
	return 0;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, path, strlen(path));
	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 4) == 0 ? fd : -1;
}

static int send_master(void)
{
	struct error err = ERROR_INIT;
	char dir[] = "/tmp/test_tty.XXXXXX", path[64], name[64] = "";
	cleanup_close int pts = open_devpts(), master = tty_open(pts, &err), server = -1, client = -1, got = -1;
	size_t count = 1;

	if (master == -EACCES)
		return CHILD_SKIP;
	CHECK(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/console", dir);
	server = listen_at(path);
	CHECK(server >= 0 && master >= 0);
	CHECK(tty_send_master(path, master, "/dev/pts/0", &err) == 0);
	client = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	CHECK(fdpass_receive(client, &got, &count, name, sizeof(name), &err) == 10);
	CHECK(count == 1 && tty_number(got) == tty_number(master) && strcmp(name, "/dev/pts/0") == 0);
	CHECK(unlink(path) == 0);
	CHECK(tty_send_master(path, master, "x", &err) == -ENOENT && strstr(err.text, path));
	CHECK(rmdir(dir) == 0);
	return 0;
}

static int count_open(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int pass_descriptors(void)
{
	struct error err = ERROR_INIT;
	int pair[2], sent[4], got[4] = { -1, -1, -1, -1 }, before;
	size_t count = 4;
	char data[16] = "", *big;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	for (int i = 0; i < 4; i++)
		sent[i] = dup(0);
	before = count_open();
	CHECK(fdpass_send(pair[0], sent, 4, "hello", 5, &err) == 0);
	CHECK(fdpass_receive(pair[1], got, &count, data, sizeof(data), &err) == 5);
	CHECK(count == 4 && memcmp(data, "hello", 5) == 0 && count_open() == before + 4);
	for (int i = 0; i < 4; i++) {
		CHECK(fcntl(got[i], F_GETFD) == FD_CLOEXEC);
		close(got[i]);
	}
	/* More than there is room for: an error, and none of them stays open. */
	count = 2;
	CHECK(fdpass_send(pair[0], sent, 4, "x", 1, &err) == 0);
	CHECK(fdpass_receive(pair[1], got, &count, data, sizeof(data), &err) == -E2BIG);
	CHECK(count_open() == before);
	count = 4;
	CHECK(fdpass_send(pair[0], NULL, 0, "plain", 5, &err) == 0);
	CHECK(fdpass_receive(pair[1], got, &count, data, sizeof(data), &err) == 5 && count == 0);
	CHECK(fdpass_send(pair[0], sent, 4, "", 0, &err) == -EINVAL);
	CHECK(fdpass_send(pair[0], sent, FDPASS_MAX + 1, "x", 1, &err) == -EINVAL);
	/* Larger than a socket's buffer would need a reader: it must not be lost in silence. */
	CHECK(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
	big = calloc(1, 8 << 20);
	CHECK(big && fdpass_send(pair[0], sent, 1, big, 8 << 20, &err) == -EAGAIN);
	free(big);
	close(pair[0]);
	CHECK(shutdown(pair[1], SHUT_RD) == 0);
	return 0;
}

static int end_of_stream(void)
{
	struct error err = ERROR_INIT;
	int pair[2], fd = -1;
	size_t count = 1;
	char byte;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	close(pair[0]);
	CHECK(fdpass_receive(pair[1], &fd, &count, &byte, 1, &err) == 0 && count == 0);
	CHECK(fdpass_send(pair[1], NULL, 0, "x", 1, &err) == -EPIPE); /* and no SIGPIPE */
	return 0;
}

/* A directory whose name alone is longer than a socket's address. */
static int long_directory(char path[400])
{
	memset(path, 'd', 399);
	memcpy(path, "/tmp/test_tty.XXXXXX/", 21);
	path[20] = '\0';
	if (!mkdtemp(path))
		return -1;
	path[20] = '/';
	path[21 + 150] = '\0';
	return mkdir(path, 0700);
}

static int remove_long_directory(char *path)
{
	path[20] = '\0';
	return file_remove_all(AT_FDCWD, path, NULL);
}

static int long_paths(void)
{
	struct error err = ERROR_INIT;
	char dir[400], path[512], received[32] = "";
	cleanup_close int dir_fd = -1, server = -1, client = -1, datagrams = -1;

	CHECK(long_directory(dir) == 0);
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/s", dir_fd);
	server = listen_at(path);
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	client = fdpass_connect(path, &err);
	CHECK(server >= 0 && client >= 0);
	(void)snprintf(path, sizeof(path), "%s/notify", dir);
	datagrams = notify_listen(path, &err);
	CHECK(datagrams >= 0);
	CHECK(notify_send(path, "READY=1", &err) == 0);
	CHECK(read(datagrams, received, sizeof(received)) == 7 && strcmp(received, "READY=1") == 0);
	CHECK(remove_long_directory(dir) == 0);
	return 0;
}

static int notify(void)
{
	struct error err = ERROR_INIT;
	char name[64], received[64] = "";
	cleanup_close int datagrams = -1;

	(void)snprintf(name, sizeof(name), "@caisson/test/%d", (int)getpid());
	CHECK(notify_send(name, "READY=1", &err) == -ECONNREFUSED && strstr(err.text, name));
	datagrams = notify_listen(name, &err);
	CHECK(datagrams >= 0 && fcntl(datagrams, F_GETFD) == FD_CLOEXEC);
	CHECK(notify_listen(name, &err) == -EADDRINUSE);
	CHECK(read(datagrams, received, sizeof(received)) < 0 && errno == EAGAIN);
	CHECK(notify_send(name, "READY=1\nMAINPID=4711", &err) == 0);
	CHECK(read(datagrams, received, sizeof(received)) == 20 && strcmp(received, "READY=1\nMAINPID=4711") == 0);
	CHECK(notify_take_ready(datagrams, &err) == 0);
	CHECK(notify_send(name, "STATUS=READY=1\nREADY=10", &err) == 0 && notify_take_ready(datagrams, &err) == 0);
	CHECK(notify_send(name, "STATUS=x\nREADY=1", &err) == 0 && notify_send(name, "STATUS=y", &err) == 0);
	CHECK(notify_take_ready(datagrams, &err) == 1 && notify_take_ready(datagrams, &err) == 0);
	/* Nobody takes it; then somebody does, who knows nothing of descriptors. */
	CHECK(notify_barrier(name, 0, &err) == 0);
	CHECK(recv(datagrams, received, sizeof(received), 0) == 9 && memcmp(received, "BARRIER=1", 9) == 0);
	CHECK(notify_barrier("/nonexistent/socket", 0, &err) == -ENOENT);
	CHECK(notify_send("vsock:2:1", "READY=1", &err) == -EAFNOSUPPORT);
	CHECK(notify_send("", "READY=1", &err) == -EAFNOSUPPORT);
	CHECK(notify_send("/nonexistent/socket", "READY=1", &err) == -ENOENT);
	return 0;
}

#define TEST(body)                            \
	static void test_##body(void **state) \
	{                                     \
		(void)state;                  \
		in_child(0, body);            \
	}
TEST(terminal)
TEST(send_master)
TEST(pass_descriptors)
TEST(end_of_stream)
TEST(long_paths)
TEST(notify)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terminal),	 cmocka_unit_test(test_send_master),
		cmocka_unit_test(test_pass_descriptors), cmocka_unit_test(test_end_of_stream),
		cmocka_unit_test(test_long_paths),	 cmocka_unit_test(test_notify),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
