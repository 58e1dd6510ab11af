/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux/vfio.h and paradigm/vm/device/vfio.h, where there is no such device: the
 * way to one in a made-up /sys, and a device whose registers are a file.  With a real
 * one: tests/lab/vm_vfio.bats.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "paradigm/vm/device/vfio.h"
#include "paradigm/vm/machine/layout.h"

/* ---- the way to a device ---- */

static void test_addresses(void **unused)
{
	static const char *const wrong[] = { "",	   "1:0.0",	  "01:00",
					     "01:20.0",	   "01:00.8",	  "0000:01:00.0 ",
					     "../01:00.0", "000001:00.0", "0000:01:00.00" };
	char address[VFIO_ADDRESS_SIZE];

	(void)unused;
	assert_int_equal(vfio_address("0a:1f.7", address, NULL), 0);
	assert_string_equal(address, "0000:0a:1f.7");
	assert_int_equal(vfio_address("000F:0A:00.0", address, NULL), 0);
	assert_string_equal(address, "000f:0a:00.0");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(vfio_address(wrong[i], address, NULL), -EINVAL);
}

static char tree[] = "/tmp/test_vfio.XXXXXX";

static void make_directory(const char *path)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "mkdir -p '%s/%s'", tree, path);
	assert_int_equal(system(text), 0);
}

static void make_link(const char *target, const char *path)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "%s/%s", tree, path);
	assert_int_equal(symlink(target, text), 0);
}

static void expect(const char *address, int code, const char *words)
{
	char sys[64], dev[64];
	struct vfio_container container = VFIO_CONTAINER_INIT;
	struct error err = ERROR_INIT;

	(void)snprintf(sys, sizeof(sys), "%s/sys", tree);
	(void)snprintf(dev, sizeof(dev), "%s/dev", tree);
	container.sys = sys;
	container.dev = dev;
	assert_int_equal(vfio_open(&container, address, &err), code);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
	vfio_container_close(&container);
}

/* Whatever bars the way is said, and what opens it. */
static void test_ways(void **unused)
{
	static const char device[] = "0000:01:00.0";
	char remove[64];

	(void)unused;
	assert_non_null(mkdtemp(tree));
	make_directory("sys/bus/pci/devices");
	make_directory("dev/vfio");
	expect(device, -ENOENT, "no PCI device 0000:01:00.0");
	make_directory("sys/bus/pci/devices/0000:01:00.0");
	expect(device, -ENODEV, "intel_iommu=on");
	make_link("../../../kernel/iommu_groups/7", "sys/bus/pci/devices/0000:01:00.0/iommu_group");
	expect(device, -ENODEV, "driverctl set-override 0000:01:00.0 vfio-pci");
	make_link("../../../bus/pci/drivers/vfio-pci", "sys/bus/pci/devices/0000:01:00.0/driver");
	expect(device, -ENOENT, "load the module vfio-pci");
	make_directory("dev/vfio/vfio");
	expect(device, -EISDIR, "vfio/vfio");
	(void)snprintf(remove, sizeof(remove), "rm -rf %s", tree);
	assert_int_equal(system(remove), 0);
}

/* ---- a device that is a file ---- */

enum {
	CONFIG_AT = 0x0,   /* regions in the file */
	BAR0_AT = 0x10000, /* 4 pages: registers, the table in the third one */
	BAR2_AT = 0x20000, /* ports */
	TABLE = 0x2010,
	MESSAGES = 3,
	MSIX_AT = 0x50, /* capabilities of the real one */
	VENDOR_AT = 0x70,
	EVENTS = 8,
};

struct mapping {
	uint64_t guest, size;
	void *host;
};

struct board {
	struct bus bus;
	struct device *host_device;
	struct pci_host *pci;
	struct device *device;
	int file;
	struct mapping maps[VFIO_SLOTS_MAX];
	struct {
		uint64_t address;
		uint32_t data;
		bool on;
	} messages[VFIO_MESSAGES_MAX];
	unsigned routes;
	bool line, refuses;
	size_t active[VFIO_INTERRUPTS]; /* interrupts of a kind that the device sends */
};

static struct board board;

static bool map(void *context, unsigned slot, uint64_t guest, void *host, uint64_t size)
{
	((struct board *)context)->maps[slot] = (struct mapping){ guest, size, host };
	return true;
}

static bool route(void *context, unsigned message, uint64_t address, uint32_t data)
{
	struct board *at = context;

	assert_in_range(message, 0, MESSAGES - 1);
	at->messages[message].address = address;
	at->messages[message].data = data;
	at->routes++;
	return !at->refuses;
}

