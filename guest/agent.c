/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/paradigm.h"

enum {
	CHANNEL_SECONDS = 10, /* until the line to the host must be there */
	LATE_MS = 500,	      /* after the workload's start, for modules that it does not need */
	ENDING_MS = 2000,     /* after its end, for what others have written */
	OFF_MS = 5000,	      /* after the last word: for the host to switch us off */
};

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What nobody can go on after. */
__attribute__((noreturn)) static void end(struct agent *agent, const struct error *err)
{
	boot_say("%s", err->text);
	if (agent && agent->connected && !channel_error(&agent->channel)) {
		agent_put_text(&agent->channel.out, AGENT_FAILED, 0, (uint32_t)err->code, err->text);
		channel_flush_all(&agent->channel);
	}
	boot_seal_root();
	boot_power_off();
}

/* ---- frames ---- */

static int take_config(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	if (agent->configured)
		return error_set(err, EPROTO, "the host sent a second configuration");
	agent->configured = true;
	workload_start(agent, frame);
	agent->late_at = now_ms() + LATE_MS;
	return 0;
}

static int take_file(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	(void)agent;
	return handed_file(frame, err);
}

static int take_exec(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	if (agent->sessions[frame->session].pid || frame->session == 0)
		return error_set(err, EPROTO, "the host used session %u twice", frame->session);
	workload_exec(agent, frame);
	return 0;
}

static int take_input(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	return session_input(&agent->sessions[frame->session], frame, err);
}

static int take_input_end(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	(void)err;
	session_input_end(&agent->sessions[frame->session]);
	return 0;
}

static int take_grant(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	return session_grant(&agent->sessions[frame->session], frame, err);
}

static int take_signal(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	(void)err;
	workload_signal(agent, frame);
	return 0;
}

static int take_resize(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	uint32_t rows = 0, columns = 0;

	(void)err;
	(void)agent_number(frame, 0, &rows);
	(void)agent_number(frame, 1, &columns);
	(void)session_resize(&agent->sessions[frame->session], rows, columns);
	return 0;
}

static int take_ask_stats(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	cleanup_str struct str json = STR_INIT;

	stats_write(agent, &json);
	if (str_failed(&json))
		return error_errno(err, ENOMEM, "cannot write the statistics");
	agent_put(&agent->channel.out, AGENT_STATS, frame->session, json.text, json.length);
	return 0;
}

static void load_late(struct agent *agent)
{
	agent->late_at = 0;
	if (!agent->sealed)
		(void)boot_load_modules(&agent->boot, "late", NULL, NULL, NULL);
}

static int take_ping(struct agent *agent, const struct agent_frame *frame, struct error *err)
{
	(void)err;
	if (frame->kind == AGENT_RESTORED)
		restored(frame);
	else if (agent->late_at)
		load_late(agent);
	agent_put(&agent->channel.out, AGENT_READY, frame->session, NULL, 0);
	return 0;
}

static const struct taker {
	uint16_t kind;
	bool of_session; /* dropped when there is none, or it has ended */
	int (*take)(struct agent *agent, const struct agent_frame *frame, struct error *err);
} takers[] = {
	{ AGENT_NETWORK, false, network_take },	    { AGENT_FILE, false, take_file },
	{ AGENT_SHARE, false, handed_share },	    { AGENT_CONFIG, false, take_config },
	{ AGENT_EXEC, false, take_exec },	    { AGENT_INPUT, true, take_input },
	{ AGENT_INPUT_END, true, take_input_end },  { AGENT_SIGNAL, true, take_signal },
	{ AGENT_RESIZE, true, take_resize },	    { AGENT_CREDIT_GRANT, true, take_grant },
	{ AGENT_ASK_STATS, false, take_ask_stats }, { AGENT_PING, false, take_ping },
	{ AGENT_RESTORED, false, take_ping },
};

static void take(void *context, const struct agent_frame *frame)
{
	struct agent *agent = context;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < sizeof(takers) / sizeof(*takers); i++) {
		if (takers[i].kind != frame->kind)
			continue;
		if (takers[i].of_session && !agent->sessions[frame->session].pid)
			return;
		if (takers[i].take(agent, frame, &err) < 0)
			end(agent, &err);
		channel_flush(&agent->channel);
	}
}

static void drained(void *context)
{
	struct agent *agent = context;

	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
		if (agent->sessions[i].pid)
			session_go_on(&agent->sessions[i]);
	}
}

/* ---- ends ---- */

static void reap(struct agent *agent)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
			if (agent->sessions[i].pid == pid && !agent->sessions[i].ended)
				session_ended(&agent->sessions[i], status);
		}
	}
}

static void child_ended(struct loop_source *source, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	(void)!read(source->fd, &info, sizeof(info));
	reap(source->context);
}

static void say_exit(struct agent *agent, struct session *session)
{
	boot_debug(&agent->boot, "session %u: exit %u", session->number, session->status);
	agent_put_numbers(&agent->channel.out, AGENT_EXIT, session->number, session->status, stats_out_of_memory());
	session_close(session);
}

static bool others_run(const struct agent *agent)
{
	for (size_t i = 1; i < AGENT_SESSIONS_MAX; i++) {
		if (agent->sessions[i].pid)
			return true;
	}
	return false;
}

