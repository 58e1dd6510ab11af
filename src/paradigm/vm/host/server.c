/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/clone.h"
#include "linux/fdpass.h"

enum { FDS_MAX = 4, SIGNAL_MAX = 64, SIDE_MAX = 65535 };

/* A request on its way. */
struct request {
	struct server_client *client;
	const struct control_message *head;
	const char *text; /* NUL-terminated */
	size_t size;
	int fds[FDS_MAX]; /* owned: what is taken out of it becomes -1 */
	size_t fds_count;
};

static void drop(struct server_client *client)
{
	struct server *server = client->server;

	if (client->source.fd < 0)
		return;
	loop_remove(server->loop, &client->source);
	close(client->source.fd);
	client->source.fd = -1;
	if (client->session)
		client->session->context = NULL;
	client->session = NULL;
	client->asked_stats = client->asked_ready = false;
	if (client->holds)
		server->owner.resume(server->owner.context);
	client->holds = false;
	if (!server->listening && server->listener.fd >= 0)
		server->listening = loop_add(server->loop, &server->listener, EPOLLIN, NULL) == 0;
}

/* Answers; a client that does not listen is dropped. */
static void answer(struct server_client *client, enum control_kind kind, uint32_t number, const char *text, size_t size)
{
	struct control_message head = { .kind = kind, .number = number, .size = (uint32_t)size };
	struct iovec parts[2] = { { .iov_base = &head, .iov_len = sizeof(head) },
				  { .iov_base = (void *)text, .iov_len = size } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1 };

	if (sendmsg(client->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		drop(client);
}

static void answer_error(struct server_client *client, const struct error *err)
{
	answer(client, CONTROL_FAILED, (uint32_t)err->code, err->text, strlen(err->text));
}

/* ---- requests: 0, or an error which is answered and ends the connection ---- */

static int do_exec(struct request *request, struct error *err)
{
	struct server_client *client = request->client;
	struct server *server = client->server;
	struct session *workload = sessions_workload(server->sessions);
	int stdio[3];

	if (client->session)
		return error_set(err, EBUSY, "this connection has a process already");
	if (!workload || workload->state != SESSION_RUNS)
		return error_set(err, EAGAIN, "the virtual machine's own process does not run");
	for (int i = 0; i < 3; i++)
		stdio[i] = take_fd(&request->fds[i]);
	client->session = sessions_start(server->sessions, AGENT_EXEC, request->text, request->size, stdio, client,
					 err);
	return client->session ? 0 : -err->code;
}

static struct session *target(const struct server_client *client)
{
	return client->session ? client->session : sessions_workload(client->server->sessions);
}

static int do_signal(struct request *request, struct error *err)
{
	struct session *session = target(request->client);

	if (request->head->number == 0 || request->head->number > SIGNAL_MAX)
		return error_set(err, EINVAL, "%u is no signal", request->head->number);
	if (session)
		session_signal(session, request->head->number);
	return 0;
}

static int do_resize(struct request *request, struct error *err)
{
	struct session *session = target(request->client);

	if (request->head->number > SIDE_MAX || request->head->second > SIDE_MAX)
		return error_set(err, EINVAL, "no terminal is as large as that");
	if (session)
		session_resize(session, request->head->number, request->head->second);
	return 0;
}

static int do_counters(struct request *request, struct error *err)
{
	struct server *server = request->client->server;
	cleanup_str struct str out = STR_INIT;

	server->owner.counters(server->owner.context, &out);
	if (str_failed(&out) || out.length > CONTROL_INLINE_MAX)
		return error_set(err, ENOMEM, "no memory for the counters");
	answer(request->client, CONTROL_DONE, 0, str_text(&out), out.length);
	return 0;
}

static int do_stats(struct request *request, struct error *err)
{
	struct sessions *sessions = request->client->server->sessions;

	if (!sessions->spoken || sessions->broken)
		return error_set(err, EAGAIN, "the guest's agent does not speak");
	request->client->asked_stats = true;
	sessions_put(sessions, AGENT_ASK_STATS, NULL, 0);
	return 0;
}

static int do_settle(struct request *request, struct error *err)
{
	struct sessions *sessions = request->client->server->sessions;
	const struct session *workload = sessions_workload(sessions);

	if (!workload || workload->state != SESSION_RUNS)
		return error_set(err, EAGAIN, "the virtual machine's own process does not run");
	request->client->asked_ready = true;
	sessions_put(sessions, AGENT_PING, NULL, 0);
	return 0;
}

static int do_snapshot(struct request *request, struct error *err)
{
	struct server *server = request->client->server;
	int ret;

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (server->clients[i].holds)
			return error_set(err, EBUSY, "another snapshot of the machine is being taken");
	}
	ret = server->owner.snapshot(server->owner.context, request->fds[0], request->fds[1], err);
	if (ret < 0)
		return ret;
	request->client->holds = true;
	answer(request->client, CONTROL_DONE, 0, NULL, 0);
	return 0;
}

static int do_balloon(struct request *request, struct error *err)
{
	struct server *server = request->client->server;
	int ret = server->owner.balloon(server->owner.context, (uint64_t)request->head->number << 20, err);

	if (ret == 0)
		answer(request->client, CONTROL_DONE, 0, NULL, 0);
	return ret;
}

static const struct {
	enum control_kind kind;
	bool text;
	size_t fds;
	int (*act)(struct request *request, struct error *err);
} requests[] = {
	{ CONTROL_EXEC, true, 3, do_exec },	   { CONTROL_SIGNAL, false, 0, do_signal },
	{ CONTROL_RESIZE, false, 0, do_resize },   { CONTROL_COUNTERS, false, 0, do_counters },
	{ CONTROL_STATS, false, 0, do_stats },	   { CONTROL_SNAPSHOT, false, 2, do_snapshot },
	{ CONTROL_BALLOON, false, 0, do_balloon }, { CONTROL_SETTLE, false, 0, do_settle },
};

/* A text that came as a file. */
static int read_text(struct request *request, char **text, struct error *err)
{
	int ret = file_read_fd(request->fds[request->fds_count - 1], CONTROL_TEXT_MAX, text, &request->size, err);

	request->text = *text;
	return ret;
}

static int act(struct request *request, struct error *err)
{
	cleanup_free char *text = NULL;

	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
		bool apart = requests[i].text && request->size == 0;
		int ret;

		if (requests[i].kind != request->head->kind)
			continue;
		if (request->fds_count != requests[i].fds + (apart ? 1 : 0) || (request->size > 0 && !requests[i].text))
			return error_set(err, EINVAL, "the request has not what belongs to it");
		ret = apart ? read_text(request, &text, err) : 0;
		return ret < 0 ? ret : requests[i].act(request, err);
	}
	return error_set(err, EINVAL, "there is no request %u", request->head->kind);
}

