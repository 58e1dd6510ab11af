/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/fs/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/capability.h"
#include "linux/clone.h"

/* A message is one piece of the socket's buffer, of which the kernel keeps some (unix(7) does not tell: net/unix). */
enum { BUFFER = 4 * FUSE_REQUEST_MAX, SOCKET_OVERHEAD = 32 };

struct buffers {
	uint8_t request[sizeof(struct fs_message) + FUSE_REQUEST_MAX];
	uint8_t reply[sizeof(struct fs_message) + FUSE_REPLY_MAX];
};

static size_t answer(struct fuse_server *server, struct buffers *buffers, size_t size)
{
	struct fs_message message;
	size_t room = FUSE_REPLY_MAX;

	memcpy(&message, buffers->request, sizeof(message));
	room = message.room < room ? message.room : room;
	memcpy(buffers->reply, &message, sizeof(message));
	return sizeof(message) + fuse_serve(server, buffers->request + sizeof(message), size - sizeof(message),
					    buffers->reply + sizeof(message), room);
}

int fs_serve_messages(struct fuse_server *server, int socket)
{
	struct buffers *buffers = malloc(sizeof(*buffers));
	ssize_t count;
	int ret = 0;

	if (!buffers)
		return -ENOMEM;
	while (ret == 0) {
		count = recv(socket, buffers->request, sizeof(buffers->request), 0);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			ret = count < 0 ? -errno : 0;
			break;
		}
		if ((size_t)count < sizeof(struct fs_message)) {
			ret = -EPROTO;
		} else {
			size_t size = answer(server, buffers, (size_t)count);

			if (send(socket, buffers->reply, size, MSG_NOSIGNAL) < 0)
				ret = -errno;
		}
	}
	free(buffers);
	return ret;
}

/* ---- the process ---- */

static int keep_file_capabilities(struct error *err)
{
	static const char *const names[] = { "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
					     "CAP_SETFCAP" };
	struct capability_sets sets = { .effective = 0 };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		sets.permitted |= UINT64_C(1) << capability_from_name(names[i]);
	sets.permitted &= capability_own_permitted();
	sets.effective = sets.permitted;
	return capability_apply(&sets, err);
}

/* Each file that the guest knows is a descriptor. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int drop_privileges(pid_t parent, struct error *err)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_NAME, "caisson-fs", 0, 0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		return error_errno(err, errno, "cannot confine the file server");
	if (getppid() != parent)
		return error_set(err, ESRCH, "the monitor is gone");
	raise_descriptors();
	return keep_file_capabilities(err);
}

/* What the process is to do, as it was asked for. */
struct job {
	int directory, socket;
	int words; /* where an error is said; closed when there is none any more */
	bool read_only;
	enum fs_protocol protocol;
	int (*confine)(struct error *err);
	pid_t parent;
};

/* Who answers somebody who is gone by then has served to the end. */
static bool is_hung_up(int socket)
{
	struct pollfd other = { .fd = socket };

	return poll(&other, 1, 0) == 1 && other.revents & POLLHUP;
}

static int serve(const struct job *job)
{
	const int keep[] = { job->directory, job->socket, job->words };
	struct error err = ERROR_INIT;
	struct fuse_server *server = NULL;
	int ret = drop_privileges(job->parent, &err);

	if (ret == 0)
		ret = fds_close_from(3, keep, 3);
	if (ret == 0)
		ret = fuse_server_make(job->directory, job->read_only, &server, &err);
	if (ret == 0 && job->confine)
		ret = job->confine(&err);
	if (ret < 0) {
		(void)file_write_all(job->words, err.text, strlen(err.text));
		return ret;
	}
	close(job->words);
	close(job->directory);
	ret = job->protocol == FS_MESSAGES ? fs_serve_messages(server, job->socket)
					   : fs_serve_vhost_user(server, job->socket);
	fuse_server_free(server);
	return ret < 0 && is_hung_up(job->socket) ? 0 : ret;
}

/* One that is too long for the socket cannot be sent at all: the first large READ would be the last. */
static int check_room(int socket, struct error *err)
{
	const int needed = (int)sizeof(((struct buffers *)NULL)->reply) + SOCKET_OVERHEAD;
	int size = 0;

	if (getsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, &(socklen_t){ sizeof(size) }) < 0)
		return error_errno(err, errno, "cannot make the file server's socket");
	/* The kernel says twice what may be asked for. */
	return size >= needed ? 0
			      : error_set(err, ENOBUFS,
					  "a shared directory needs sockets that hold %d bytes: set the sysctl "
					  "net.core.wmem_max to %d at least",
					  needed, (needed + 1) / 2);
}

/* What the new process says of itself: nothing, when it serves. */
static int hear(int words, struct error *err)
{
	char text[sizeof(err->text)];
	size_t size = 0;
	ssize_t count;

	do {
		count = read(words, text + size, sizeof(text) - 1 - size);
		size += count > 0 ? (size_t)count : 0;
	} while (count > 0 || (count < 0 && errno == EINTR));
	text[size] = '\0';
	return size == 0 ? 0 : error_set(err, EIO, "the file server cannot start: %s", text);
}

int fs_start(int directory, bool read_only, enum fs_protocol protocol, int (*confine)(struct error *err), int *socket,
	     pid_t *pid, struct error *err)
{
	struct job job = { .directory = directory, .read_only = read_only, .protocol = protocol, .confine = confine };
	const int type = protocol == FS_MESSAGES ? SOCK_SEQPACKET : SOCK_STREAM, size = BUFFER;
	cleanup_close int ours = -1, theirs = -1, ear = -1, mouth = -1;
	pid_t child;
	int pair[2], words[2], ret;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "cannot make the file server's socket");
	ours = pair[0];
	theirs = pair[1];
	if (pipe2(words, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make the file server's pipe");
	ear = words[0];
	mouth = words[1];
	for (int i = 0; i < 2 && protocol == FS_MESSAGES; i++) /* as far as the system lets it */
		(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	ret = protocol == FS_MESSAGES ? check_room(ours, err) : 0;
	if (ret < 0)
		return ret;
	job.socket = theirs;
	job.words = mouth;
	job.parent = getpid();
	child = fork();
	if (child < 0)
		return error_errno(err, errno, "cannot start the file server");
	if (child == 0)
		_exit(serve(&job) < 0);
	close(take_fd(&mouth));
	ret = hear(ear, err);
	if (ret < 0) {
		(void)waitpid(child, NULL, 0);
		return ret;
	}
	*pid = child;
	*socket = take_fd(&ours);
	return 0;
}
