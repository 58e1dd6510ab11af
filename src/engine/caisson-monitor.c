/* SPDX-License-Identifier: Apache-2.0 */
/* The program of monitor.h.  One per instance, mostly asleep: every page that it touches is held a thousand times. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/monitor.h"
#include "engine/monitor_log.h"

enum { FIXED_FDS = 6, INPUT_MAX = 4 * MONITOR_DATA_MAX };

/* Places in the list of what is waited for; clients come after them. */
enum { AT_PIDFD, AT_LISTEN, AT_OUTPUT, AT_ERRORS, AT_INPUT, AT_MASTER };

struct client {
	int fd; /* -1: free */
	unsigned wants;
	bool attached; /* has sent MONITOR_ATTACH */
	bool pending;  /* has not taken the current chunk yet */
	bool leaving;  /* was told about the end: only its hang-up is of interest */
};

struct monitor {
	struct monitor_config config;
	const char *id, *engine, *root;
	struct client clients[MONITOR_CLIENTS_MAX];
	int clients_top; /* one past the last one in use */
	int peer;	 /* the terminal's other end: keeps it from hanging up while nobody has it open */
	bool ended;	 /* process 1 is gone */
	bool input_ended;
	struct monitor_exit exit;
	size_t input_from, input_to; /* what is in input */
	size_t chunk_size;	     /* of frame, while somebody has not taken it; it includes the type */
	struct monitor_frame frame;
	char input[INPUT_MAX];
	struct monitor_log log;
};

/* Zeroed memory that costs nothing until it is used. */
static struct monitor monitor;

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS;
}