static bool listen_to(void *context, unsigned message, int eventfd, bool on)
{
	struct board *at = context;

	assert_true(eventfd >= 0);
	assert_int_not_equal(at->messages[message].on, on);
	at->messages[message].on = on;
	return true;
}

static bool listen_line(void *context, unsigned line, int eventfd, int resample, bool on)
{
	assert_int_equal(line, LAYOUT_IRQ_PCI + 2);
	assert_true(eventfd >= 0 && resample >= 0);
	((struct board *)context)->line = on;
	return true;
}

static bool set_interrupts(const struct vfio_device *host, unsigned kind, const int *eventfds, size_t count)
{
	(void)host;
	assert_true(count == 0 || eventfds);
	/* The kernel has one kind on at a time. */
	for (unsigned i = 0; count && i < VFIO_INTERRUPTS; i++)
		assert_true(i == kind || board.active[i] == 0);
	board.active[kind] = count;
	return true;
}

static bool unmask_by(const struct vfio_device *host, int eventfd)
{
	(void)host;
	return eventfd >= 0;
}

static const struct vfio_wiring wiring = {
	.map = map,
	.route = route,
	.listen = listen_to,
	.listen_line = listen_line,
	.interrupts = set_interrupts,
	.unmask_by = unmask_by,
};

static void put(unsigned at, const void *bytes, size_t size)
{
	assert_int_equal(pwrite(board.file, bytes, size, at), size);
}

static void put_config(unsigned at, uint32_t value, unsigned size)
{
	put(CONFIG_AT + at, &value, size);
}

/* Identity, two BARs, an interrupt, and a list of capabilities. */
static void make_file(void)
{
	const uint8_t vendor[] = { 0x09, MSIX_AT, 6, 0xaa, 0xbb, 0xcc };

	board.file = memfd_create("device", MFD_CLOEXEC);
	assert_int_equal(ftruncate(board.file, 0x30000), 0);
	put_config(PCI_VENDOR, 0x56781234, 4);
	put_config(PCI_STATUS, PCI_STATUS_CAPABILITIES, 2);
	put_config(PCI_REVISION, 0x01080203, 4);
	put_config(PCI_BAR, 0x0000000c, 4); /* 64 bits, prefetchable */
	put_config(PCI_BAR + 8, 0x00000001, 4);
	put_config(PCI_SUBSYSTEM, 0xdef0abcd, 4);
	put_config(PCI_CAPABILITIES, VENDOR_AT, 1);
	put_config(PCI_INTERRUPT_PIN, 1, 1);
	put(CONFIG_AT + VENDOR_AT, vendor, sizeof(vendor));
	put_config(MSIX_AT, 0x11 | VENDOR_AT << 8, 2); /* a circle */
	put_config(MSIX_AT + 2, MESSAGES - 1, 2);
	put_config(MSIX_AT + 4, TABLE, 4);
	put_config(MSIX_AT + 8, 0x3000, 4);
}

static struct vfio_device describe(void)
{
	struct vfio_device host = { .fd = board.file };

	host.regions[0] = (struct vfio_region){
		.offset = BAR0_AT, .size = 0x4000, .readable = true, .writable = true, .areas_count = 1
	};
	host.regions[0].areas[0] = (struct vfio_area){ 0, 0x4000 };
	host.regions[2] = (struct vfio_region){ .offset = BAR2_AT, .size = 0x20, .readable = true, .writable = true };
	host.regions[VFIO_PCI_CONFIG_REGION_INDEX] = (struct vfio_region){
		.offset = CONFIG_AT, .size = 0x100, .readable = true, .writable = true
	};
	host.interrupts[VFIO_PCI_INTX_IRQ_INDEX] = 1;
	host.interrupts[VFIO_PCI_MSIX_IRQ_INDEX] = MESSAGES;
	return host;
}

static void set_level(void *context, unsigned line, bool level)
{
	(void)context, (void)line, (void)level;
}

static int make(const struct vfio_device *host, struct error *err)
{
	const struct vfio_options options = {
		.host = host, .pci = board.pci, .slot = 2, .wiring = &wiring, .context = &board
	};

	return vfio_make(&options, &board.device, err);
}

static int set_up(void **unused)
{
	const struct interrupt lines = { .fd = -1, .set = set_level };

	(void)unused;
	memset(&board, 0, sizeof(board));
	assert_int_equal(bus_init(&board.bus, NULL), 0);
	assert_int_equal(pci_host_make(&board.bus, &lines, &board.pci, NULL), 0);
	board.host_device = pci_host_device(board.pci);
	make_file();
	return 0;
}

