/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire - for tests in network namespaces of their own: what a command says
 * there, and frames that nobody else has sent.
 */
#ifndef CAISSON_TESTS_UNIT_WIRE_H
#define CAISSON_TESTS_UNIT_WIRE_H

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT_MAX = 8192, FRAME_TYPE = 0x88b5 /* for experiments: IEEE 802 */ };

/* What a command prints. */
static inline const char *output_of(const char *command, char text[static TEXT_MAX])
{
	FILE *pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a test's own words */
	size_t length = pipe ? fread(text, 1, TEXT_MAX - 1, pipe) : 0;

	text[length] = '\0';
	if (pipe)
		(void)pclose(pipe);
	return text;
}

/* On the interface, for frames of that type alone; address is where to send them.  -1 with errno. */
static inline int packet_socket(const char *name, struct sockaddr_ll *address)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(FRAME_TYPE));

	*address = (struct sockaddr_ll){ .sll_family = AF_PACKET,
					 .sll_protocol = htons(FRAME_TYPE),
					 .sll_ifindex = (int)if_nametoindex(name) };
	if (fd >= 0 && bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

#endif
