/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - the host's side of the conformance tests: the other end of what a runtime sends over AF_UNIX sockets.
 *
 *     agent console SOCKET OUT           takes one pty master, copies what the container writes to OUT
 *     agent seccomp SOCKET OUT [VALUE]   takes one container process state (OUT.json), then answers every
 *                                        notified system call with VALUE
 *     agent idmap DIR                    whether DIR's file system takes id-mapped mounts (exit status 0 or 1)
 *     agent interleaved COMMAND...       runs COMMAND under the memory policy "interleave on node 0"
 *
 * Each prints "ready" once it listens.  OUT gets lines "key=value".  Follows unix(7), seccomp_unotify(2),
 * config-linux.md ("The Container Process State") and mount_setattr(2).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_MS = 60000, FDS_MAX = 8 };

static int listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 4) != 0) {
		close(fd);
		return -1;
	}
	printf("ready\n");
	fflush(stdout);
	return fd;
}

static bool readable(int fd, int timeout)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };

	return poll(&poller, 1, timeout) == 1;
}

/* One recvmsg(2): bytes into text, descriptors into fds; returns the bytes, *count the descriptors. */
static ssize_t receive(int fd, char *text, size_t size, int fds[static FDS_MAX], int *count)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct iovec part = { .iov_base = text, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t n = readable(fd, WAIT_MS) ? recvmsg(fd, &message, MSG_CMSG_CLOEXEC) : -1;

	*count = 0;
	if (n < 0)
		return n;
	for (struct cmsghdr *part_header = CMSG_FIRSTHDR(&message); part_header;
	     part_header = CMSG_NXTHDR(&message, part_header)) {
		if (part_header->cmsg_level != SOL_SOCKET || part_header->cmsg_type != SCM_RIGHTS)
			continue;
		*count = (int)((part_header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(part_header), (size_t)*count * sizeof(int));
	}
	return n;
}

static int accept_one(const char *path)
{
	int listener = listen_on(path), fd = -1;

	if (listener >= 0 && readable(listener, WAIT_MS))
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (listener >= 0)
		close(listener);
	return fd;
}

static int run_console(char **args)
{
	char text[4096];
	int fds[FDS_MAX], count = 0, connection = accept_one(args[0]);
	FILE *out = fopen(args[1], "we");
	ssize_t n;

	if (!out || connection < 0 || receive(connection, text, sizeof(text) - 1, fds, &count) < 0 || count < 1)
		return 1;
	while ((n = read(fds[0], text, sizeof(text))) > 0) {
		fwrite(text, 1, (size_t)n, out);
		fflush(out);
	}
	return fclose(out) == 0 ? 0 : 1;
}

/* Answers notified calls until the last task with the filter is gone. */
static long answer(int listener, int64_t value)
{
	long answered = 0;

	while (readable(listener, WAIT_MS)) {
		struct seccomp_notif call = { 0 };
		struct seccomp_notif_resp reply = { .val = value };

		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
			break;
		reply.id = call.id;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply) == 0)
			answered++;
	}
	return answered;
}

static int run_seccomp(char **args)
{
	static char json[65536];
	char path[4096];
	size_t used = 0;
	int fds[FDS_MAX], later[FDS_MAX], count = 0, more = 0, late = 0, connection = accept_one(args[0]);
	ssize_t n;
	FILE *out;

	if (connection < 0)
		return 1;
	n = receive(connection, json, sizeof(json) - 1, fds, &count);
	if (n > 0)
		used = (size_t)n;
	while (n > 0 && used + 1 < sizeof(json) &&
	       (n = receive(connection, json + used, sizeof(json) - 1 - used, later, &more)) > 0) {
		used += (size_t)n;
		late += more;
	}
	snprintf(path, sizeof(path), "%s.json", args[1]);
	out = fopen(path, "we");
	if (!out || fwrite(json, 1, used, out) != used || fclose(out) != 0)
		return 1;
	out = fopen(args[1], "we");
	if (!out)
		return 1;
	fprintf(out, "fds=%d\nlate-fds=%d\nclosed=%s\n", count, late, n == 0 ? "yes" : "no");
	fflush(out);
	if (count > 0)
		fprintf(out, "answered=%ld\n", answer(fds[0], args[2] ? strtol(args[2], NULL, 0) : 0));
	return fclose(out) == 0 ? 0 : 1;
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static int run_idmap(char **args)
{
	char path[64];
	int pipe_fds[2], userns, tree, result = 1;
	pid_t child;

	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		return 1;
	child = fork();
	if (child == 0) {
		char byte = unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';

		_exit(write(pipe_fds[1], &byte, 1) == 1 ? pause() : 1);
	}
	if (child < 0 || read(pipe_fds[0], path, 1) != 1 || path[0] != 'y')
		return 1;
	snprintf(path, sizeof(path), "/proc/%d/uid_map", child);
	write_text(path, "0 100000 1000");
	snprintf(path, sizeof(path), "/proc/%d/gid_map", child);
	write_text(path, "0 100000 1000");
	snprintf(path, sizeof(path), "/proc/%d/ns/user", child);
	userns = open(path, O_RDONLY | O_CLOEXEC);
	tree = (int)syscall(SYS_open_tree, -1, args[0], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (userns >= 0 && tree >= 0) {
		struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns };

		result = syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) != 0;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return result;
}

static int run_interleaved(char **args)
{
	enum { MPOL_INTERLEAVE = 3 };
	unsigned long nodes = 1;

	if (syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &nodes, sizeof(nodes) * 8) != 0)
		return 125;
	execvp(args[0], args);
	return 127;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "console") == 0)
		return run_console(argv + 2);
	if (argc >= 4 && strcmp(argv[1], "seccomp") == 0)
		return run_seccomp(argv + 2);
	if (argc == 3 && strcmp(argv[1], "idmap") == 0)
		return run_idmap(argv + 2);
	if (argc >= 3 && strcmp(argv[1], "interleaved") == 0)
		return run_interleaved(argv + 2);
	fprintf(stderr, "usage: agent console|seccomp SOCKET OUT [VALUE] | idmap DIR | interleaved COMMAND...\n");
	return 2;
}