static void set_nonblocking(int fd)
{
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void drop_client(struct monitor *self, struct client *client)
{
	bool fed = client->attached && (client->wants & MONITOR_WANTS_INPUT);

	close_fd(&client->fd);
	*client = (struct client){ .fd = -1 };
	while (self->clients_top > 0 && self->clients[self->clients_top - 1].fd < 0)
		self->clients_top--;
	if (fed && (self->config.flags & MONITOR_STDIN_ONCE) && !(self->config.flags & MONITOR_TTY))
		self->input_ended = true;
}

/* Offers the current chunk to everybody who has not taken it. */
static void offer_chunk(struct monitor *self)
{
	bool waiting = false;

	for (int i = 0; self->chunk_size && i < self->clients_top; i++) {
		struct client *client = &self->clients[i];

		if (client->fd < 0 || !client->pending)
			continue;
		if (send(client->fd, &self->frame, self->chunk_size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			client->pending = false;
		else if (would_block())
			waiting = true;
		else
			drop_client(self, client);
	}
	if (!waiting)
		self->chunk_size = 0;
}

/* Reads once from a source of output; false at its end.  Nothing is read while a slow client holds the last chunk: the
 * instance waits for it, and nothing is lost. */
static bool pump_output(struct monitor *self, int fd, char type)
{
	unsigned wants = type == MONITOR_ERRORS ? MONITOR_WANTS_ERRORS : MONITOR_WANTS_OUTPUT;
	ssize_t count = read(fd, self->frame.data, MONITOR_DATA_MAX);

	if (count < 0 && would_block())
		return true;
	if (count <= 0)
		return false;
	if (self->config.flags & MONITOR_LOG)
		monitor_log_write(&self->log, type == MONITOR_ERRORS, self->frame.data, (size_t)count);
	self->frame.type = type;
	self->chunk_size = (size_t)count + 1;
	for (int i = 0; i < self->clients_top; i++) {
		struct client *client = &self->clients[i];

		client->pending = client->fd >= 0 && client->attached && (client->wants & wants) && !client->leaving;
	}
	offer_chunk(self);
	return true;
}

static void pump_input(struct monitor *self, int fd)
{
	while (self->input_from < self->input_to) {
		ssize_t count = write(fd, self->input + self->input_from, self->input_to - self->input_from);

		if (count < 0 && would_block())
			return;
		if (count < 0) { /* nobody reads it any more */
			self->input_ended = true;
			self->input_from = self->input_to;
			break;
		}
		self->input_from += (size_t)count;
	}
	self->input_from = self->input_to = 0;
	if (self->input_ended)
		close_fd(&self->config.input);
}

static void take_input(struct monitor *self, const char *bytes, size_t count)
{
	if (self->config.input < 0 && self->config.master < 0)
		return;
	memmove(self->input, self->input + self->input_from, self->input_to - self->input_from);
	self->input_to -= self->input_from;
	self->input_from = 0;
	if (count > INPUT_MAX - self->input_to) /* cannot be: see wants_frames() */
		count = INPUT_MAX - self->input_to;
	memcpy(self->input + self->input_to, bytes, count);
	self->input_to += count;
}

/* Frames are taken only while the largest one would fit. */
static bool wants_frames(const struct monitor *self)
{
	return self->input_to - self->input_from <= INPUT_MAX - MONITOR_DATA_MAX;
}

static void resize(struct monitor *self, const char *data, size_t size)
{
	struct monitor_size wanted;
	struct winsize window = { 0 };

	if (self->config.master < 0 || size < sizeof(wanted))
		return;
	memcpy(&wanted, data, sizeof(wanted));
	window.ws_row = wanted.rows;
	window.ws_col = wanted.columns;
	(void)ioctl(self->config.master, TIOCSWINSZ, &window);
}

/* One frame of a client.  The buffer is the output's, which is free: frames are read only while no chunk waits. */
static void serve_client(struct monitor *self, struct client *client)
{
	ssize_t count = recv(client->fd, &self->frame, sizeof(self->frame), MSG_DONTWAIT);

	if (count < 0 && would_block())
		return;
	if (count <= 0) {
		drop_client(self, client);
		return;
	}
	switch (self->frame.type) {
	case MONITOR_ATTACH:
		client->attached = true;
		client->wants = count > 1 ? (unsigned char)self->frame.data[0] : 0;
		break;
	case MONITOR_INPUT:
		if (client->wants & MONITOR_WANTS_INPUT)
			take_input(self, self->frame.data, (size_t)count - 1);
		break;
	case MONITOR_INPUT_END:
		if ((client->wants & MONITOR_WANTS_INPUT) && !(self->config.flags & MONITOR_TTY))
			self->input_ended = true;
		break;
	case MONITOR_RESIZE:
		resize(self, self->frame.data, (size_t)count - 1);
		break;
	default:
		break;
	}
}

static void add_client(struct monitor *self, int fd, unsigned wants, bool attached)
{
	for (int i = 0; i < MONITOR_CLIENTS_MAX; i++) {
		if (self->clients[i].fd >= 0)
			continue;
		self->clients[i] = (struct client){ .fd = fd, .wants = wants, .attached = attached };
		if (i >= self->clients_top)
			self->clients_top = i + 1;
		return;
	}
	close(fd);
}

static void accept_client(struct monitor *self)
{
	int fd = accept4(self->config.listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		add_client(self, fd, 0, false);
}

/* The last thing that the kernel counted: "oom_kill N" in both versions' files. */
static bool was_oom_killed(int events)
{
	char text[512];
	ssize_t count = events < 0 ? -1 : pread(events, text, sizeof(text) - 1, 0);
	const char *at;

	if (count <= 0)
		return false;
	text[count] = '\0';
	at = strstr(text, "oom_kill ");
	return at && at[9] >= '1' && at[9] <= '9';
}

/* Called when process 1 is a zombie: its children are dead, what they wrote is in the pipes. */
static void reap(struct monitor *self)
{
	siginfo_t info = { .si_pid = 0 };

	while (waitid(P_PID, (id_t)self->config.pid, &info, WEXITED) < 0) {
		if (errno != EINTR)
			break;
	}
	self->ended = true;
	self->exit.oom_killed = was_oom_killed(self->config.oom[0]) || was_oom_killed(self->config.oom[1]);
	self->exit.code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	close_fd(&self->config.pidfd);
	/* Without this end the master's read fails only when all that was written has been read. */
	close_fd(&self->peer);
}

static char *put_text(char *at, const char *text)
{
	size_t length = strlen(text);

	memcpy(at, text, length);
	return at + length;
}

static char *put_number(char *at, unsigned number)
{
	char digits[12], *from = digits + sizeof(digits);

	*--from = '\0';
	do {
		*--from = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	return put_text(at, from);
}

static void write_exit(const struct monitor *self)
{
	char text[MONITOR_EXIT_MAX], when[CLOCK_TEXT_MAX], *at = text;
	int fd = openat(self->config.dir, MONITOR_EXIT_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	clock_now(when);
	at = put_text(at, "{\"ExitCode\":");
	at = put_number(at, (unsigned)self->exit.code);
	at = put_text(at, self->exit.oom_killed ? ",\"OOMKilled\":true" : ",\"OOMKilled\":false");
	at = put_text(at, ",\"FinishedAt\":\"");
	at = put_text(at, when);
	at = put_text(at, "\"}\n");
	/* Without a record the next command takes the instance for one whose monitor was killed. */
	if (fd >= 0 && write(fd, text, (size_t)(at - text)) == at - text && ftruncate(fd, at - text) == 0)
		(void)renameat(self->config.dir, MONITOR_EXIT_FILE, self->config.dir, "exit.json");
	if (fd >= 0)
		close(fd);
}

static void tell_end(struct monitor *self)
{
	self->frame.type = MONITOR_EXIT;
	memcpy(self->frame.data, &self->exit, sizeof(self->exit));
	for (int i = self->clients_top - 1; i >= 0; i--) {
		struct client *client = &self->clients[i];
		ssize_t sent;

		if (client->fd < 0)
			continue;
		sent = send(client->fd, &self->frame, 1 + sizeof(self->exit), MSG_NOSIGNAL | MSG_DONTWAIT);
		client->leaving = true;
		if (sent < 0 || !(client->wants & MONITOR_OWNS))
			drop_client(self, client);
	}
}

static struct pollfd *watch(struct pollfd *at, int fd, bool wanted, short events)
{
	*at = (struct pollfd){ .fd = wanted ? fd : -1, .events = events };
	return at + 1;
}

/* What is waited for depends on who holds whom up. */
static nfds_t plan(const struct monitor *self, struct pollfd *fds)
{
	const struct monitor_config *config = &self->config;
	bool flowing = self->chunk_size == 0, feeding = self->input_from < self->input_to || self->input_ended;
	struct pollfd *at = fds;

	at = watch(at, config->pidfd, !self->ended && flowing, POLLIN);
	at = watch(at, config->listen, !self->ended, POLLIN);
	at = watch(at, config->output, flowing, POLLIN);
	at = watch(at, config->errors, flowing, POLLIN);
	at = watch(at, config->input, feeding, POLLOUT);
	at = watch(at, config->master, flowing || self->input_from < self->input_to,
		   (short)((flowing ? POLLIN : 0) | (self->input_from < self->input_to ? POLLOUT : 0)));
	for (int i = 0; i < self->clients_top; i++) {
		const struct client *client = &self->clients[i];
		short events = (short)((client->pending && !flowing ? POLLOUT : 0) |
				       (flowing && wants_frames(self) && !client->leaving ? POLLIN : 0));

		at = watch(at, client->fd, client->fd >= 0, events);
	}
	return (nfds_t)(at - fds);
}

static void handle_streams(struct monitor *self, const struct pollfd *fds)
{
	struct monitor_config *config = &self->config;

	if ((fds[AT_INPUT].revents & POLLERR) && fds[AT_INPUT].fd >= 0)
		self->input_ended = true;
	if (fds[AT_INPUT].revents)
		pump_input(self, config->input);
	if (fds[AT_MASTER].revents & POLLOUT)
		pump_input(self, config->master);
	if (fds[AT_OUTPUT].revents && self->chunk_size == 0 && !pump_output(self, config->output, MONITOR_OUTPUT))
		close_fd(&config->output);
	if (fds[AT_ERRORS].revents && self->chunk_size == 0 && !pump_output(self, config->errors, MONITOR_ERRORS))
		close_fd(&config->errors);
	if ((fds[AT_MASTER].revents & (POLLIN | POLLHUP | POLLERR)) && self->chunk_size == 0 &&
	    !pump_output(self, config->master, MONITOR_OUTPUT) && self->ended)
		close_fd(&config->master);
}

static void handle_clients(struct monitor *self, const struct pollfd *fds, int count)
{
	for (int i = 0; i < count; i++) {
		struct client *client = &self->clients[i];
		short seen = fds[FIXED_FDS + i].revents;

		if (!seen || client->fd != fds[FIXED_FDS + i].fd || client->fd < 0)
			continue;
		if ((seen & POLLIN) && self->chunk_size == 0)
			serve_client(self, client);
		else if ((seen & (POLLHUP | POLLERR)) && !(seen & POLLIN))
			drop_client(self, client);
	}
	offer_chunk(self);
}

static void wait_once(struct monitor *self)
{
	struct pollfd fds[FIXED_FDS + MONITOR_CLIENTS_MAX];
	int clients = self->clients_top;

	if (poll(fds, plan(self, fds), -1) < 0)
		return;
	handle_streams(self, fds);
	handle_clients(self, fds, clients);
	if (fds[AT_LISTEN].revents)
		accept_client(self);
	if (fds[AT_PIDFD].revents && !self->ended)
		reap(self);
}

/* After the end: everything that is left in the pipes, at the pace of who reads it. */
static void drain(struct monitor *self)
{
	const struct {
		int *fd;
		char type;
	} sources[] = { { &self->config.output, MONITOR_OUTPUT },
			{ &self->config.errors, MONITOR_ERRORS },
			{ &self->config.master, MONITOR_OUTPUT } };

	close_fd(&self->config.input);
	self->input_from = self->input_to = 0;
	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		while (*sources[i].fd >= 0) {
			struct pollfd left = { .fd = *sources[i].fd, .events = POLLIN };

			if (self->chunk_size) {
				wait_once(self);
				continue;
			}
			/* Nothing there and not at its end: somebody outside the instance holds it. */
			if (poll(&left, 1, 0) <= 0 || !pump_output(self, *sources[i].fd, sources[i].type))
				close_fd(sources[i].fd);
		}
	}
	while (self->chunk_size)
		wait_once(self);
}

/* Owners clean up; what they leave is the engine's, which this process becomes. */
static void settle(struct monitor *self)
{
	char lock[12];
	const char *arguments[] = { self->engine, "--root", self->root, "settle", self->id, lock, NULL };
	const char *without_root[] = { self->engine, "settle", self->id, lock, NULL };
	const char *const *chosen = *self->root ? arguments : without_root;

	while (self->clients_top > 0)
		wait_once(self);
	if (faccessat(self->config.dir, "run", F_OK, 0) < 0)
		return;
	(void)put_number(lock, (unsigned)self->config.lock);
	(void)execv(self->engine, (char *const *)(uintptr_t)chosen);
}

static int start(struct monitor *self, char **argv)
{
	static const int ignored[] = { SIGPIPE, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU };
	int fd = 0;

	for (const char *at = argv[1]; *at >= '0' && *at <= '9'; at++)
		fd = fd * 10 + (*at - '0');
	if (read(fd, &self->config, sizeof(self->config)) != (ssize_t)sizeof(self->config) ||
	    self->config.size != sizeof(self->config))
		return -1;
	close(fd);
	self->id = argv[2];
	self->engine = argv[3];
	self->root = argv[4];
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	for (int i = 0; i < MONITOR_CLIENTS_MAX; i++)
		self->clients[i].fd = -1;
	self->peer = -1;
	if (self->config.flags & MONITOR_TTY)
		self->peer = ioctl(self->config.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	set_nonblocking(self->config.input);
	set_nonblocking(self->config.output);
	set_nonblocking(self->config.errors);
	set_nonblocking(self->config.master);
	if (self->config.flags & MONITOR_HELD_CLIENT)
		add_client(self, self->config.client, self->config.client_wants, true);
	if (self->config.flags & MONITOR_LOG)
		monitor_log_open(&self->log, self->config.dir, self->config.log_size, self->config.log_files);
	return 0;
}

int main(int argc, char **argv)
{
	struct monitor *self = &monitor;

	if (argc != 5 || start(self, argv) < 0) {
		static const char usage[] = "caisson-monitor is started by caisson\n";

		(void)!write(STDERR_FILENO, usage, sizeof(usage) - 1);
		return 125;
	}
	while (!self->ended)
		wait_once(self);
	drain(self);
	if (self->config.flags & MONITOR_LOG)
		monitor_log_close(&self->log);
	write_exit(self);
	tell_end(self);
	settle(self);
	return 0;
}
