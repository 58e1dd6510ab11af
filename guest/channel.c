/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

enum { READ_SIZE = 16384, FULL = 131072 };

static void fail(struct channel *channel, int code, const char *what)
{
	if (!channel->error.code)
		(void)error_errno(&channel->error, code, "%s", what);
}

static void arm(struct channel *channel, bool armed)
{
	if (armed != channel->armed &&
	    loop_change(channel->loop, &channel->source, EPOLLIN | (armed ? EPOLLOUT : 0)) == 0)
		channel->armed = armed;
}

/* While more is put behind it, what is written must not pile up before it. */
static void forget_written(struct channel *channel)
{
	struct str *out = &channel->out;

	if (channel->written < FULL)
		return;
	memmove(out->text, out->text + channel->written, out->length - channel->written);
	out->length -= channel->written;
	channel->written = 0;
}

/* Writes what the line takes; whether it would take more. */
static bool write_some(struct channel *channel)
{
	struct str *out = &channel->out;

	while (channel->written < out->length) {
		ssize_t count = write(channel->source.fd, out->text + channel->written, out->length - channel->written);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && errno != EAGAIN)
			fail(channel, errno, "cannot write to the host");
		if (count <= 0)
			return false;
		channel->written += (size_t)count;
		forget_written(channel);
	}
	out->length = channel->written = 0;
	return true;
}

void channel_flush(struct channel *channel)
{
	if (str_failed(&channel->out))
		fail(channel, ENOMEM, "cannot write to the host");
	arm(channel, (!write_some(channel) || channel->held) && !channel->error.code);
}

void channel_flush_all(struct channel *channel)
{
	struct pollfd line = { .fd = channel->source.fd, .events = POLLOUT };

	while (!write_some(channel) && !channel->error.code)
		(void)poll(&line, 1, -1);
}

static bool is_full(const struct channel *channel)
{
	return channel->out.length - channel->written >= FULL;
}

bool channel_is_full(struct channel *channel)
{
	bool full = is_full(channel);

	channel->held |= full;
	return full;
}

const struct error *channel_error(const struct channel *channel)
{
	return channel->error.code ? &channel->error : NULL;
}

static void take_frames(struct channel *channel)
{
	struct agent_frame frame;

	while (!channel->error.code && agent_parser_next(&channel->parser, &frame, &channel->error) == 1)
		channel->take(channel->context, &frame);
}

static void read_some(struct channel *channel)
{
	uint8_t *room = agent_parser_room(&channel->parser, READ_SIZE);
	ssize_t count = room ? read(channel->source.fd, room, READ_SIZE) : -1;

	if (!room)
		fail(channel, ENOMEM, "cannot read from the host");
	else if (count > 0)
		agent_parser_fed(&channel->parser, (size_t)count);
	else if (count == 0)
		fail(channel, EPIPE, "the host hung up");
	else if (errno != EAGAIN && errno != EINTR)
		fail(channel, errno, "cannot read from the host");
	if (count > 0)
		take_frames(channel);
}

static void ready(struct loop_source *source, uint32_t events)
{
	struct channel *channel = source->context;

	if (events & EPOLLOUT) {
		(void)write_some(channel);
		if (channel->held && !is_full(channel)) {
			channel->held = false;
			channel->drained(channel->context);
		}
		channel_flush(channel);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_some(channel);
	if (channel->error.code)
		loop_stop(channel->loop);
}

static int make_raw(int fd, struct error *err)
{
	struct termios how;

	if (tcgetattr(fd, &how) < 0)
		return 0; /* a port that is no terminal */
	cfmakeraw(&how);
	/* No modem lines, no flow control of the terminal's: the frames have their own. */
	how.c_cflag |= CLOCAL | CREAD;
	how.c_cflag &= ~(tcflag_t)CRTSCTS;
	how.c_cc[VMIN] = 1;
	how.c_cc[VTIME] = 0;
	(void)cfsetspeed(&how, B115200);
	return tcsetattr(fd, TCSANOW, &how) < 0 ? error_errno(err, errno, "cannot make the line to the host raw") : 0;
}

int channel_open(struct channel *channel, struct loop *loop, int fd, struct error *err)
{
	int ret = make_raw(fd, err);

	channel->loop = loop;
	channel->source = (struct loop_source){ .fd = fd, .ready = ready, .context = channel };
	channel->parser = (struct agent_parser){ .from = AGENT_FROM_HOST };
	channel->out = STR_INIT;
	channel->written = 0;
	channel->armed = channel->held = false;
	channel->error = ERROR_INIT;
	if (ret == 0 && fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		ret = error_errno(err, errno, "cannot use the line to the host");
	return ret == 0 ? loop_add(loop, &channel->source, EPOLLIN, err) : ret;
}

void channel_close(struct channel *channel)
{
	loop_remove(channel->loop, &channel->source);
	close(channel->source.fd);
	agent_parser_free(&channel->parser);
	str_free(&channel->out);
}
