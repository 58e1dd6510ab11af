/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/shell/sync.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { TEXT_MAX = 16 << 20 };

/* Only a SYNC_ERROR carries its text; the others are a few bytes. */
static size_t message_size(const struct sync_message *message)
{
	return message->kind == SYNC_ERROR ? sizeof(*message) : offsetof(struct sync_message, error);
}

static int send_message(int socket, const struct sync_message *message, int fd)
{
	struct iovec part = { .iov_base = (void *)message, .iov_len = message_size(message) };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t count;

	if (fd >= 0) {
		struct cmsghdr *item = &control.align;

		item->cmsg_level = SOL_SOCKET;
		item->cmsg_type = SCM_RIGHTS;
		item->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(item), &fd, sizeof(int));
		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
	}
	do
		count = sendmsg(socket, &header, MSG_NOSIGNAL);
	while (count < 0 && errno == EINTR);
	return count < 0 ? -errno : 0;
}

int sync_send(int socket, enum sync_kind kind, int number, int fd)
{
	struct sync_message message = { .kind = kind, .number = number };

	return send_message(socket, &message, fd);
}

int sync_send_error(int socket, const struct error *error)
{
	struct sync_message message = { .kind = SYNC_ERROR, .error = *error };

	return send_message(socket, &message, -1);
}

int sync_receive(int socket, struct sync_message *message, int *fd)
{
	struct iovec part = { .iov_base = message, .iov_len = sizeof(*message) };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	struct cmsghdr *item;
	ssize_t count;
	int received = -1;

	/* ECONNRESET says, once, that the other side closed with something of ours unread; what it wrote is still
	 * there. */
	do
		count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	while (count < 0 && (errno == EINTR || errno == ECONNRESET));
	if (count == 0)
		return 0;
	if (count < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	item = CMSG_FIRSTHDR(&header);
	if (item && item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS)
		memcpy(&received, CMSG_DATA(item), sizeof(int));
	if (fd)
		*fd = received;
	else if (received >= 0)
		close(received);
	if ((size_t)count < offsetof(struct sync_message, error) || (size_t)count < message_size(message))
		return -EPROTO;
	if (message->kind == SYNC_ERROR)
		message->error.text[ERROR_TEXT_MAX - 1] = '\0';
	return 1;
}

int sync_ask(int socket, enum sync_kind kind, int number, struct error *err)
{
	struct sync_message answer;
	int ret = sync_send(socket, kind, number, -1);

	if (ret == 0)
		ret = sync_receive(socket, &answer, NULL);
	if (ret == 1 && answer.kind == SYNC_GO)
		return 0;
	return error_set(err, EPIPE, "the creating process is gone");
}

int sync_send_text(int socket, enum sync_kind kind, const char *text)
{
	cleanup_close int fd = memfd_create("text", MFD_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = file_write_all(fd, text, strlen(text));
	if (ret == 0 && lseek(fd, 0, SEEK_SET) < 0)
		ret = -errno;
	return ret < 0 ? ret : sync_send(socket, kind, 0, fd);
}

int sync_receive_text(int socket, enum sync_kind kind, char **text)
{
	struct sync_message message;
	cleanup_close int fd = -1;
	int ret = sync_receive(socket, &message, &fd);

	if (ret < 0)
		return ret;
	if (ret == 0 || message.kind != kind || fd < 0)
		return -EPIPE;
	return file_read_fd(fd, TEXT_MAX, text, NULL, NULL);
}