static void client_ready(struct loop_source *source, uint32_t events)
{
	struct server_client *client = source->context;
	struct server *server = client->server;
	struct request request = { .client = client, .head = &server->message.head, .fds_count = FDS_MAX };
	struct error err = ERROR_INIT;
	size_t room = sizeof(server->message) - 1;
	int count;

	(void)events;
	count = fdpass_receive(source->fd, request.fds, &request.fds_count, &server->message, room, &err);
	if (count < 0 && (err.code == EAGAIN || err.code == EINTR))
		return;
	if (count < (int)sizeof(struct control_message)) {
		if (count >= 0)
			fds_close(request.fds, request.fds_count);
		drop(client);
		return;
	}
	request.size = (size_t)count - sizeof(struct control_message);
	request.text = server->message.text;
	server->message.text[request.size] = '\0';
	if (request.size != request.head->size)
		(void)error_set(&err, EINVAL, "the request is not as long as it says");
	else
		(void)act(&request, &err);
	for (size_t i = 0; i < request.fds_count; i++) {
		if (request.fds[i] >= 0)
			close(request.fds[i]);
	}
	if (err.code && client->source.fd >= 0) {
		answer_error(client, &err);
		drop(client);
	}
}

/* ---- connections ---- */

static struct server_client *find_free(struct server *server)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (server->clients[i].source.fd < 0)
			return &server->clients[i];
	}
	return NULL;
}

static void accept_clients(struct server *server)
{
	struct server_client *client;
	int fd;

	while ((client = find_free(server))) {
		fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		client->source = (struct loop_source){ .fd = fd, .ready = client_ready, .context = client };
		if (loop_add(server->loop, &client->source, EPOLLIN, NULL) < 0) {
			close(fd);
			client->source.fd = -1;
		}
	}
	/* The house is full: the others wait where they are. */
	loop_remove(server->loop, &server->listener);
	server->listening = false;
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
	(void)events;
	accept_clients(source->context);
}

int server_open(struct server *server, struct loop *loop, int listener, struct sessions *sessions,
		const struct server_owner *owner, struct error *err)
{
	int ret;

	server->loop = loop;
	server->sessions = sessions;
	server->owner = *owner;
	server->listening = false;
	server->listener = (struct loop_source){ .fd = listener, .ready = listener_ready, .context = server };
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		server->clients[i] = (struct server_client){ .server = server };
		server->clients[i].source.fd = -1;
	}
	if (listener < 0)
		return 0;
	if (fcntl(listener, F_SETFL, O_NONBLOCK) < 0)
		return error_errno(err, errno, "control socket");
	ret = loop_add(loop, &server->listener, EPOLLIN, err);
	server->listening = ret == 0;
	return ret;
}

void server_close(struct server *server)
{
	if (!server->loop)
		return;
	if (server->listening)
		loop_remove(server->loop, &server->listener);
	server->listening = false;
	if (server->listener.fd >= 0)
		close(server->listener.fd);
	server->listener.fd = -1;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		drop(&server->clients[i]);
}

/* ---- what became of things ---- */

void server_started(struct server *server, struct session *session, uint32_t pid)
{
	(void)server;
	if (session->context)
		answer(session->context, CONTROL_STARTED, pid, NULL, 0);
}

/* The session is free from now on, and the connection is done: this is its last word. */
static void answer_last(struct session *session, enum control_kind kind, uint32_t number, const char *words)
{
	struct server_client *client = session->context;

	session->context = NULL;
	if (!client)
		return;
	client->session = NULL;
	answer(client, kind, number, words, strlen(words));
	drop(client);
}

void server_failed(struct server *server, struct session *session, uint32_t code, const char *words)
{
	(void)server;
	answer_last(session, CONTROL_FAILED, code, words);
}

void server_exited(struct server *server, struct session *session)
{
	(void)server;
	answer_last(session, CONTROL_EXITED, session->status, "");
}

void server_stats(struct server *server, const char *text, size_t size)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct server_client *client = &server->clients[i];

		if (client->source.fd < 0 || !client->asked_stats)
			continue;
		client->asked_stats = false;
		answer(client, CONTROL_DONE, 0, text, size <= CONTROL_INLINE_MAX ? size : CONTROL_INLINE_MAX);
	}
}

void server_ready(struct server *server)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct server_client *client = &server->clients[i];

		if (client->source.fd < 0 || !client->asked_ready)
			continue;
		client->asked_ready = false;
		answer(client, CONTROL_DONE, 0, NULL, 0);
	}
}
