/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own monitor.  Its threads tell what the guest writes with a device's lock
 * held: that is queued here, and taken out by the loop.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "paradigm/vm/host/cmdline.h"
#include "paradigm/vm/host/confine.h"
#include "paradigm/vm/host/engine.h"
#include "paradigm/vm/host/mailbox.h"

enum {
	CONSOLE_MAX = 256 << 10, /* bytes that wait; what is more is lost, as on any line that nobody reads */
	AGENT_MAX = 16 << 20,	 /* twice what credit allows: a guest that does not care for it is at fault */
};

struct kvm {
	struct engine engine;
	struct vm_config config; /* as it was given, with the whole command line */
	struct str command_line;
	struct loop *loop;
	struct engine_owner owner;
	struct machine *machine;
	struct mailbox console, agent;
	bool told; /* ended() was called */
	struct loop_source wake, end;
};

/* ---- on the loop ---- */

static bool deliver(struct kvm *kvm, struct mailbox *box, void (*tell)(void *context, const void *bytes, size_t count))
{
	struct str bytes;
	bool whole = mailbox_take(box, &bytes);

	if (bytes.length > 0)
		tell(kvm->owner.context, bytes.text, bytes.length);
	str_free(&bytes);
	return whole;
}

static void end_with(struct kvm *kvm, const struct engine_end *end)
{
	if (kvm->told)
		return;
	kvm->told = true;
	loop_remove(kvm->loop, &kvm->end);
	kvm->owner.ended(kvm->owner.context, end);
}

static void deliver_all(struct kvm *kvm)
{
	const struct engine_end flood = { .how = MACHINE_CRASHED,
					  .reason = "its agent sends more than anybody can have asked for" };

	(void)deliver(kvm, &kvm->console, kvm->owner.console);
	if (!deliver(kvm, &kvm->agent, kvm->owner.agent)) {
		machine_stop(kvm->machine);
		end_with(kvm, &flood);
	}
}

static void wake_ready(struct loop_source *source, uint32_t events)
{
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
		deliver_all(source->context);
}

static void end_ready(struct loop_source *source, uint32_t events)
{
	struct kvm *kvm = source->context;
	struct engine_end end = { .how = MACHINE_OFF };
	const char *reason = NULL;

	(void)events;
	end.how = machine_ended(kvm->machine, &end.code, &reason);
	if (end.how == MACHINE_CRASHED && reason)
		(void)snprintf(end.reason, sizeof(end.reason), "%s", reason);
	deliver_all(kvm);
	end_with(kvm, &end);
}

static void on_room(void *context)
{
	struct kvm *kvm = context;

	kvm->owner.room(kvm->owner.context);
}

/* ---- the table ---- */

static void kvm_free(struct engine *engine)
{
	struct kvm *kvm = (struct kvm *)engine;

	if (kvm->end.fd >= 0 && !kvm->told)
		loop_remove(kvm->loop, &kvm->end);
	machine_free(kvm->machine);
	if (kvm->wake.fd >= 0) {
		loop_remove(kvm->loop, &kvm->wake);
		close(kvm->wake.fd);
	}
	mailbox_close(&kvm->console);
	mailbox_close(&kvm->agent);
	str_free(&kvm->command_line);
	free(kvm);
}

static int open_all(struct kvm *kvm, struct error *err)
{
	const struct machine_options options = {
		.config = &kvm->config,
		.loop = kvm->loop,
		.console = { .output = mailbox_put, .context = &kvm->console },
		.agent = { .output = mailbox_put, .context = &kvm->agent },
		.thread = confine_machine_thread,
	};
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), ret;

	if (fd < 0)
		return error_errno(err, errno, "eventfd");
	kvm->wake.fd = kvm->console.wake = kvm->agent.wake = fd;
	ret = loop_add(kvm->loop, &kvm->wake, EPOLLIN, err);
	if (ret == 0)
		ret = machine_make(&options, &kvm->machine, err);
	if (ret < 0)
		return ret;
	machine_on_room(kvm->machine, on_room, kvm);
	fd = machine_end_fd(kvm->machine);
	kvm->end.fd = fd;
	ret = loop_add(kvm->loop, &kvm->end, EPOLLIN, err);
	if (ret < 0)
		kvm->end.fd = -1;
	return ret;
}

static int make(const struct vm_config *config, struct loop *loop, const struct engine_owner *owner,
		struct engine **engine, struct error *err)
{
	struct kvm *kvm = calloc(1, sizeof(*kvm));
	int ret;

	if (!kvm)
		return error_set(err, ENOMEM, "no memory for the machine");
	kvm->engine.ops = &engine_kvm;
	kvm->config = *config;
	kvm->loop = loop;
	kvm->owner = *owner;
	mailbox_open(&kvm->console, CONSOLE_MAX, -1);
	mailbox_open(&kvm->agent, AGENT_MAX, -1);
	kvm->wake = (struct loop_source){ .fd = -1, .ready = wake_ready, .context = kvm };
	kvm->end = (struct loop_source){ .fd = -1, .ready = end_ready, .context = kvm };
	cmdline_write(config, 0, &kvm->command_line);
	kvm->config.command_line = str_text(&kvm->command_line);
	ret = str_failed(&kvm->command_line) ? error_set(err, ENOMEM, "no memory for the kernel's command line")
					     : open_all(kvm, err);
	if (ret < 0) {
		kvm_free(&kvm->engine);
		return ret;
	}
	*engine = &kvm->engine;
	return 0;
}

static int start(struct engine *engine, struct error *err)
{
	return machine_start(((struct kvm *)engine)->machine, err);
}

static size_t agent_input(struct engine *engine, const void *bytes, size_t count)
{
	return machine_agent_input(((struct kvm *)engine)->machine, bytes, count);
}

static size_t console_input(struct engine *engine, const void *bytes, size_t count)
{
	return machine_console_input(((struct kvm *)engine)->machine, bytes, count);
}

static void stop(struct engine *engine)
{
	machine_stop(((struct kvm *)engine)->machine);
}

static int balloon(struct engine *engine, uint64_t bytes, struct error *err)
{
	return machine_balloon(((struct kvm *)engine)->machine, bytes, err);
}

static void counters(struct engine *engine, struct str *out)
{
	str_append(out, "\"machine\":");
	machine_counters(((struct kvm *)engine)->machine, out);
}

static int snapshot(struct engine *engine, int state, int memory, struct error *err)
{
	struct kvm *kvm = (struct kvm *)engine;
	int ret = machine_pause(kvm->machine, err);

	if (ret < 0)
		return ret;
	/* What the guest has said is its owner's to save. */
	deliver_all(kvm);
	ret = machine_save(kvm->machine, state, memory, err);
	if (ret < 0)
		(void)machine_resume(kvm->machine, NULL);
	return ret;
}

static void resume(struct engine *engine)
{
	(void)machine_resume(((struct kvm *)engine)->machine, NULL);
}

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.make = make,
	.start = start,
	.agent_input = agent_input,
	.console_input = console_input,
	.stop = stop,
	.free = kvm_free,
	.balloon = balloon,
	.counters = counters,
	.snapshot = snapshot,
	.resume = resume,
};