static int tear_down(void **unused)
{
	(void)unused;
	if (board.device)
		board.device->ops->free(board.device);
	else
		close(board.file);
	board.host_device->ops->free(board.host_device);
	bus_free(&board.bus);
	return 0;
}

static void config_address(unsigned at)
{
	uint32_t address = UINT32_C(1) << 31 | 2 << 11 | (at & 0xfc);

	assert_true(bus_write(&board.bus, BUS_PORTS, LAYOUT_PCI_ADDRESS, &address, 4));
}

static uint32_t config_read(unsigned at, unsigned size)
{
	uint32_t value = 0;

	config_address(at);
	assert_true(bus_read(&board.bus, BUS_PORTS, LAYOUT_PCI_DATA + (at & 3), &value, size));
	return value;
}

static void config_write(unsigned at, uint32_t value, unsigned size)
{
	config_address(at);
	assert_true(bus_write(&board.bus, BUS_PORTS, LAYOUT_PCI_DATA + (at & 3), &value, size));
}

static void make_device(void)
{
	const struct vfio_device host = describe();

	assert_int_equal(make(&host, NULL), 0);
}

static unsigned find_capability(uint8_t id)
{
	unsigned at = config_read(PCI_CAPABILITIES, 1);

	while (at && config_read(at, 1) != id)
		at = config_read(at + 1, 1);
	return at;
}

static uint64_t bar0(void)
{
	return (config_read(PCI_BAR, 4) & ~15U) | (uint64_t)config_read(PCI_BAR + 4, 4) << 32;
}

