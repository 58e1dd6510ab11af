/* SPDX-License-Identifier: Apache-2.0 */
/* linux/network.h and linux/redirect.h, between network namespaces of the test's own; ip(8) makes the interfaces. */
#include "child.h"
#include "wire.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "linux/network.h"
#include "linux/redirect.h"
#include "linux/tun.h"

enum { FRAME = 80 };

static bool make_pair(char *text)
{
	return strstr(output_of("ip link add name ve0 address 02:00:00:00:00:77 type veth peer name ve1 && "
				"ip link set ve0 mtu 1400 && ip link set ve1 up && ip link set ve0 up && "
				"ip link set lo up && echo made",
				text),
		      "made");
}

static int is_read_and_set(void)
{
	static struct network_interface list[NETWORK_INTERFACES_MAX], again[NETWORK_INTERFACES_MAX];
	struct error err = ERROR_INIT;
	cleanup_str struct str json = STR_INIT, second = STR_INIT;
	char text[TEXT_MAX];
	size_t count = 0, count_again = 0;

	if (!make_pair(text))
		return CHILD_SKIP;
	(void)output_of(
		"ip addr add 10.77.0.2/24 dev ve0; ip addr add 10.78.0.1 peer 10.78.0.9/32 dev ve0; "
		"ip addr add fd77::2/64 dev ve0 nodad; ip addr add 10.99.0.1/24 dev ve1; ip addr flush dev ve1; "
		"ip route add default via 10.77.0.1; ip route add 10.5.0.0/16 dev ve0 src 10.77.0.2 metric 7; "
		"ip -6 route add default via fd77::1; ip route add 10.6.0.0/16 via 192.0.2.1 dev ve0 onlink",
		text);
	CHECK(network_list(list, &count, &err) == 0);
	CHECK(count == 1 && strcmp(list[0].name, "ve0") == 0 && list[0].mtu == 1400 && list[0].mac[5] == 0x77);
	CHECK(list[0].addresses_count == 3 && list[0].routes_count == 4);
	network_write(list, count, &json);
	CHECK(!str_failed(&json));
	CHECK(network_read(json.text, json.length, again, &count_again, &err) == 0 && count_again == 1);
	network_write(again, count_again, &second);
	CHECK(strcmp(json.text, second.text) == 0);
	/* Elsewhere, where an interface has that hardware address and another name. */
	CHECK(namespace_unshare(CLONE_NEWNET, &err) == 0);
	CHECK(network_configure(&again[0], &err) == -ENODEV && strstr(err.text, "02:00:00:00:00:77"));
	(void)output_of("ip link add name xx0 address 02:00:00:00:00:77 type veth peer name xx1; ip link set xx1 up",
			text);
	err = ERROR_INIT;
	CHECK(network_configure(&again[0], &err) == 0);
	CHECK(strstr(output_of("ip -o addr show dev ve0 scope global", text), "10.77.0.2/24") &&
	      strstr(text, "10.78.0.1 peer 10.78.0.9") && strstr(text, "fd77::2/64") && !strstr(text, "tentative"));
	CHECK(strstr(output_of("ip -o link show dev ve0", text), "mtu 1400") && strstr(text, "UP"));
	CHECK(strstr(output_of("ip route", text), "default via 10.77.0.1 dev ve0") &&
	      strstr(text, "10.5.0.0/16 dev ve0") && strstr(text, "src 10.77.0.2 metric 7") &&
	      strstr(text, "10.6.0.0/16 via 192.0.2.1 dev ve0") && strstr(text, "onlink"));
	CHECK(strstr(output_of("ip -6 route", text), "default via fd77::1 dev ve0"));
	return 0;
}

static bool frame_comes(int fd, size_t header)
{
	unsigned char packet[2048];

	for (int tries = 0; tries < 20000; tries++) {
		ssize_t count = read(fd, packet, sizeof(packet));

		if (count == (ssize_t)(header + FRAME) && packet[header + 12] == 0x88 && packet[header + 13] == 0xb5)
			return true;
		if (count < 0)
			(void)usleep(1000);
	}
	return false;
}

