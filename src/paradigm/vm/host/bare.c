/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/host/bare.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/loop.h"
#include "linux/tty.h"
#include "paradigm/vm/host/confine.h"
#include "paradigm/vm/machine/machine.h"

/* A terminal or pipe that says it has room has room for a chunk. */
enum { OUTPUT_MAX = 4096, CHUNK = 256, TICK_MS = 20, QUIET_TICKS = 10, ESCAPE = 1 /* Ctrl-A */ };

/*
 * What the guest writes, byte by byte, goes out by lines.  What makes no line (a prompt) goes out at the next tick of
 * the main thread, who ticks only as long as there is output: the first byte after a pause wakes him.
 *
 * A vCPU whose output nobody reads waits, with this lock and its serial port's.  The main thread, who can end that,
 * waits for neither.
 */
struct output {
	pthread_mutex_t lock;
	char bytes[OUTPUT_MAX];
	size_t count;
	bool ticking;
	bool gone; /* nobody reads any more */
	bool over; /* nobody is waited for any more.  Atomic */
};

struct bare {
	struct loop loop;
	struct machine *machine;
	struct output output;
	struct loop_source wake, tick, input, signals, end, timeout;
	unsigned quiet; /* ticks without output */
	char typed[256];
	size_t typed_first, typed_count; /* what the guest has not taken yet */
	bool held;			 /* because a vCPU was at the serial port: it is tried again */
	bool ended;			 /* the machine; what it wrote goes out yet */
	bool escaped;
	bool raw;
	bool plain; /* standard input is nothing that can be waited for: a file */
	bool deaf;  /* it is not waited for: there is no room for more */
	struct termios saved;
	int status; /* -1: the machine's */
};

static bool is_over(const struct output *output)
{
	return __atomic_load_n(&output->over, __ATOMIC_SEQ_CST);
}

/* With the lock held: all of it, or what can go at once.  What is left goes out later. */
static void flush(struct output *output, bool wait)
{
	size_t done = 0;

	while (!output->gone && done < output->count) {
		size_t most = output->count - done < CHUNK ? output->count - done : CHUNK;
		struct pollfd room = { .fd = STDOUT_FILENO, .events = POLLOUT };
		ssize_t count;

		if (poll(&room, 1, wait && !is_over(output) ? TICK_MS : 0) <= 0) {
			if (!wait || is_over(output))
				break;
			continue;
		}
		count = write(STDOUT_FILENO, output->bytes + done, most);
		if (count > 0)
			done += (size_t)count;
		else if (count == 0 || (errno != EINTR && errno != EAGAIN))
			output->gone = true;
		else if (!wait || is_over(output))
			break;
	}
	memmove(output->bytes, output->bytes + done, output->count - done);
	output->count -= done;
}

/* In vCPU threads. */
static void take_output(void *context, const void *bytes, size_t count)
{
	struct bare *bare = context;
	struct output *output = &bare->output;
	const uint64_t one = 1;
	bool line = false;

	(void)pthread_mutex_lock(&output->lock);
	for (size_t i = 0; i < count; i++) {
		if (output->count == OUTPUT_MAX)
			flush(output, true);
		if (output->count < OUTPUT_MAX)
			output->bytes[output->count++] = ((const char *)bytes)[i];
		line = line || ((const char *)bytes)[i] == '\n';
	}
	if (line)
		flush(output, true);
	if (!output->ticking) {
		output->ticking = true;
		if (write(bare->wake.fd, &one, sizeof(one)) < 0)
			output->ticking = false;
	}
	(void)pthread_mutex_unlock(&output->lock);
}

static void set_timer(int timer, unsigned first_ms, unsigned every_ms)
{
	const struct itimerspec when = {
		.it_value = { .tv_sec = first_ms / 1000, .tv_nsec = (long)(first_ms % 1000) * 1000000 },
		.it_interval = { .tv_sec = every_ms / 1000, .tv_nsec = (long)(every_ms % 1000) * 1000000 },
	};

	(void)timerfd_settime(timer, 0, &when, NULL);
}

static void drain(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return;
}

static void start_ticks(struct bare *bare)
{
	bare->quiet = 0;
	set_timer(bare->tick.fd, TICK_MS, TICK_MS);
}

static void on_wake(struct loop_source *source, uint32_t events)
{
	(void)events;
	drain(source->fd);
	start_ticks(source->context);
}

