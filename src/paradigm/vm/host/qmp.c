/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "paradigm/vm/host/qemu.h"

enum { LINE_MAX_BYTES = 1 << 20 };

/* One line is one JSON object: a greeting, an answer, or an event.  Only the event SHUTDOWN is of interest. */
static void take_line(struct qmp *qmp, const char *text, size_t size)
{
	struct arena arena = { 0 };
	const struct json_value *root, *event, *reason;

	if (json_parse(text, size, &arena, &root, NULL) == 0) {
		event = json_find(root, "event");
		reason = json_find(json_find(root, "data"), "reason");
		if (event && event->kind == JSON_KIND_STRING && strcmp(event->text, "SHUTDOWN") == 0 && reason &&
		    reason->kind == JSON_KIND_STRING)
			(void)snprintf(qmp->shutdown, sizeof(qmp->shutdown), "%s", reason->text);
	}
	arena_free(&arena);
}

static void take(struct qmp *qmp, const char *bytes, size_t count)
{
	while (count > 0) {
		const char *end = memchr(bytes, '\n', count);
		size_t part = end ? (size_t)(end - bytes) + 1 : count;

		str_append_bytes(&qmp->line, bytes, part);
		if (end && !str_failed(&qmp->line))
			take_line(qmp, str_text(&qmp->line), qmp->line.length);
		if (end || qmp->line.length > LINE_MAX_BYTES)
			qmp->line.length = 0;
		bytes += part;
		count -= part;
	}
}

static void flush(struct qmp *qmp)
{
	while (!qmp->closed && qmp->out.length > 0) {
		ssize_t count = send(qmp->source.fd, qmp->out.text, qmp->out.length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			break;
		memmove(qmp->out.text, qmp->out.text + count, qmp->out.length - (size_t)count);
		qmp->out.length -= (size_t)count;
	}
	if (!qmp->closed)
		(void)loop_change(qmp->loop, &qmp->source, qmp->out.length ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void qmp_drain(struct qmp *qmp)
{
	char bytes[4096];
	ssize_t count;

	while (!qmp->closed) {
		count = recv(qmp->source.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (count > 0) {
			take(qmp, bytes, (size_t)count);
		} else if (count < 0 && errno == EINTR) {
			continue;
		} else if (count < 0 && errno == EAGAIN) {
			return;
		} else { /* QEMU is gone, or as good as */
			loop_remove(qmp->loop, &qmp->source);
			qmp->closed = true;
		}
	}
}

static void ready(struct loop_source *source, uint32_t events)
{
	struct qmp *qmp = source->context;

	if (events & EPOLLOUT)
		flush(qmp);
	if (events & ~(uint32_t)EPOLLOUT)
		qmp_drain(qmp);
}

int qmp_open(struct qmp *qmp, struct loop *loop, int fd, struct error *err)
{
	int ret;

	*qmp = (struct qmp){ .loop = loop, .source = { .fd = fd, .ready = ready, .context = qmp } };
	ret = loop_add(loop, &qmp->source, EPOLLIN, err);
	if (ret < 0) {
		close(fd);
		qmp->closed = true;
		qmp->source.fd = -1;
		return ret;
	}
	qmp_send(qmp, "{\"execute\":\"qmp_capabilities\"}");
	return 0;
}

void qmp_close(struct qmp *qmp)
{
	if (!qmp->loop)
		return;
	if (!qmp->closed)
		loop_remove(qmp->loop, &qmp->source);
	if (qmp->source.fd >= 0)
		close(qmp->source.fd);
	str_free(&qmp->line);
	str_free(&qmp->out);
	*qmp = (struct qmp){ .closed = true, .source = { .fd = -1 } };
}

void qmp_send(struct qmp *qmp, const char *command)
{
	if (qmp->closed)
		return;
	str_printf(&qmp->out, "%s\n", command);
	if (!str_failed(&qmp->out))
		flush(qmp);
}
