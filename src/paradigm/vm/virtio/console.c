/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/virtio/console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

enum {
	QUEUE_RECEIVE,
	QUEUE_TRANSMIT,
	QUEUE_CONTROL_RECEIVE,
	QUEUE_CONTROL_TRANSMIT,
	QUEUES,

	QUEUE_SIZE = 128,
	PIECE = 16384,	       /* bytes that output() gets at most */
	REQUEST_MAX = 1 << 20, /* no driver sends more in one request; Linux 32 KiB */
	ROUND_MAX = 64,	       /* requests before others on the loop have their turn */
	CONTROL_MAX = sizeof(struct virtio_console_control) + VIRTIO_CONSOLE_NAME_MAX,
};

/* Messages of ours that wait for a buffer of the driver's, in the order in which they are sent. */
enum { SAY_ADD = 1, SAY_NAME = 2, SAY_OPEN = 4 };

struct console {
	struct virtio virtio;
	struct virtio_console_options options;
	char name[VIRTIO_CONSOLE_NAME_MAX + 1];
	uint32_t say;
	bool guest_open; /* the port, by a program in the guest */
	bool refused;	 /* input had to wait */
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
	uint8_t piece[PIECE];
};

static struct console *console_of(struct virtio *virtio)
{
	return (struct console *)(void *)virtio;
}