/* What can go out, goes; with all of it, after the machine's end, the loop ends. */
static void put_out(struct bare *bare)
{
	struct output *output = &bare->output;

	if (pthread_mutex_trylock(&output->lock) != 0)
		return; /* a vCPU does it, or waits */
	bare->quiet = output->count || bare->held ? 0 : bare->quiet + 1;
	flush(output, false);
	if (bare->ended && (output->count == 0 || output->gone))
		loop_stop(&bare->loop);
	if (bare->quiet >= QUIET_TICKS) {
		output->ticking = false;
		set_timer(bare->tick.fd, 0, 0);
	}
	(void)pthread_mutex_unlock(&output->lock);
}

/* From outside.  The guest's own end, if that was before, is what is told. */
static void finish(struct bare *bare, int status)
{
	if (bare->status < 0 && !bare->ended)
		bare->status = status;
	__atomic_store_n(&bare->output.over, true, __ATOMIC_SEQ_CST);
	machine_stop(bare->machine);
	if (bare->ended)
		loop_stop(&bare->loop);
}

/* Takes the terminal's escapes out of what was typed; returns how many bytes are for the guest. */
static size_t unescape(struct bare *bare, char *bytes, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (bare->escaped && (bytes[i] == 'x' || bytes[i] == 'X'))
			finish(bare, BARE_OFF);
		else if (bare->escaped || bytes[i] != ESCAPE)
			bytes[kept++] = bytes[i];
		bare->escaped = !bare->escaped && bytes[i] == ESCAPE;
	}
	return kept;
}

/* To the guest as far as it takes it; nothing is read for which there is no room. */
static void pass_on(struct bare *bare)
{
	ssize_t taken = machine_console_try_input(bare->machine, bare->typed + bare->typed_first, bare->typed_count);

	bare->held = taken < 0;
	if (bare->held)
		start_ticks(bare);
	bare->typed_first += taken > 0 ? (size_t)taken : 0;
	bare->typed_count -= taken > 0 ? (size_t)taken : 0;
	if (bare->plain || bare->input.fd < 0 || bare->deaf == (bare->typed_count == sizeof(bare->typed)))
		return;
	bare->deaf = !bare->deaf;
	/* Not loop_change(): a pipe's end would be told all the time. */
	if (bare->deaf)
		loop_remove(&bare->loop, &bare->input);
	else
		(void)loop_add(&bare->loop, &bare->input, EPOLLIN, NULL);
}

/* A file, as far as the guest takes it. */
static void read_file(struct bare *bare)
{
	while (bare->plain && bare->typed_count == 0) {
		ssize_t count = read(STDIN_FILENO, bare->typed, sizeof(bare->typed));

		if (count <= 0)
			bare->plain = false;
		else
			bare->typed_count = (size_t)count;
		bare->typed_first = 0;
		pass_on(bare);
	}
}

static void on_room(void *context)
{
	struct bare *bare = context;

	if (bare->typed_count)
		pass_on(bare);
	read_file(bare);
}

static void on_tick(struct loop_source *source, uint32_t events)
{
	struct bare *bare = source->context;

	(void)events;
	drain(source->fd);
	if (bare->held)
		on_room(bare);
	put_out(bare);
}

static void on_input(struct loop_source *source, uint32_t events)
{
	struct bare *bare = source->context;
	char *end = bare->typed + bare->typed_count;
	ssize_t count;

	(void)events;
	memmove(bare->typed, bare->typed + bare->typed_first, bare->typed_count);
	bare->typed_first = 0;
	count = read(source->fd, end, sizeof(bare->typed) - bare->typed_count);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (count <= 0) {
		loop_remove(&bare->loop, source); /* the machine goes on without */
		source->fd = -1;
		return;
	}
	bare->typed_count += bare->raw ? unescape(bare, end, (size_t)count) : (size_t)count;
	if (bare->typed_count)
		pass_on(bare);
}

static void on_signal(struct loop_source *source, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) == sizeof(info))
		finish(source->context, 128 + (int)info.ssi_signo);
}

static void on_timeout(struct loop_source *source, uint32_t events)
{
	(void)events;
	drain(source->fd);
	finish(source->context, BARE_TIMEOUT);
}

static void on_end(struct loop_source *source, uint32_t events)
{
	struct bare *bare = source->context;

	(void)events;
	loop_remove(&bare->loop, source);
	bare->ended = true;
	if (is_over(&bare->output))
		loop_stop(&bare->loop);
	start_ticks(bare);
	put_out(bare);
}

static int add(struct bare *bare, struct loop_source *source, int fd,
	       void (*ready)(struct loop_source *source, uint32_t events), struct error *err)
{
	if (fd < 0)
		return error_errno(err, errno, "make a descriptor");
	*source = (struct loop_source){ .fd = fd, .ready = ready, .context = bare };
	return loop_add(&bare->loop, source, EPOLLIN, err);
}

