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

static bool is_ours_to_serve(const struct vm_config *config)
{
	return config->engine == VM_ENGINE_KVM && config->kind == VM_KIND_PV;
}

/* One for each vCPU, where the guest can make use of them; the e1000 has one, and QEMU, which translates all vCPUs, is
 * given one. */
static unsigned queues(const struct vm_config *config)
{
	unsigned most = is_ours_to_serve(config) ? VM_QUEUES_MAX : 1;

	return config->vcpus < most ? config->vcpus : most;
}

/* The interface's wire becomes the tap's. */
static int connect_tap(const struct network_interface *interface, unsigned count, struct tap *tap, struct error *err)
{
	int ret = tap_open(&(struct tap_options){ .name = NULL, .queues = count }, tap, err), index;

	if (ret < 0)
		return ret;
	index = (int)if_nametoindex(tap->name);
	ret = redirect_prepare_tap(index, interface->mtu, err);
	if (ret == 0)
		ret = redirect_make(index, interface->index, err);
	if (ret == 0)
		ret = redirect_make(interface->index, index, err);
	if (ret < 0)
		tap_close(tap);
	return ret;
}

/* The setup takes all descriptors, or closes them. */
static int keep_queues(struct vm_plan *plan, const struct tap *tap, struct vm_net *net, struct error *err)
{
	int ret = 0;

	for (unsigned i = 0; i < tap->queues; i++) {
		int fd = vm_keep(plan, tap->fds[i], ret < 0 ? NULL : err);

		net->taps[net->taps_count++] = fd;
		ret = fd < 0 && ret == 0 ? fd : ret;
	}
	return ret;
}

/* The kernel's own way between guest and tap, where it has one: once for each queue, and for all of them or none. */
static int add_vhosts(struct vm_plan *plan, struct vm_net *net, struct error *err)
{
	for (size_t i = 0; is_ours_to_serve(&plan->config) && i < net->taps_count; i++) {
		int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

		if (fd < 0) {
			net->vhosts_count = 0;
			return 0;
		}
		fd = vm_keep(plan, fd, err);
		if (fd < 0)
			return fd;
		net->vhosts[net->vhosts_count++] = fd;
	}
	return 0;
}

static int add_card(struct vm_plan *plan, const struct network_interface *interface, struct error *err)
{
	struct vm_config *config = &plan->config;
	struct vm_net *net = &config->nets[config->nets_count];
	char mac[NETWORK_MAC_TEXT];
	struct tap tap;
	int ret = connect_tap(interface, queues(config), &tap, err);

	if (ret < 0)
		return error_wrap(err, "network interface %s", interface->name), ret;
	config->nets_count++;
	*net = (struct vm_net){ .taps_count = 0 };
	ret = keep_queues(plan, &tap, net, err);
	if (ret == 0)
		ret = add_vhosts(plan, net, err);
	network_mac_write(interface->mac, mac);
	net->mac = arena_strdup(&plan->spec->arena, mac);
	if (ret < 0)
		return ret;
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

static int open_joined(const struct oci_namespace *network)
{
	return open(network->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
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
	joined = open_joined(network);
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

/* By then the path may lead to another namespace, as that of a process whose number was given again: a redirection that
 * leads nowhere is nobody's there either. */
void vm_clean(const struct oci_spec *spec)
{
	const struct oci_namespace *network = &spec->linux_.namespaces[OCI_NS_NETWORK];
	cleanup_close int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), joined = -1;

	if (!network->set || !network->path)
		return;
	joined = open_joined(network);
	if (own < 0 || joined < 0 || is_same(own, joined) ||
	    namespace_join_fd(joined, CLONE_NEWNET, network->path, NULL) < 0)
		return;
	(void)redirect_sweep();
	(void)namespace_join_fd(own, CLONE_NEWNET, "our own", NULL);
}
