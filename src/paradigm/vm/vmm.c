/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "linux/fdpass.h"
#include "paradigm/vm/settings.h"

/* The monitor answers at once, or never; a guest as it likes. */
enum { FDS_MAX = 3, ANSWER_SECONDS = 30, GUEST_SECONDS = 1 };

int vmm_connect(int dir_fd, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return error_errno(err, errno, "socket");
	/* By the directory's descriptor, because its path may be longer than an address. */
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" CONTROL_SOCKET, dir_fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return take_fd(&fd);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return error_set(err, ESRCH, "the virtual machine does not run");
	return error_errno(err, errno, "cannot reach the virtual machine's monitor");
}

/* A text that is too long for a message goes as a file. */
static int text_file(const char *text, size_t size, struct error *err)
{
	cleanup_close int fd = memfd_create("request", MFD_CLOEXEC);

	if (fd < 0 || file_write_all(fd, text, size) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, errno, "cannot hand a request to the virtual machine's monitor");
	return take_fd(&fd);
}

int vmm_send(int socket, const struct control_message *request, const char *text, const int *fds, size_t count,
	     struct error *err)
{
	cleanup_str struct str message = STR_INIT;
	struct control_message head = *request;
	cleanup_close int file = -1;
	int all[FDS_MAX + 1] = { -1 };
	size_t size = text ? strlen(text) : 0;

	if (size > CONTROL_TEXT_MAX || count > FDS_MAX)
		return error_set(err, E2BIG, "the request is too long for the virtual machine's monitor");
	for (size_t i = 0; i < count; i++)
		all[i] = fds[i];
	if (size > CONTROL_INLINE_MAX) {
		file = text_file(text, size, err);
		if (file < 0)
			return file;
		all[count++] = file;
		size = 0;
	}
	head.size = (uint32_t)size;
	str_append_bytes(&message, &head, sizeof(head));
	str_append_bytes(&message, text, size);
	if (str_failed(&message))
		return error_errno(err, ENOMEM, "cannot hand a request to the virtual machine's monitor");
	return fdpass_send(socket, all, count, message.text, message.length, err);
}

int vmm_receive(int socket, struct control_message *answer, struct str *text, struct error *err)
{
	cleanup_str struct str message = STR_INIT;
	size_t room = sizeof(*answer) + CONTROL_INLINE_MAX;
	char *bytes = str_extend(&message, room);
	ssize_t count;

	if (!bytes)
		return error_errno(err, ENOMEM, "cannot read the virtual machine's answer");
	do
		count = recv(socket, bytes, room, 0);
	while (count < 0 && errno == EINTR);
	/* Said once, and first, when the other side has closed without reading all that was sent to it, like the size
	 * of a terminal: what it had answered before that is there yet. */
	if (count < 0 && errno == ECONNRESET)
		count = recv(socket, bytes, room, 0);
	if (count < 0 && errno == EAGAIN)
		return error_set(err, ETIMEDOUT, "the virtual machine does not answer");
	if (count < 0 && errno != ECONNRESET)
		return error_errno(err, errno, "cannot read the virtual machine's answer");
	if (count < (ssize_t)sizeof(*answer))
		return error_set(err, ECONNRESET, "the virtual machine has ended");
	memcpy(answer, bytes, sizeof(*answer));
	bytes[count < (ssize_t)room ? count : (ssize_t)room - 1] = '\0';
	bytes += sizeof(*answer);
	if (answer->kind == CONTROL_FAILED)
		return error_set(err, answer->number > 0 && answer->number < 4096 ? (int)answer->number : EPROTO, "%s",
				 bytes);
	if (text)
		str_append_bytes(text, bytes, (size_t)count - sizeof(*answer));
	return 0;
}

static int ask(int dir_fd, const struct control_message *request, const int *fds, size_t count, struct str *text,
	       struct error *err)
{
	const struct timeval patience = { .tv_sec = request->kind == CONTROL_STATS ? GUEST_SECONDS : ANSWER_SECONDS };
	cleanup_close int socket = vmm_connect(dir_fd, err);
	struct control_message answer;
	int ret = socket < 0 ? socket : vmm_send(socket, request, NULL, fds, count, err);