static void test_identity(void **unused)
{
	unsigned vendor;

	(void)unused;
	make_device();
	assert_int_equal(config_read(PCI_VENDOR, 4), 0x56781234);
	assert_int_equal(config_read(PCI_REVISION, 4), 0x01080203);
	assert_int_equal(config_read(PCI_SUBSYSTEM, 4), 0xdef0abcd);
	vendor = find_capability(0x09);
	assert_true(vendor);
	assert_int_equal(config_read(vendor + 2, 1), 6);
	assert_int_equal(config_read(vendor + 4, 1), 0xbb);
	/* Bus mastering is the device's affair; that it decodes its memory is not the guest's. */
	config_write(PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	assert_int_equal(pread(board.file, &vendor, 2, CONFIG_AT + PCI_COMMAND), 2);
	assert_int_equal(vendor & 0xffff, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY | PCI_COMMAND_PORTS);
}

/* Pages of the BAR are the guest's own, but for that of the table; they move with the BAR. */
static void test_bars(void **unused)
{
	uint32_t value = 0x11223344, found = 0;
	uint64_t base;

	(void)unused;
	make_device();
	base = bar0();
	assert_int_equal(board.maps[0].guest, base);
	assert_int_equal(board.maps[0].size, 0x2000);
	assert_int_equal(board.maps[1].guest, base + 0x3000);
	assert_int_equal(board.maps[1].size, 0x1000);
	assert_null(board.maps[2].host);
	put(BAR0_AT + 0x3010, &value, sizeof(value));
	assert_memory_equal((char *)board.maps[1].host + 0x10, &value, sizeof(value));
	config_write(PCI_BAR, LAYOUT_PCI_MEMORY + 0x100000, 4);
	assert_int_equal(board.maps[1].guest, LAYOUT_PCI_MEMORY + 0x103000);
	config_write(PCI_COMMAND, 0, 2);
	assert_int_equal(board.maps[0].size, 0);
	assert_int_equal(board.maps[1].size, 0);
	config_write(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_PORTS, 2);
	assert_int_equal(board.maps[0].size, 0x2000);
	/* What is not mapped goes through us: the table's page, and ports. */
	assert_true(bus_write(&board.bus, BUS_MEMORY, bar0() + 0x2800, &value, sizeof(value)));
	assert_int_equal(pread(board.file, &found, sizeof(found), BAR0_AT + 0x2800), sizeof(found));
	assert_int_equal(found, value);
	assert_true(bus_write(&board.bus, BUS_PORTS, (config_read(PCI_BAR + 8, 4) & ~3U) + 4, &value, 2));
	assert_int_equal(pread(board.file, &found, 2, BAR2_AT + 4), 2);
	assert_int_equal(found & 0xffff, 0x3344);
}

static void write_entry(unsigned message, unsigned word, uint32_t value)
{
	assert_true(bus_write(&board.bus, BUS_MEMORY, bar0() + TABLE + message * 16 + word * 4, &value, 4));
}

static void test_messages(void **unused)
{
	unsigned at;
	uint32_t value;

	(void)unused;
	make_device();
	at = find_capability(0x11);
	assert_true(at);
	assert_int_equal(config_read(at + 2, 2), MESSAGES - 1);
	assert_int_equal(config_read(at + 4, 4), TABLE);
	assert_true(board.line && board.active[VFIO_PCI_INTX_IRQ_INDEX] == 1);
	/* As Linux does: on with all of it masked, then entry by entry. */
	config_write(at + 2, 0xc000 | (MESSAGES - 1), 2);
	assert_false(board.line);
	assert_int_equal(board.active[VFIO_PCI_MSIX_IRQ_INDEX], MESSAGES);
	write_entry(1, 0, 0xfee01000);
	write_entry(1, 2, 0x4031);
	write_entry(1, 3, 0);
	assert_false(board.messages[1].on);
	config_write(at + 2, 0x8000, 2);
	assert_true(board.messages[1].on);
	assert_false(board.messages[0].on || board.messages[2].on);
	assert_int_equal(board.messages[1].address, 0xfee01000);
	assert_int_equal(board.messages[1].data, 0x4031);
	/* It moves to another processor while it is on, is masked, and comes back. */
	write_entry(1, 0, 0xfee02000);
	assert_int_equal(board.messages[1].address, 0xfee02000);
	write_entry(1, 3, 1);
	assert_false(board.messages[1].on);
	assert_true(bus_read(&board.bus, BUS_MEMORY, bar0() + TABLE + 16 + 12, &value, 4));
	assert_int_equal(value, 1);
	write_entry(1, 3, 0);
	assert_true(board.messages[1].on);
	config_write(at + 2, 0, 2);
	assert_false(board.messages[1].on);
	assert_int_equal(board.active[VFIO_PCI_MSIX_IRQ_INDEX], 0);
	assert_true(board.line);
	/* The device itself has heard nothing of all that. */
	assert_int_equal(pread(board.file, &value, 4, BAR0_AT + TABLE + 16), 4);
	assert_int_equal(value, 0);
}

/* A guest that writes anything anywhere. */
static void test_hostile(void **unused)
{
	static const uint8_t bytes[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	unsigned at;
	uint8_t found[8];

	(void)unused;
	make_device();
	at = find_capability(0x11);
	config_write(at + 2, 0xffff, 2);
	config_write(at + 2, 0xbfff, 2);
	assert_int_equal(config_read(at + 2, 2), 0x8000 | (MESSAGES - 1));
	for (uint64_t offset = TABLE - 8; offset < TABLE + 16 * (MESSAGES + 1); offset++)
		for (unsigned size = 1; size <= 8; size++) {
			assert_true(bus_write(&board.bus, BUS_MEMORY, bar0() + offset, bytes, size));
			assert_true(bus_read(&board.bus, BUS_MEMORY, bar0() + offset, found, size));
		}
	/* Routes that cannot be are not listened to. */
	board.refuses = true;
	write_entry(0, 3, 0);
	assert_false(board.messages[0].on);
	config_write(PCI_BAR, 0xffffffff, 4);
	config_write(PCI_BAR + 4, 0xffffffff, 4);
	assert_int_equal(config_read(PCI_BAR, 4), 0xffffc00c);
	assert_int_equal(board.maps[0].size, 0);
}

static void test_refused(void **unused)
{
	struct vfio_device host = describe();
	struct error err = ERROR_INIT;

	(void)unused;
	put_config(PCI_HEADER_TYPE, 1, 1);
	assert_int_equal(make(&host, &err), -ENOTSUP);
	put_config(PCI_HEADER_TYPE, 0, 1);
	put_config(MSIX_AT + 4, 0x3ff8, 4); /* a table that ends behind its BAR */
	assert_int_equal(make(&host, &err), -EINVAL);
	put_config(MSIX_AT + 4, 5, 4); /* in a BAR that is none */
	assert_int_equal(make(&host, &err), -EINVAL);
	put_config(MSIX_AT + 4, TABLE, 4);
	host.regions[0].size = UINT64_C(1) << 33;
	assert_int_equal(make(&host, &err), -ENOSPC);
	host.regions[0].size = 0x4000;
	assert_int_equal(make(&host, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ways),
		cmocka_unit_test_setup_teardown(test_identity, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bars, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_messages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
