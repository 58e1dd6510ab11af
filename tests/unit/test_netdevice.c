/* SPDX-License-Identifier: Apache-2.0 */
/* linux/netdevice.h, between two network namespaces of its own; ip(8) makes the devices and tells what became of them.
 */
#include "child.h"
#include "wire.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "linux/netdevice.h"

/* What a command prints, in a namespace. */
static const char *output_in(int netns, const char *command, char text[static TEXT_MAX])
{
	cleanup_close int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	text[0] = '\0';
	if (namespace_join_fd(netns, CLONE_NEWNET, "other", NULL) < 0)
		return text;
	(void)output_of(command, text);
	(void)namespace_join_fd(own, CLONE_NEWNET, "own", NULL);
	return text;
}

/* The test's process is in a new namespace already; *own names it, *other is one more. */
static int two_namespaces(int *own, int *other)
{
	char text[TEXT_MAX];

	*own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (namespace_unshare(CLONE_NEWNET, NULL) < 0)
		return CHILD_SKIP;
	*other = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (namespace_join_fd(*own, CLONE_NEWNET, "own", NULL) < 0)
		return CHILD_SKIP;
	(void)output_in(*own,
			"ip link add cf0 type veth peer name cf1 && ip link set cf0 mtu 1400 && "
			"ip link set cf1 up && ip link set cf0 up && "
			"ip addr add 10.77.0.1/24 dev cf0 && ip addr add 10.77.0.2/24 dev cf0 && "
			"ip addr add 10.78.0.1 peer 10.78.0.9/32 dev cf0 noprefixroute && "
			"ip addr add 10.79.0.1/24 dev cf0 scope link && "
			"ip addr add 10.80.0.1/24 dev cf0 valid_lft 1000 preferred_lft 1000 && "
			"ip addr add fd77::1/64 dev cf0 nodad && echo made",
			text);
	return strstr(text, "made") ? 0 : CHILD_SKIP;
}

static bool has_all(const char *text)
{
	return strstr(text, "10.77.0.1/24") && strstr(text, "10.77.0.2/24") &&
	       strstr(text, "10.78.0.1 peer 10.78.0.9") && strstr(text, "noprefixroute") && strstr(text, "fd77::1/64");
}

static int moves_and_returns(void)
{
	struct error err = ERROR_INIT;
	struct netdevices *devices = NULL;
	char text[TEXT_MAX];
	cleanup_close int own = -1, other = -1;
	int ret = two_namespaces(&own, &other);

	if (ret)
		return ret;
	CHECK(netdevices_open(other, &devices, &err) == 0);
	CHECK(netdevices_move(devices, "cf0", "eth%d", &err) == 0);
	CHECK(netdevices_move(devices, "cf1", "eth%d", &err) == 0);
	CHECK(!strstr(output_in(own, "ip -o link", text), "cf0"));
	CHECK(has_all(output_in(other, "ip -o addr show dev eth0", text)));
	CHECK(!strstr(text, "10.79.") && !strstr(text, "10.80."));
	CHECK(strstr(output_in(other, "ip -o link show dev eth0", text), "UP") && strstr(text, "mtu 1400"));
	CHECK(strstr(output_in(other, "ip -o link show dev eth1", text), "UP"));
	netdevices_return(devices);
	netdevices_close(devices);
	CHECK(has_all(output_in(own, "ip -o addr show dev cf0", text)));
	CHECK(strstr(output_in(own, "ip -o link show dev cf0", text), "UP"));
	CHECK(strstr(output_in(own, "ip -o link show dev cf1", text), "UP"));
	CHECK(!strstr(output_in(other, "ip -o link", text), "eth0"));
	return 0;
}

static int stays_after_close(void)
{
	struct error err = ERROR_INIT;
	struct netdevices *devices = NULL;
	char text[TEXT_MAX];
	cleanup_close int own = -1, other = -1;
	int ret = two_namespaces(&own, &other);

	if (ret)
		return ret;
	CHECK(netdevices_open(other, &devices, &err) == 0);
	CHECK(netdevices_move(devices, "cf0", "cf0", &err) == 0);
	netdevices_close(devices);
	CHECK(has_all(output_in(other, "ip -o addr show dev cf0", text)));
	netdevices_close(NULL);
	return 0;
}

static int failures_leave_it_where_it_was(void)
{
	struct error err = ERROR_INIT;
	struct netdevices *devices = NULL;
	char text[TEXT_MAX];
	cleanup_close int own = -1, other = -1;
	int ret = two_namespaces(&own, &other);

	if (ret)
		return ret;
	CHECK(netdevices_open(own, &devices, &err) == -EINVAL && !devices);
	CHECK(netdevices_open(other, &devices, &err) == 0);
	CHECK(netdevices_move(devices, "nosuch", "x", &err) == -ENODEV && strstr(err.text, "nosuch"));
	CHECK(netdevices_move(devices, "cf0", "lo", &err) == -EEXIST && strstr(err.text, "lo"));
	CHECK(netdevices_move(devices, "cf0", "fourteenchar%d", &err) == 0);
	netdevices_return(devices);
	CHECK(netdevices_move(devices, "cf0", "fourteenchars%d", &err) == 0);
	netdevices_return(devices);
	CHECK(netdevices_move(devices, "cf0", "fifteen-letters%d", &err) == -EINVAL);
	CHECK(netdevices_move(devices, "lo", "lo9", &err) == -EINVAL && strstr(err.text, "lo"));
	/* An address that cannot be set over there. */
	CHECK(strstr(output_in(other, "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 && echo off", text),
		     "off"));
	CHECK(netdevices_move(devices, "cf0", "eth0", &err) < 0 && strstr(err.text, "address"));
	CHECK(has_all(output_in(own, "ip -o addr show dev cf0", text)));
	CHECK(strstr(output_in(own, "ip -o link show dev cf0", text), "UP"));
	/* The old name is taken there, the new one is not. */
	CHECK(strstr(output_in(other, "ip link add cf0 type veth peer name cf9 && echo made", text), "made"));
	CHECK(netdevices_move(devices, "cf1", "cf0", &err) == -EEXIST);
	CHECK(netdevices_move(devices, "cf1", "eth7", &err) == 0);
	CHECK(strstr(output_in(own, "ip -o link show dev cf0", text), "cf0"));
	netdevices_close(devices);
	return 0;
}

static void test_moves_and_returns(void **state)
{
	(void)state;
	need_root();
	in_child(CLONE_NEWNET, moves_and_returns);
}

static void test_stays(void **state)
{
	(void)state;
	need_root();
	in_child(CLONE_NEWNET, stays_after_close);
}

static void test_failures(void **state)
{
	(void)state;
	need_root();
	in_child(CLONE_NEWNET, failures_leave_it_where_it_was);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves_and_returns),
		cmocka_unit_test(test_stays),
		cmocka_unit_test(test_failures),
	};

	if (kernel_is_hidden())
		return CHILD_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
