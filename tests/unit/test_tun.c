/* SPDX-License-Identifier: Apache-2.0 */
/* linux/tun.h, in a network namespace of the test's own. */
#include "child.h"
#include "wire.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "linux/tun.h"

static int set_up(const char *name, bool up)
{
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_flags = up ? IFF_UP : 0 };

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(fd, SIOCSIFFLAGS, &request);
}

static bool host_has_tun(void)
{
	cleanup_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

enum { FRAME = 64 };

/* The kernel's own packets (neighbour discovery) are passed over. */
static ssize_t read_ours(int fd, unsigned char *packet, size_t size)
{
	for (int tries = 0; tries < 20000; tries++) {
		ssize_t count = read(fd, packet, size);

		if (count == TAP_HEADER_SIZE + FRAME && packet[TAP_HEADER_SIZE + 12] == 0x88 &&
		    packet[TAP_HEADER_SIZE + 13] == 0xb5)
			return count;
		if (count < 0)
			(void)usleep(1000);
	}
	return -1;
}

static int packets_pass(void)
{
	struct error err = ERROR_INIT;
	struct tap tap;
	struct sockaddr_ll address;
	unsigned char frame[TAP_HEADER_SIZE + FRAME] = { 0 }, seen[2048];
	cleanup_close int other = -1;

	CHECK(tap_open(&(struct tap_options){ 0 }, &tap, &err) == 0);
	CHECK(tap.queues == 1 && strcmp(tap.name, "tap0") == 0);
	CHECK(fcntl(tap.fds[0], F_GETFD) & FD_CLOEXEC && fcntl(tap.fds[0], F_GETFL) & O_NONBLOCK);
	CHECK(read(tap.fds[0], seen, sizeof(seen)) < 0 && errno == EAGAIN);
	/* Down: nothing goes in. */
	CHECK(write(tap.fds[0], frame, sizeof(frame)) < 0 && errno == EIO);
	CHECK(set_up(tap.name, true) == 0);
	other = packet_socket(tap.name, &address);
	CHECK(other >= 0);
	memset(frame + TAP_HEADER_SIZE, 0xff, 6);
	frame[TAP_HEADER_SIZE + 12] = 0x88;
	frame[TAP_HEADER_SIZE + 13] = 0xb5;
	frame[TAP_HEADER_SIZE + 20] = 0x5a;
	CHECK(write(tap.fds[0], frame, sizeof(frame)) == sizeof(frame));
	CHECK(recv(other, seen, sizeof(seen), 0) == FRAME && seen[20] == 0x5a);
	/* The other way, with the header before it. */
	CHECK(sendto(other, frame + TAP_HEADER_SIZE, FRAME, 0, (struct sockaddr *)&address, sizeof(address)) == FRAME);
	CHECK(read_ours(tap.fds[0], seen, sizeof(seen)) == TAP_HEADER_SIZE + FRAME);
	CHECK(seen[TAP_HEADER_SIZE + 20] == 0x5a && seen[0] == 0 && seen[1] == 0);
	tap_close(&tap);
	CHECK(if_nametoindex("tap0") == 0);
	return 0;
}

static int lasts_and_goes(void)
{
	struct error err = ERROR_INIT;
	struct tap tap, again;
	char name[IFNAMSIZ];

	CHECK(tap_open(&(struct tap_options){ .name = "cf0", .persistent = true, .owned = true, .owner = 1000 }, &tap,
		       &err) == 0);
	CHECK(tap_open(&(struct tap_options){ .name = "cf0" }, &again, &err) == -EBUSY && again.queues == 0);
	tap_close(&tap);
	CHECK(if_nametoindex("cf0") != 0);
	CHECK(tap_open(&(struct tap_options){ .name = "cf0", .queues = 2 }, &again, &err) == -EINVAL);
	CHECK(tap_open(&(struct tap_options){ .name = "cf0" }, &tap, &err) == 0);
	CHECK(tap_name(tap.fds[0], name) == 0 && strcmp(name, "cf0") == 0);
	CHECK(tap_remove(&tap, &err) == 0 && if_nametoindex("cf0") == 0);
	CHECK(tap_remove(&tap, &err) == -EBADF);
	return 0;
}

static int has_queues(void)
{
	struct error err = ERROR_INIT;
	struct tap tap;
	bool several = false;

	CHECK(tap_open(&(struct tap_options){ .name = "cf0", .queues = 3 }, &tap, &err) == 0 && tap.queues == 3);
	CHECK(tap_set_queue(tap.fds[2], false) == 0 && tap_set_queue(tap.fds[2], true) == 0);
	CHECK(tap_set_offload(tap.fds[0], TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) == 0);
	CHECK(tap_set_offload(tap.fds[0], TUN_F_TSO4) < 0);
	CHECK(tap_adopt(tap.fds[1], &several, &err) == 0 && several);
	tap_close(&tap);
	tap_close(&tap);
	return 0;
}

static int refuses(void)
{
	struct error err = ERROR_INIT;
	struct tap tap;
	struct ifreq request = { .ifr_name = "cf1", .ifr_flags = IFF_TAP | IFF_NO_PI };
	cleanup_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	CHECK(tap_open(&(struct tap_options){ .queues = TAP_QUEUES_MAX + 1 }, &tap, &err) == -EINVAL);
	CHECK(tap_open(&(struct tap_options){ .name = "a-name-of-16-byt" }, &tap, &err) == -EINVAL);
	CHECK(tap_open(&(struct tap_options){ .name = "lo" }, &tap, &err) == -EINVAL && strstr(err.text, "lo"));
	CHECK(tap_adopt(fd, NULL, &err) < 0 && strstr(err.text, "no tap device"));
	CHECK(tap_adopt(STDIN_FILENO, NULL, &err) < 0);
	/* A tap without the header. */
	CHECK(ioctl(fd, TUNSETIFF, &request) == 0);
	CHECK(tap_adopt(fd, NULL, &err) == -EINVAL && strstr(err.text, "cf1"));
	return 0;
}

static void run(int (*body)(void))
{
	need_root();
	if (!host_has_tun()) {
		print_message("skipped: no /dev/net/tun\n");
		skip();
	}
	in_child(CLONE_NEWNET, body);
}

static void test_packets(void **state)
{
	(void)state;
	run(packets_pass);
}

static void test_lasts(void **state)
{
	(void)state;
	run(lasts_and_goes);
}

static void test_queues(void **state)
{
	(void)state;
	run(has_queues);
}

static void test_refuses(void **state)
{
	(void)state;
	run(refuses);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_lasts),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_refuses),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
