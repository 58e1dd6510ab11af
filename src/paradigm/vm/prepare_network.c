/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a machine: that of the namespace which its container was to join.  Somebody (netavark, a CNI plug-in,
 * another container's engine) has put interfaces with addresses there.  For each of them a tap is made beside it,
 * and what either of the two receives goes out by the other; the guest gets a card with the interface's hardware
 * address, and is told its addresses and routes.  The monitor needs no privilege for that: the taps' descriptors are
 * all it gets.
 *
 * A namespace that is made for the machine is empty, and stays so.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "linux/clone.h"
#include "linux/network.h"
#include "linux/redirect.h"
#include "linux/tun.h"
#include "paradigm/vm/prepare.h"

_Static_assert((int)VM_NETS_MAX >= (int)NETWORK_INTERFACES_MAX, "every interface gets a card");

static int refuse_host(struct error *err)
{
	return error_set(err, ENOTSUP,
			 "a virtual machine cannot share the host's network stack; use none or container:NAME");
}

/* The interface's wire becomes the tap's. */
static int connect_tap(const struct network_interface *interface, int *fd, struct error *err)
{
	struct tap tap;
	int ret = tap_open(&(struct tap_options){ .name = NULL }, &tap, err), index;

	if (ret < 0)
		return ret;
	index = (int)if_nametoindex(tap.name);
	ret = redirect_prepare_tap(index, interface->mtu, err);
	if (ret == 0)
		ret = redirect_make(index, interface->index, err);
	if (ret == 0)
		ret = redirect_make(interface->index, index, err);
	if (ret < 0)
		tap_close(&tap);
	else
		*fd = tap.fds[0];
	return ret;
}

static int add_card(struct vm_plan *plan, const struct network_interface *interface, struct error *err)
{
	struct vm_config *config = &plan->config;
	struct vm_net *net = &config->nets[config->nets_count];
	char mac[NETWORK_MAC_TEXT];
	int tap = -1, ret = connect_tap(interface, &tap, err);

	if (ret < 0)
		return error_wrap(err, "network interface %s", interface->name), ret;
	config->nets_count++;
	*net = (struct vm_net){ .tap = vm_keep(plan, tap, err), .vhost = -1 };
	network_mac_write(interface->mac, mac);
	net->mac = arena_strdup(&plan->spec->arena, mac);
	if (net->tap < 0)
		return net->tap;
	return net->mac ? 0 : error_errno(err, ENOMEM, "cannot describe the network");
}

/* In the machine's network namespace. */
static int add_cards(struct vm_plan *plan, struct error *err)
{
	cleanup_free struct network_interface *list = calloc(NETWORK_INTERFACES_MAX, sizeof(*list));
	cleanup_str struct str text = STR_INIT;
	size_t count = 0;
	int ret = list ? network_list(list, &count, err) : error_errno(err, ENOMEM, "cannot read the network");

	for (size_t i = 0; ret == 0 && i < count; i++)
		ret = add_card(plan, &list[i], err);
	/* The interfaces are as they were: their taps go when the setup is released. */
	for (size_t i = 0; ret < 0 && i < plan->config.nets_count; i++)
		(void)redirect_remove(list[i].index);
	if (ret < 0 || count == 0)
		return ret;
	network_write(list, count, &text);
	plan->config.network = str_failed(&text) ? NULL : arena_strdup(&plan->spec->arena, str_text(&text));
	return plan->config.network ? 0 : error_errno(err, ENOMEM, "cannot describe the network");
}

static bool is_same(int left, int right)
{
	struct stat one, other;

	return fstat(left, &one) == 0 && fstat(right, &other) == 0 && one.st_ino == other.st_ino &&
	       one.st_dev == other.st_dev;
}

int vm_open_network(struct vm_plan *plan, struct error *err)
{
	const struct oci_namespace *network = &plan->spec->linux_.namespaces[OCI_NS_NETWORK];
	cleanup_close int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), joined = -1;
	int ret, back;

	if (!network->set)
		return refuse_host(err);
	if (!network->path)
		return 0;
	joined = open(network->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (own < 0 || joined < 0)
		return error_errno(err, errno, "cannot open the network namespace %s", network->path);
	if (is_same(own, joined))
		return refuse_host(err);
	ret = namespace_join_fd(joined, CLONE_NEWNET, network->path, err);
	if (ret < 0)
		return ret;
	ret = add_cards(plan, err);
	back = namespace_join_fd(own, CLONE_NEWNET, "our own", ret < 0 ? NULL : err);
	return ret < 0 ? ret : back;
}