static int watch_signals(struct bare *bare, struct error *err)
{
	sigset_t mask;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGINT);
	(void)sigaddset(&mask, SIGHUP);
	(void)sigaddset(&mask, SIGQUIT);
	(void)pthread_sigmask(SIG_BLOCK, &mask, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	return add(bare, &bare->signals, signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK), on_signal, err);
}

static int open_input(struct bare *bare, struct error *err)
{
	int result;

	if (isatty(STDIN_FILENO)) {
		result = tty_make_raw(STDIN_FILENO, &bare->saved, err);
		if (result < 0)
			return result;
		bare->raw = true;
		(void)tty_process_output(STDIN_FILENO);
	}
	bare->input = (struct loop_source){ .fd = STDIN_FILENO, .ready = on_input, .context = bare };
	result = loop_add(&bare->loop, &bare->input, EPOLLIN, NULL);
	if (result == 0 || result == -EBADF) /* there is none */
		return 0;
	bare->input.fd = -1;
	if (result != -EPERM)
		return error_errno(err, -result, "read standard input");
	bare->plain = true;
	read_file(bare);
	return 0;
}

static int prepare(struct bare *bare, const struct vm_config *config, struct error *err)
{
	int result = add(bare, &bare->wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), on_wake, err);

	if (result == 0)
		result = add(bare, &bare->tick, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), on_tick,
			     err);
	if (result == 0)
		result = add(bare, &bare->timeout, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
			     on_timeout, err);
	if (result == 0)
		result = watch_signals(bare, err);
	if (result == 0)
		result = machine_make(&(struct machine_options){ .config = config,
								 .loop = &bare->loop,
								 .console = { .output = take_output, .context = bare },
								 .thread = confine_machine_thread },
				      &bare->machine, err);
	if (result == 0)
		result = add(bare, &bare->end, machine_end_fd(bare->machine), on_end, err);
	if (result == 0) {
		machine_on_room(bare->machine, on_room, bare);
		result = open_input(bare, err);
	}
	return result;
}

static void restore_terminal(struct bare *bare)
{
	if (bare->raw)
		(void)tty_restore(STDIN_FILENO, &bare->saved);
	bare->raw = false;
}

static int tell(struct bare *bare)
{
	unsigned code = 0;
	const char *reason = "";
	enum machine_end end = machine_ended(bare->machine, &code, &reason);

	if (bare->status == BARE_TIMEOUT)
		dprintf(STDERR_FILENO, "caisson-vmm: the guest took too long, and was switched off\n");
	if (bare->status >= 0)
		return bare->status;
	if (end == MACHINE_EXIT)
		return (int)((code << 1 | 1) & 0xff);
	if (end == MACHINE_OFF)
		return BARE_OFF;
	dprintf(STDERR_FILENO, "caisson-vmm: %s\n", reason);
	return end == MACHINE_RESET ? BARE_RESET : BARE_CRASHED;
}

static void write_counters(struct bare *bare, int fd)
{
	struct str text = STR_INIT;

	if (fd < 0)
		return;
	machine_counters(bare->machine, &text);
	str_append(&text, "\n");
	(void)file_write_all(fd, str_text(&text), text.length);
	str_free(&text);
}

static int run(struct bare *bare, const struct vm_config *config, struct error *err)
{
	int result = prepare(bare, config, err);

	if (result == 0)
		result = confine_process(err);
	if (result == 0)
		result = machine_start(bare->machine, err);
	if (result == 0)
		result = confine_thread(CONFINE_MAIN, err);
	if (result < 0)
		return result;
	if (config->boot_seconds)
		set_timer(bare->timeout.fd, config->boot_seconds * 1000, 0);
	result = loop_run(&bare->loop, err);
	if (result < 0)
		return result;
	restore_terminal(bare);
	__atomic_store_n(&bare->output.over, true, __ATOMIC_SEQ_CST);
	(void)pthread_mutex_lock(&bare->output.lock);
	flush(&bare->output, false);
	(void)pthread_mutex_unlock(&bare->output.lock);
	write_counters(bare, config->counters);
	return tell(bare);
}

int bare_run(const struct vm_config *config)
{
	struct bare bare = { .output.lock = PTHREAD_MUTEX_INITIALIZER, .status = -1 };
	struct error err = ERROR_INIT;
	int result;

	if (config->engine == VM_ENGINE_QEMU) {
		result = bare_become_qemu(config, &err);
	} else {
		result = loop_open(&bare.loop, &err);
		if (result == 0) {
			result = run(&bare, config, &err);
			restore_terminal(&bare);
			machine_free(bare.machine);
			loop_close(&bare.loop);
		}
	}
	if (result >= 0)
		return result;
	dprintf(STDERR_FILENO, "caisson-vmm: %s\n", err.text);
	return BARE_FAILED;
}
