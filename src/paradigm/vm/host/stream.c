/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind {
	KIND_ALWAYS, /* regular files, /dev/null: never blocks, epoll(7) does not take it */
	KIND_PIPE,
	KIND_SOCKET,
	KIND_TERMINAL,
};

static enum kind kind_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return KIND_ALWAYS;
	if (S_ISSOCK(st.st_mode))
		return KIND_SOCKET;
	if (S_ISFIFO(st.st_mode))
		return KIND_PIPE;
	return S_ISCHR(st.st_mode) && isatty(fd) ? KIND_TERMINAL : KIND_ALWAYS;
}

static void stop_listening(struct stream *stream)
{
	if (stream->listening)
		loop_remove(stream->loop, &stream->source);
	stream->listening = false;
}

static void start_listening(struct stream *stream)
{
	uint32_t events = stream->output ? EPOLLOUT : EPOLLIN;

	/* A descriptor whose hang-up nobody hears of would wake the loop for ever: it is there while it is wanted. */
	if (!stream->listening && stream->source.fd >= 0 && stream->kind != KIND_ALWAYS)
		stream->listening = loop_add(stream->loop, &stream->source, events, NULL) == 0;
}

static void close_fd(struct stream *stream)
{
	stop_listening(stream);
	if (stream->source.fd < 0)
		return;
	if (stream->kind == KIND_TERMINAL && !(stream->flags & O_NONBLOCK))
		(void)fcntl(stream->source.fd, F_SETFL, stream->flags);
	close(stream->source.fd);
	stream->source.fd = -1;
}

/* How many bytes went out; -EAGAIN, or another error that is final. */
static ssize_t write_some(const struct stream *stream, const char *bytes, size_t count)
{
	struct pollfd poll_fd = { .fd = stream->source.fd, .events = POLLOUT };
	ssize_t done;

	if (stream->kind == KIND_PIPE || stream->kind == KIND_TERMINAL) {
		/* Of a pipe that says it is ready that much is promised. */
		if (count > PIPE_BUF)
			count = PIPE_BUF;
		if (poll(&poll_fd, 1, 0) <= 0)
			return -EAGAIN;
	}
	do
		done = stream->kind == KIND_SOCKET ? send(stream->source.fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL)
						   : write(stream->source.fd, bytes, count);
	while (done < 0 && errno == EINTR);
	if (done >= 0)
		return done;
	/* Whoever wrote this would have gone on after an error message, perhaps to a disk that has room again. */
	return errno == ENOSPC || errno == EDQUOT ? (ssize_t)count : -errno;
}

static void flush(struct stream *stream)
{
	size_t moved = 0;

	while (stream->source.fd >= 0 && stream->held_from < stream->held.length) {
		ssize_t count = write_some(stream, stream->held.text + stream->held_from,
					   stream->held.length - stream->held_from);

		if (count == -EAGAIN)
			break;
		if (count < 0) /* nobody reads it any more */
			close_fd(stream);
		else
			stream->held_from += (size_t)count, moved += (size_t)count;
	}
	if (stream->source.fd < 0) {
		moved += stream->held.length - stream->held_from;
		stream->held_from = stream->held.length;
	}
	if (stream->held_from == stream->held.length) {
		stream->held.length = stream->held_from = 0;
		stop_listening(stream);
		if (stream->ended)
			close_fd(stream);
	} else {
		start_listening(stream);
	}
	if (moved > 0 || stream->ended)
		stream->moved(stream, moved);
}

static void ready(struct loop_source *source, uint32_t events)
{
	struct stream *stream = source->context;

	(void)events;
	if (stream->output)
		flush(stream);
	else
		stream->moved(stream, 0);
}

void stream_open(struct stream *stream, struct loop *loop, int fd, bool output,
		 void (*moved)(struct stream *stream, size_t count), void *context)
{
	*stream = (struct stream){ .loop = loop, .output = output, .moved = moved, .context = context };
	stream->source = (struct loop_source){ .fd = fd, .ready = ready, .context = stream };
	if (fd < 0)
		return;
	stream->kind = kind_of(fd);
	stream->flags = fcntl(fd, F_GETFL);
	if (stream->kind == KIND_TERMINAL && !(stream->flags & O_NONBLOCK))
		(void)fcntl(fd, F_SETFL, stream->flags | O_NONBLOCK);
}

void stream_close(struct stream *stream)
{
	if (!stream->loop)
		return;
	close_fd(stream);
	str_free(&stream->held);
	stream->held = STR_INIT;
	stream->held_from = 0;
	stream->ended = true;
}

int stream_write(struct stream *stream, const void *bytes, size_t count)
{
	if (stream->held_from > 0) {
		memmove(stream->held.text, stream->held.text + stream->held_from,
			stream->held.length - stream->held_from);
		stream->held.length -= stream->held_from;
		stream->held_from = 0;
	}
	str_append_bytes(&stream->held, bytes, count);
	if (str_failed(&stream->held))
		return -ENOMEM;
	if (!stream->listening)
		flush(stream);
	return 0;
}

void stream_end(struct stream *stream)
{
	if (stream->ended)
		return;
	stream->ended = true;
	if (!stream->listening)
		flush(stream);
}

bool stream_empty(const struct stream *stream)
{
	return stream->held_from == stream->held.length;
}

void stream_listen(struct stream *stream, bool listen)
{
	if (listen && !stream->ended)
		start_listening(stream);
	else
		stop_listening(stream);
}

long stream_read(struct stream *stream, void *bytes, size_t count)
{
	struct pollfd poll_fd = { .fd = stream->source.fd, .events = POLLIN };
	ssize_t done;

	if (stream->source.fd < 0) {
		stream->ended = true;
		return 0;
	}
	if ((stream->kind == KIND_PIPE || stream->kind == KIND_TERMINAL) && poll(&poll_fd, 1, 0) <= 0)
		return -EAGAIN;
	do
		done = stream->kind == KIND_SOCKET ? recv(stream->source.fd, bytes, count, MSG_DONTWAIT)
						   : read(stream->source.fd, bytes, count);
	while (done < 0 && errno == EINTR);
	if (done > 0)
		return done;
	if (done < 0 && errno == EAGAIN)
		return -EAGAIN;
	/* The end; or an error, which is the end as well: a terminal that hung up says EIO. */
	stream->ended = true;
	close_fd(stream);
	return 0;
}