static bool has_ports(const struct console *console)
{
	return virtio_has(&console->virtio, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* ---- control: virtio 1.2, 5.3.6.2 ---- */

static size_t make_message(const struct console *console, uint32_t what, uint8_t *message)
{
	struct virtio_console_control control = { .id = 0 };
	size_t name = what == SAY_NAME ? strlen(console->name) : 0;

	control.event = what == SAY_ADD	   ? VIRTIO_CONSOLE_PORT_ADD
			: what == SAY_NAME ? VIRTIO_CONSOLE_PORT_NAME
					   : VIRTIO_CONSOLE_PORT_OPEN;
	control.value = what != SAY_ADD;
	memcpy(message, &control, sizeof(control));
	memcpy(message + sizeof(control), console->name, name);
	return sizeof(control) + name;
}

static void say(struct console *console)
{
	struct virtqueue *queue = &console->virtio.queues[QUEUE_CONTROL_RECEIVE];
	struct virtqueue_chain chain;

	while (console->say != 0 && virtio_pop(&console->virtio, QUEUE_CONTROL_RECEIVE, &chain, console->iov)) {
		uint8_t message[CONTROL_MAX];
		uint32_t what = console->say & -console->say;
		size_t size = make_message(console, what, message);

		size = iov_write(chain.iov + chain.count_out, chain.count_in, 0, message, size);
		virtqueue_push(queue, chain.head, (uint32_t)size);
		console->say &= ~what;
	}
	if (virtqueue_listen(queue, console->say != 0))
		virtio_kick(&console->virtio, QUEUE_CONTROL_RECEIVE);
	virtio_notify(&console->virtio, QUEUE_CONTROL_RECEIVE);
}

static void tell_room(struct console *console)
{
	if (!console->refused)
		return;
	console->refused = false;
	if (console->options.room)
		console->options.room(console->options.context);
}

static void hear(struct console *console, const struct virtio_console_control *control)
{
	if (control->event == VIRTIO_CONSOLE_DEVICE_READY && control->value == 1) {
		console->say |= SAY_ADD;
	} else if (control->event == VIRTIO_CONSOLE_PORT_READY && control->id == 0 && control->value == 1) {
		console->say |= SAY_NAME | SAY_OPEN;
	} else if (control->event == VIRTIO_CONSOLE_PORT_OPEN && control->id == 0) {
		console->guest_open = control->value == 1;
		if (console->guest_open)
			tell_room(console);
	}
}

static void handle_control(struct console *console)
{
	struct virtqueue_chain chain;
	unsigned count;

	for (count = 0; count < ROUND_MAX; count++) {
		struct virtio_console_control control;

		if (!virtio_pop(&console->virtio, QUEUE_CONTROL_TRANSMIT, &chain, console->iov))
			break;
		if (iov_read(chain.iov, chain.count_out, 0, &control, sizeof(control)) == sizeof(control))
			hear(console, &control);
		virtqueue_push(&console->virtio.queues[QUEUE_CONTROL_TRANSMIT], chain.head, 0);
	}
	virtio_notify(&console->virtio, QUEUE_CONTROL_TRANSMIT);
	/* A driver with the event index tells of the first message only, unless it is asked to: and spins. */
	if (count == ROUND_MAX || virtqueue_listen(&console->virtio.queues[QUEUE_CONTROL_TRANSMIT], true))
		virtio_kick(&console->virtio, QUEUE_CONTROL_TRANSMIT);
	say(console);
}

/* ---- data ---- */

/* In pieces that are copied: the guest may go on writing to its buffers. */
static void output(struct console *console, const struct virtqueue_chain *chain)
{
	size_t done = 0, count;

	while ((count = iov_read(chain->iov, chain->count_out, done, console->piece, PIECE)) > 0) {
		if (console->options.output)
			console->options.output(console->options.context, console->piece, count);
		done += count;
	}
}

static void handle_transmit(struct console *console)
{
	struct virtqueue *queue = &console->virtio.queues[QUEUE_TRANSMIT];
	struct virtqueue_chain chain;
	unsigned count;

	for (count = 0; count < ROUND_MAX && virtio_pop(&console->virtio, QUEUE_TRANSMIT, &chain, console->iov);
	     count++) {
		if (chain.size_out > REQUEST_MAX) {
			virtio_fail(&console->virtio);
			return;
		}
		output(console, &chain);
		virtqueue_push(queue, chain.head, 0);
	}
	virtio_notify(&console->virtio, QUEUE_TRANSMIT);
	if (count == ROUND_MAX || virtqueue_listen(queue, true))
		virtio_kick(&console->virtio, QUEUE_TRANSMIT);
}

/* A buffer may have come between the look and the wish to be told. */
static bool pop_room(struct console *console, struct virtqueue_chain *chain)
{
	struct virtio *virtio = &console->virtio;

	return virtio_pop(virtio, QUEUE_RECEIVE, chain, console->iov) ||
	       (virtqueue_listen(&virtio->queues[QUEUE_RECEIVE], true) &&
		virtio_pop(virtio, QUEUE_RECEIVE, chain, console->iov));
}

static size_t input(struct console *console, const uint8_t *bytes, size_t count)
{
	struct virtqueue *queue = &console->virtio.queues[QUEUE_RECEIVE];
	struct virtqueue_chain chain;
	size_t done = 0;

	while (done < count && pop_room(console, &chain)) {
		size_t written = iov_write(chain.iov + chain.count_out, chain.count_in, 0, bytes + done, count - done);

		if (written == 0) {
			virtio_fail(&console->virtio);
			break;
		}
		virtqueue_push(queue, chain.head, (uint32_t)written);
		done += written;
	}
	if (virtqueue_listen(queue, done < count))
		virtio_kick(&console->virtio, QUEUE_RECEIVE);
	virtio_notify(&console->virtio, QUEUE_RECEIVE);
	return done;
}

size_t virtio_console_input(struct device *device, const void *bytes, size_t count)
{
	struct console *console = (struct console *)(void *)device;
	struct virtio *virtio = &console->virtio;
	size_t done = 0;

	(void)pthread_mutex_lock(&device->lock);
	/* Linux drops what comes to a port that nobody has opened. */
	if (virtio->active && !virtio->quiet && (console->guest_open || !has_ports(console)))
		done = input(console, bytes, count);
	if (done < count)
		console->refused = true;
	(void)pthread_mutex_unlock(&device->lock);
	return done;
}

/* ---- the device ---- */

static void console_handle(struct virtio *virtio, unsigned queue)
{
	struct console *console = console_of(virtio);

	switch (queue) {
	case QUEUE_RECEIVE:
		if (console->guest_open || !has_ports(console))
			tell_room(console);
		break;
	case QUEUE_TRANSMIT:
		handle_transmit(console);
		break;
	case QUEUE_CONTROL_RECEIVE:
		say(console);
		break;
	default:
		handle_control(console);
		break;
	}
}

static void console_reset(struct virtio *virtio)
{
	struct console *console = console_of(virtio);

	console->say = 0;
	console->guest_open = false;
}

static void console_config_read(struct virtio *virtio, uint32_t offset, void *data, uint32_t size)
{
	const struct virtio_console_config config = { .max_nr_ports = 1 };

	(void)virtio;
	memcpy(data, (const uint8_t *)&config + offset, size);
}

static void console_save(struct virtio *virtio, struct state_writer *writer)
{
	const struct console *console = console_of(virtio);

	state_put_u32(writer, console->say);
	state_put_u32(writer, console->guest_open);
}

static int console_restore(struct virtio *virtio, struct state_reader *reader, struct error *err)
{
	struct console *console = console_of(virtio);

	(void)err;
	console->say = state_get_u32(reader) & (SAY_ADD | SAY_NAME | SAY_OPEN);
	console->guest_open = state_get_u32(reader) != 0;
	return 0;
}

static void console_free(struct virtio *virtio)
{
	virtio_free(virtio);
	free(console_of(virtio));
}

static const struct virtio_ops console_ops = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.config_size = sizeof(struct virtio_console_config),
	.config_read = console_config_read,
	.handle = console_handle,
	.reset = console_reset,
	.save = console_save,
	.restore = console_restore,
	.free = console_free,
};

int virtio_console_make(const struct virtio_console_options *options, struct guest_memory *memory, struct loop *loop,
			struct device **device, struct error *err)
{
	const char *name = options->name ? options->name : "";
	struct console *console;
	int ret;

	if (strlen(name) > VIRTIO_CONSOLE_NAME_MAX)
		return error_set(err, EINVAL, "the name of a console port has at most %d bytes",
				 VIRTIO_CONSOLE_NAME_MAX);
	console = calloc(1, sizeof(*console));
	if (!console)
		return error_errno(err, ENOMEM, "cannot make virtio-console");
	console->options = *options;
	memcpy(console->name, name, strlen(name));
	ret = virtio_init(&console->virtio, &console_ops, options->name ? UINT64_C(1) << VIRTIO_CONSOLE_F_MULTIPORT : 0,
			  options->name ? QUEUES : QUEUE_CONTROL_RECEIVE, QUEUE_SIZE, memory, loop, err);
	if (ret < 0)
		free(console);
	else
		*device = &console->virtio.device;
	return ret;
}