	if (ret < 0)
		return ret;
	/* A snapshot takes as long as its memory is large; anything else is there at once, or never. */
	if (request->kind != CONTROL_SNAPSHOT)
		(void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ret = vmm_receive(socket, &answer, text, err);
	return ret < 0 ? ret : take_fd(&socket);
}

/* What guest/stats.c writes: bytes, but for nanoseconds and processes. */
static const char *const guest_numbers[] = {
	"memory_total",	    "memory_available", "network_received",    "network_sent", /* of the machine */
	"container_cpu_ns", "container_memory", "container_processes", NULL,
};

/* Numbers that we know, from whomever; the largest are not to be had in everybody's JSON. */
static void put_guest(const char *text, size_t size, struct str *out)
{
	const struct json_value *root, *value;
	struct arena arena = { 0 };
	int ret = json_parse(text, size, &arena, &root, NULL);
	bool any = false;

	for (size_t i = 0; ret == 0 && guest_numbers[i]; i++) {
		value = json_find(root, guest_numbers[i]);
		if (!value || value->kind != JSON_KIND_INTEGER || value->truth || value->magnitude > INT64_MAX)
			continue;
		str_printf(out, "%s\"%s\":%" PRIu64, any ? "," : ",\"guest\":{", guest_numbers[i], value->magnitude);
		any = true;
	}
	if (any)
		str_append(out, "}");
	arena_free(&arena);
}

/* What the guest says of itself, if it answers. */
static void add_guest(int dir_fd, struct str *out)
{
	cleanup_str struct str text = STR_INIT, more = STR_INIT;
	int socket = ask(dir_fd, &(struct control_message){ .kind = CONTROL_STATS }, NULL, 0, &text, NULL);

	if (socket < 0)
		return;
	close(socket);
	put_guest(str_text(&text), text.length, &more);
	if (str_failed(&text) || str_failed(&more) || out->length == 0 || out->text[out->length - 1] != '}')
		return;
	out->length--;
	str_printf(out, "%s}", str_text(&more));
}

int vmm_counters(const char *dir, int dir_fd, struct str *out, struct error *err)
{
	int socket = ask(dir_fd, &(struct control_message){ .kind = CONTROL_COUNTERS }, NULL, 0, out, err);

	(void)dir;
	if (socket < 0)
		return socket;
	close(socket);
	add_guest(dir_fd, out);
	return str_failed(out) ? error_errno(err, ENOMEM, "cannot read the virtual machine's counters") : 0;
}

/* Who says again what holds gets no error. */
static bool same(const struct oci_i64 *wanted, const struct oci_i64 *has)
{
	return !wanted->set || wanted->value == (has->set ? has->value : 0) || (wanted->value <= 0 && !has->set);
}

static int set_balloon(int dir_fd, uint64_t bytes, struct error *err)
{
	const struct control_message request = { .kind = CONTROL_BALLOON, .number = (uint32_t)(bytes >> 20) };
	int socket = ask(dir_fd, &request, NULL, 0, NULL, err);

	if (socket >= 0)
		close(socket);
	return socket < 0 ? socket : 0;
}

/* The guest sees what it was started with; by its balloon it can be made to do with less, and be given that back. */
static int update_memory(int dir_fd, struct oci_spec *spec, const struct oci_i64 *limit, struct error *err)
{
	const uint64_t mib = UINT64_C(1) << 20;
	struct vm_settings settings;
	int ret = vm_settings_read(spec, &settings, err);

	if (ret < 0)
		return ret;
	if (same(limit, &spec->linux_.resources.memory.limit)) {
		struct error local = ERROR_INIT;

		/* Whoever has no balloon has all of its memory as it is. */
		ret = set_balloon(dir_fd, 0, &local);
		return ret < 0 && ret != -EOPNOTSUPP ? error_set(err, -ret, "%s", local.text) : 0;
	}
	if (limit->value <= 0 || (uint64_t)limit->value > settings.memory)
		return error_set(err, ENOTSUP,
				 "the virtual machine was started with %ju MiB of memory, and cannot have more while "
				 "it runs; stop it first",
				 (uintmax_t)(settings.memory / mib));
	if ((uint64_t)limit->value < VM_MEMORY_MIN_MIB * mib)
		return error_set(err, EINVAL,
				 "%ju MiB of memory are too little for a virtual machine: its kernel needs %d MiB",
				 (uintmax_t)((uint64_t)limit->value / mib), VM_MEMORY_MIN_MIB);
	ret = set_balloon(dir_fd, settings.memory - (uint64_t)limit->value, err);
	return ret < 0 ? error_wrap(err, "the memory of a virtual machine is changed by its balloon") : 0;
}

int vmm_update(int dir_fd, struct oci_spec *spec, struct oci_resources *wanted, struct error *err)
{
	const struct oci_resources *has = &spec->linux_.resources;
	int ret = 0;

	if (!same(&wanted->pids_limit, &has->pids_limit))
		return error_set(err, ENOTSUP,
				 "the number of processes of a virtual machine cannot be changed while it runs");
	if ((!wanted->memory.limit.set || same(&wanted->memory.limit, &has->memory.limit)) &&
	    !same(&wanted->memory.swap, &has->memory.swap))
		return error_set(err, ENOTSUP, "a virtual machine has no swap of the host's that could be changed");
	if (wanted->memory.limit.set)
		ret = update_memory(dir_fd, spec, &wanted->memory.limit, err);
	/* The cgroup's limits are for the machine as a whole, with what the monitor takes. */
	wanted->memory.limit = wanted->memory.swap = wanted->pids_limit = (struct oci_i64){ .set = false };
	return ret;
}

/* What a young guest has put off, every instance that begins there would do again, each for itself. */
static void settle(int dir_fd)
{
	struct error dropped = ERROR_INIT;
	int socket = ask(dir_fd, &(struct control_message){ .kind = CONTROL_SETTLE }, NULL, 0, NULL, &dropped);

	/* A guest that does not answer can be saved all the same. */
	if (socket >= 0)
		close(socket);
}

int vmm_snapshot(const char *dir, int dir_fd, int state, int memory, int *hold, struct error *err)
{
	const int fds[] = { state, memory };
	int socket;

	settle(dir_fd);
	socket = ask(dir_fd, &(struct control_message){ .kind = CONTROL_SNAPSHOT }, fds, 2, NULL, err);

	(void)dir;
	if (socket < 0)
		return socket;
	*hold = socket;
	return 0;
}