static int takes_its_place(void)
{
	struct error err = ERROR_INIT;
	struct tap tap;
	struct sockaddr_ll there;
	unsigned char frame[TAP_HEADER_SIZE + FRAME] = { 0 };
	char text[TEXT_MAX];
	cleanup_close int other = -1;
	int index, from;

	if (!make_pair(text))
		return CHILD_SKIP;
	CHECK(tap_open(&(struct tap_options){ 0 }, &tap, &err) == 0);
	index = (int)if_nametoindex(tap.name);
	from = (int)if_nametoindex("ve0");
	CHECK(redirect_prepare_tap(index, 1400, &err) == 0);
	CHECK(strstr(output_of("ip -o link show dev tap0", text), "mtu 1400") && strstr(text, "UP"));
	CHECK(!strstr(output_of("ip -o addr show dev tap0", text), "inet6"));
	CHECK(redirect_make(from, index, &err) == 0 && redirect_make(index, from, &err) == 0);
	/* Once more, as after one that was killed. */
	CHECK(redirect_make(from, index, &err) == 0);
	other = packet_socket("ve1", &there);
	CHECK(other >= 0);
	memset(frame + TAP_HEADER_SIZE, 0xff, 6);
	frame[TAP_HEADER_SIZE + 12] = 0x88;
	frame[TAP_HEADER_SIZE + 13] = 0xb5;
	CHECK(sendto(other, frame + TAP_HEADER_SIZE, FRAME, 0, (struct sockaddr *)&there, sizeof(there)) == FRAME);
	CHECK(frame_comes(tap.fds[0], TAP_HEADER_SIZE));
	CHECK(write(tap.fds[0], frame, sizeof(frame)) == sizeof(frame));
	CHECK(frame_comes(other, 0));
	CHECK(redirect_make(from, 9999, &err) < 0 && strstr(err.text, "ve0"));
	CHECK(!strstr(output_of("tc qdisc show dev ve0", text), "ingress"));
	/* What somebody else did there stays, as does what still leads somewhere. */
	CHECK(redirect_make(from, index, &err) == 0);
	(void)output_of("tc qdisc add dev ve1 ingress && tc filter add dev ve1 ingress protocol all prio 1 u32 "
			"match u32 0 0 flowid 1:1",
			text);
	CHECK(redirect_sweep() == 0);
	CHECK(strstr(output_of("tc qdisc show dev ve0", text), "ingress"));
	tap_close(&tap);
	CHECK(redirect_sweep() == 0);
	CHECK(!strstr(output_of("tc qdisc show dev ve0", text), "ingress"));
	CHECK(strstr(output_of("tc qdisc show dev ve1", text), "ingress"));
	return 0;
}

static void test_malformed(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[1]",
		"[{}]",
		"[{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:01\"}]",
		"[{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:0\",\"mtu\":1500}]",
		"[{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:xx\",\"mtu\":1500}]",
		"[{\"name\":\"a/b\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500}]",
		"[{\"name\":\"a-name-of-16-byt\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500}]",
		"[{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":67}]",
		"[{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500,\"addresses\":[{\"local\":\"1.2.3.4\"}]"
		"}]",
		"[{\"name\":\"e\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500,\"addresses\":[{\"local\":\"1.2.3.4/"
		"33\"}]}]",
		"[{\"name\":\"e\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500,"
		"\"addresses\":[{\"local\":\"1.2.3.4/32\",\"peer\":\"::1\"}]}]",
		"[{\"name\":\"e\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500,\"routes\":[{\"to\":\"::/"
		"0\",\"via\":\"1.2.3.4\"}]}]",
		"[{\"name\":\"e\",\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500,\"routes\":[{\"to\":\"x/0\"}]}]",
	};
	static struct network_interface list[NETWORK_INTERFACES_MAX];
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct error err = ERROR_INIT;

		assert_int_equal(network_read(texts[i], strlen(texts[i]), list, &count, &err), -EINVAL);
		assert_non_null(strstr(err.text, "malformed"));
	}
	assert_int_equal(network_read("[]", 2, list, &count, NULL), 0);
	assert_int_equal(count, 0);
}

static void test_too_many(void **state)
{
	static struct network_interface list[NETWORK_INTERFACES_MAX + 1], read[NETWORK_INTERFACES_MAX];
	struct str json = STR_INIT;
	size_t count;

	(void)state;
	for (size_t i = 0; i <= NETWORK_INTERFACES_MAX; i++)
		list[i] = (struct network_interface){ .name = "eth0", .mtu = 1500 };
	network_write(list, NETWORK_INTERFACES_MAX, &json);
	assert_int_equal(network_read(json.text, json.length, read, &count, NULL), 0);
	assert_int_equal(count, NETWORK_INTERFACES_MAX);
	json.length = 0;
	network_write(list, NETWORK_INTERFACES_MAX + 1, &json);
	assert_int_equal(network_read(json.text, json.length, read, &count, NULL), -EINVAL);
	str_free(&json);
}

static void test_read_and_set(void **state)
{
	(void)state;
	need_root();
	if (kernel_is_hidden())
		skip();
	in_child(CLONE_NEWNET, is_read_and_set);
}

static void test_takes_its_place(void **state)
{
	(void)state;
	need_root();
	if (kernel_is_hidden())
		skip();
	if (access("/dev/net/tun", R_OK | W_OK) < 0) {
		print_message("skipped: no /dev/net/tun\n");
		skip();
	}
	in_child(CLONE_NEWNET, takes_its_place);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_read_and_set),
		cmocka_unit_test(test_takes_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