/* The workload's end is the machine's: its process 1 took all others of its pid namespace with it. */
static void look_for_ends(struct agent *agent)
{
	struct session *workload = &agent->sessions[0];

	for (size_t i = 1; i < AGENT_SESSIONS_MAX; i++) {
		if (agent->sessions[i].pid && session_is_over(&agent->sessions[i]))
			say_exit(agent, &agent->sessions[i]);
	}
	if (workload->pid && workload->ended && !agent->ending_by)
		agent->ending_by = now_ms() + ENDING_MS;
	if (workload->pid && session_is_over(workload) && (!others_run(agent) || now_ms() >= agent->ending_by)) {
		boot_seal_root();
		say_exit(agent, workload);
		agent->sealed = true;
	}
	if (agent->sealed && !agent->off_at)
		agent->off_at = now_ms() + OFF_MS;
	channel_flush(&agent->channel);
}

static void sooner(int *timeout, int64_t at, int64_t now)
{
	int left = at <= now ? 0 : (int)(at - now);

	if (at && (*timeout < 0 || left < *timeout))
		*timeout = left;
}

static int next_timeout(const struct agent *agent)
{
	int64_t now = now_ms();
	int timeout = -1;

	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
		int left = agent->sessions[i].pid ? session_timeout(&agent->sessions[i]) : -1;

		if (left >= 0 && (timeout < 0 || left < timeout))
			timeout = left;
	}
	sooner(&timeout, agent->late_at, now);
	sooner(&timeout, agent->off_at, now);
	if (agent->ending_by > now)
		sooner(&timeout, agent->ending_by, now);
	return timeout;
}

static void time_passed(struct agent *agent)
{
	int64_t now = now_ms();

	if (agent->off_at && now >= agent->off_at) {
		boot_debug(&agent->boot, "nobody switches us off");
		boot_power_off();
	}
	if (agent->late_at && now >= agent->late_at)
		load_late(agent);
	for (size_t i = 0; i < AGENT_SESSIONS_MAX; i++) {
		if (agent->sessions[i].pid && session_timeout(&agent->sessions[i]) == 0)
			session_go_on(&agent->sessions[i]);
	}
}

/* ---- the beginning ---- */

static void connect_to(struct agent *agent, int fd)
{
	struct error err = ERROR_INIT;

	agent->channel.take = take;
	agent->channel.drained = drained;
	agent->channel.context = agent;
	if (channel_open(&agent->channel, &agent->loop, fd, &err) < 0)
		end(agent, &err);
	agent->connected = true;
	agent_put_text(&agent->channel.out, AGENT_HELLO, 0, AGENT_VERSION, "");
	channel_flush(&agent->channel);
	boot_debug(&agent->boot, "connected by %s", agent->boot.words.agent);
}

/* As soon as its driver is there: the host can talk while we load the rest. */
static void try_to_connect(void *context)
{
	struct agent *agent = context;
	int fd = agent->connected ? -1 : boot_open_line(&agent->boot, 0, NULL);

	if (fd >= 0)
		connect_to(agent, fd);
}

static int watch_children(struct agent *agent, struct error *err)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	agent->children = (struct loop_source){ .fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK),
						.ready = child_ended,
						.context = agent };
	return agent->children.fd < 0 ? error_errno(err, errno, "cannot watch children")
				      : loop_add(&agent->loop, &agent->children, EPOLLIN, err);
}

static void warn(void *context, const char *text)
{
	struct agent *agent = context;

	agent_put(&agent->channel.out, AGENT_LOG, 0, text, strnlen(text, AGENT_TEXT_MAX));
}

static void debug(void *context, const char *text)
{
	const struct agent *agent = context;

	boot_debug(&agent->boot, "%s", text);
}

static int open_runtime(struct agent *agent, struct error *err)
{
	int ret = runtime_open(&agent->runtime, GUEST_RUNTIME, err);

	agent->runtime.warn = warn;
	agent->runtime.debug = agent->boot.words.debug ? debug : NULL;
	agent->runtime.warn_context = agent;
	return ret;
}

static int begin(struct agent *agent, struct error *err)
{
	/* A serial line has little room for what comes while nobody reads: it is opened when everything else is there.
	 */
	bool early = strncmp(agent->boot.words.agent, "tty", 3) != 0;
	int ret = loop_open(&agent->loop, err), fd;

	if (ret == 0)
		ret = watch_children(agent, err);
	if (ret == 0)
		ret = boot_load_modules(&agent->boot, NULL, early ? try_to_connect : NULL, agent, err);
	if (ret == 0 && !agent->connected) {
		fd = boot_open_line(&agent->boot, CHANNEL_SECONDS, err);
		if (fd < 0)
			return error_wrap(err, "no line to the host");
		connect_to(agent, fd);
	}
	if (ret == 0)
		ret = boot_raise_loopback(err);
	if (ret == 0)
		ret = boot_mount_root(&agent->boot, err);
	if (ret == 0)
		ret = open_runtime(agent, err);
	boot_debug(&agent->boot, "waiting for the configuration");
	return ret;
}

void agent_main(void)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	struct error err = ERROR_INIT;
	int ret;

	if (!agent) {
		(void)error_errno(&err, ENOMEM, "cannot begin");
		end(NULL, &err);
	}
	ret = boot_begin(&agent->boot, &err);
	boot_debug(&agent->boot, "file systems are there");
	if (ret == 0)
		ret = begin(agent, &err);
	while (ret == 0) {
		ret = loop_wait(&agent->loop, next_timeout(agent), &err);
		if (channel_error(&agent->channel))
			end(agent, channel_error(&agent->channel));
		time_passed(agent);
		look_for_ends(agent);
	}
	end(agent, &err);
}
