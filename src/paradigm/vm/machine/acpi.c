/* SPDX-License-Identifier: Apache-2.0 */
#include "paradigm/vm/machine/acpi.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "paradigm/vm/machine/aml.h"
#include "paradigm/vm/machine/layout.h"

/* 5.2.6 */
struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

/* 5.2.5.3 */
struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

/* 5.2.3.2: of ports. */
struct gas {
	uint8_t space, bits, offset, access;
	uint64_t address;
} __attribute__((packed));

/* 5.2.9 */
struct fadt {
	struct header header;
	uint32_t facs, dsdt;
	uint8_t reserved, profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length;
	uint8_t gpe0_length, gpe1_length, gpe1_base, cstate;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_architecture;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control, x_pm_timer, x_gpe0,
		x_gpe1;
	struct gas sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));

/* 5.2.10 */
struct facs {
	char signature[4];
	uint32_t length, hardware, waking, lock, flags;
	uint64_t x_waking;
	uint8_t version, reserved[3];
	uint32_t ospm_flags;
	uint8_t reserved2[24];
} __attribute__((packed));

_Static_assert(sizeof(struct fadt) == 276, "as revision 6 has it");
_Static_assert(sizeof(struct facs) == 64, "as the specification has it");
_Static_assert(sizeof(struct rsdp) == 36, "as the specification has it");

enum {
	FLAG_WBINVD = 1 << 0,
	FLAG_C1 = 1 << 2,
	FLAG_NO_POWER_BUTTON = 1 << 4, /* none of the fixed ones */
	FLAG_NO_SLEEP_BUTTON = 1 << 5,
	FLAG_NO_RTC_WAKE = 1 << 6,
	FLAG_TIMER_32 = 1 << 8,
	FLAG_RESET = 1 << 10,
	FLAG_REDUCED = 1 << 20,

	BOOT_LEGACY_DEVICES = 1 << 0,
	BOOT_8042 = 1 << 1,
	BOOT_NO_VGA = 1 << 2,
	BOOT_NO_MSI = 1 << 3,
	BOOT_NO_RTC = 1 << 5,

	MADT_PCAT_COMPATIBLE = 1, /* two 8259s are there as well */
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,
	EDGE_HIGH = 0x5,
	LEVEL_HIGH = 0xd,

	ISA_TIMER = 0,
	PCI_SLOTS = 32,
	PCI_PINS = 4,
};

static uint8_t checksum(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint8_t sum = 0;

	while (size-- > 0)
		sum = (uint8_t)(sum + *at++);
	return (uint8_t)-sum;
}

static struct header header_of(const char *signature, uint8_t revision)
{
	struct header header = { .revision = revision,
				 .oem = { 'C', 'A', 'I', 'S', 'S', 'N' },
				 .oem_table = { 'C', 'A', 'I', 'S', 'S', 'O', 'N', ' ' },
				 .oem_revision = htole32(1),
				 .creator = { 'C', 'S', 'S', 'N' },
				 .creator_revision = htole32(1) };

	memcpy(header.signature, signature, sizeof(header.signature));
	return header;
}

/* Length and sum, of a table that is whole. */
static void seal(struct str *table)
{
	struct header *header = (struct header *)table->text;

	if (table->failed)
		return;
	header->length = htole32((uint32_t)table->length);
	header->checksum = 0;
	header->checksum = checksum(table->text, table->length);
}

/* ---- DSDT ---- */

static void declare(struct str *out, const char *name, const char *pnp, uint64_t number)
{
	aml_name(out, "_HID");
	if (pnp)
		aml_eisa_id(out, pnp);
	else
		aml_string(out, name);
	aml_name(out, "_UID");
	aml_integer(out, number);
}

/* On the ISA bus: ports and a line. */
static void declare_isa(struct str *out, const char *name, const char *pnp, unsigned number, uint16_t base,
			uint8_t size, unsigned line)
{
	struct aml_resources resources = { .bytes = STR_INIT };
	aml_place device = aml_begin_device(out, name);

	declare(out, NULL, pnp, number);
	aml_ports(&resources, base, size);
	aml_irq(&resources, line);
	aml_resources(out, &resources);
	aml_end(out, device);
}

static void declare_virtio(struct str *out, const struct acpi_facts *facts)
{
	for (unsigned i = 0; i < facts->virtio; i++) {
		struct aml_resources resources = { .bytes = STR_INIT };
		const char name[] = { 'V', 'R', (char)('0' + i / 10), (char)('0' + i % 10), '\0' };
		aml_place device = aml_begin_device(out, name);
		bool shared = false;

		for (unsigned other = 0; other < facts->virtio; other++)
			shared = shared || (other != i && layout_virtio_irq(other) == layout_virtio_irq(i));
		declare(out, "LNRO0005", NULL, i);
		aml_memory(&resources, (uint32_t)layout_virtio_base(i), (uint32_t)LAYOUT_VIRTIO_SIZE);
		aml_interrupt(&resources, layout_virtio_irq(i), shared);
		aml_resources(out, &resources);
		aml_end(out, device);
	}
}

/* _PRT: which line each pin of each slot is connected to (6.2.13); there is no interrupt router. */
static void route_pci(struct str *out)
{
	aml_place table;

	aml_name(out, "_PRT");
	table = aml_begin_package(out, PCI_SLOTS * PCI_PINS);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		for (unsigned pin = 0; pin < PCI_PINS; pin++) {
			aml_place entry = aml_begin_package(out, 4);

			aml_integer(out, slot << 16 | 0xffff);
			aml_integer(out, pin);
			aml_integer(out, 0);
			aml_integer(out, LAYOUT_IRQ_PCI + (slot + pin) % LAYOUT_IRQ_PCI_COUNT);
			aml_end(out, entry);
		}
	}
	aml_end(out, table);
}

static void declare_pci(struct str *out)
{
	struct aml_resources resources = { .bytes = STR_INIT };
	aml_place device = aml_begin_device(out, "PCI0");

	declare(out, NULL, "PNP0A03", 0);
	aml_name(out, "_BBN");
	aml_integer(out, 0);
	aml_bus_window(&resources, 0, 0);
	aml_ports(&resources, LAYOUT_PCI_ADDRESS, 8);
	/* Where an IDE function in compatibility mode has its ports: Linux would move them otherwise, and cannot. */
	aml_port_window(&resources, LAYOUT_ATA1, LAYOUT_ATA1 + LAYOUT_ATA_SIZE - 1);
	aml_port_window(&resources, LAYOUT_ATA0, LAYOUT_ATA0 + LAYOUT_ATA_SIZE - 1);
	aml_port_window(&resources, LAYOUT_ATA1_CONTROL & ~7, LAYOUT_ATA1_CONTROL | 7);
	aml_port_window(&resources, LAYOUT_ATA0_CONTROL & ~7, LAYOUT_ATA0_CONTROL | 7);
	aml_port_window(&resources, LAYOUT_PCI_PORTS, LAYOUT_PCI_PORTS + LAYOUT_PCI_PORTS_SIZE - 1);
	aml_memory_window(&resources, (uint32_t)LAYOUT_PCI_MEMORY,
			  (uint32_t)(LAYOUT_PCI_MEMORY + LAYOUT_PCI_MEMORY_SIZE - 1));
	aml_resources(out, &resources);
	route_pci(out);
	aml_end(out, device);
}

void acpi_dsdt(const struct acpi_facts *facts, struct str *out)
{
	struct header header = header_of("DSDT", 2);
	aml_place scope, package;

	str_append_bytes(out, &header, sizeof(header));
	aml_name(out, "\\_S5_");
	package = aml_begin_package(out, 4);
	aml_integer(out, LAYOUT_SLEEP_OFF);
	for (unsigned i = 0; i < 3; i++)
		aml_integer(out, 0);
	aml_end(out, package);

	scope = aml_begin_scope(out, "\\_SB_");
	declare_isa(out, "COM1", "PNP0501", 1, LAYOUT_COM1, LAYOUT_COM_SIZE, LAYOUT_IRQ_COM1);
	if (facts->com2)
		declare_isa(out, "COM2", "PNP0501", 2, LAYOUT_COM2, LAYOUT_COM_SIZE, LAYOUT_IRQ_COM2);
	if (facts->kind == VM_KIND_VM) {
		declare_isa(out, "RTC_", "PNP0B00", 1, LAYOUT_CMOS, LAYOUT_CMOS_SIZE, LAYOUT_IRQ_RTC);
	}
	if (facts->pci)
		declare_pci(out);
	declare_virtio(out, facts);
	aml_end(out, scope);
	seal(out);
}

/* ---- the others ---- */

static struct gas port(uint64_t address, unsigned bytes)
{
	/* Access size: 1 byte, 2 a word, 3 four bytes. */
	return (struct gas){ .space = 1,
			     .bits = (uint8_t)(bytes * 8),
			     .access = (uint8_t)(bytes == 4 ? 3 : bytes),
			     .address = htole64(address) };
}

static void write_fadt(const struct acpi_facts *facts, uint64_t facs, uint64_t dsdt, struct str *out)
{
	struct fadt fadt = {
		.header = header_of("FACP", 6),
		.dsdt = htole32((uint32_t)dsdt),
		.x_dsdt = htole64(dsdt),
		.c2_latency = htole16(0xfff), /* neither C2 nor C3 */
		.c3_latency = htole16(0xfff),
		.reset = port(LAYOUT_RESET, 1),
		.reset_value = LAYOUT_RESET_VALUE,
		.minor = 5,
	};
	uint32_t flags = FLAG_WBINVD | FLAG_C1 | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON | FLAG_NO_RTC_WAKE |
			 FLAG_TIMER_32 | FLAG_RESET;
	uint16_t messages = facts->msi ? 0 : BOOT_NO_MSI;

	memcpy(&fadt.hypervisor, "CAISSON", 7);
	if (facts->kind == VM_KIND_PV) {
		fadt.flags = htole32(flags | FLAG_REDUCED);
		fadt.boot_architecture = htole16(BOOT_NO_VGA | messages | BOOT_NO_RTC);
		fadt.sleep_control = port(LAYOUT_SLEEP_CONTROL, 1);
		fadt.sleep_status = port(LAYOUT_SLEEP_STATUS, 1);
	} else {
		fadt.flags = htole32(flags);
		fadt.boot_architecture = htole16(BOOT_LEGACY_DEVICES | BOOT_8042 | BOOT_NO_VGA | messages);
		fadt.facs = htole32((uint32_t)facs);
		fadt.sci = htole16(LAYOUT_IRQ_SCI);
		fadt.pm1a_event = htole32(LAYOUT_PM1_EVENT);
		fadt.pm1a_control = htole32(LAYOUT_PM1_CONTROL);
		fadt.pm_timer = htole32(LAYOUT_PM_TIMER);
		fadt.pm1_event_length = fadt.pm_timer_length = 4;
		fadt.pm1_control_length = 2;
		fadt.x_pm1a_event = port(LAYOUT_PM1_EVENT, 4);
		fadt.x_pm1a_event.access = 2;
		fadt.x_pm1a_control = port(LAYOUT_PM1_CONTROL, 2);
		fadt.x_pm_timer = port(LAYOUT_PM_TIMER, 4);
	}
	str_append_bytes(out, &fadt, sizeof(fadt));
	seal(out);
}

static void put(struct str *out, uint32_t value, unsigned size)
{
	value = htole32(value);
	str_append_bytes(out, &value, size);
}

static void put_override(struct str *out, uint8_t isa, uint32_t line, uint16_t flags)
{
	put(out, MADT_OVERRIDE, 1);
	put(out, 10, 1);
	put(out, 0, 1); /* ISA */
	put(out, isa, 1);
	put(out, line, 4);
	put(out, flags, 2);
}

/* 5.2.12 */
static void write_madt(const struct acpi_facts *facts, struct str *out)
{
	struct header header = header_of("APIC", 5);

	str_append_bytes(out, &header, sizeof(header));
	put(out, (uint32_t)LAYOUT_LAPIC, 4);
	put(out, facts->kind == VM_KIND_VM ? MADT_PCAT_COMPATIBLE : 0, 4);
	for (unsigned i = 0; i < facts->vcpus; i++) {
		put(out, MADT_LAPIC, 1);
		put(out, 8, 1);
		put(out, i, 1);
		put(out, i, 1);
		put(out, 1, 4); /* enabled */
	}
	put(out, MADT_IOAPIC, 1);
	put(out, 12, 1);
	put(out, LAYOUT_IOAPIC_ID, 2);
	put(out, (uint32_t)LAYOUT_IOAPIC, 4);
	put(out, 0, 4); /* its first GSI */
	put_override(out, ISA_TIMER, LAYOUT_IRQ_TIMER, EDGE_HIGH);
	if (facts->kind == VM_KIND_VM)
		put_override(out, LAYOUT_IRQ_SCI, LAYOUT_IRQ_SCI, LEVEL_HIGH);
	put(out, MADT_LAPIC_NMI, 1);
	put(out, 6, 1);
	put(out, 0xff, 1); /* of all processors */
	put(out, 0, 2);
	put(out, 1, 1); /* LINT1 */
	seal(out);
}

static void write_xsdt(uint64_t fadt, uint64_t madt, struct str *out)
{
	struct header header = header_of("XSDT", 1);
	const uint64_t tables[] = { htole64(fadt), htole64(madt) };

	str_append_bytes(out, &header, sizeof(header));
	str_append_bytes(out, tables, sizeof(tables));
	seal(out);
}

/* Writes a table to *next, which then is where the next one goes; its address is returned, 0 if something failed. */
static uint64_t place(struct guest_memory *memory, uint64_t *next, struct str *table)
{
	uint64_t address = *next;

	if (str_failed(table) || *next + table->length > LAYOUT_ACPI + LAYOUT_ACPI_SIZE ||
	    !guest_memory_write(memory, address, table->text, table->length))
		address = 0;
	*next = (*next + table->length + 63) & ~UINT64_C(63);
	str_free(table);
	return address;
}

int acpi_write(struct guest_memory *memory, const struct acpi_facts *facts, struct error *err)
{
	struct facs facs = { .signature = { 'F', 'A', 'C', 'S' }, .length = htole32(sizeof(facs)), .version = 2 };
	struct rsdp rsdp = { .signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
			     .oem = { 'C', 'A', 'I', 'S', 'S', 'N' },
			     .revision = 2,
			     .length = htole32(sizeof(rsdp)) };
	uint64_t next = LAYOUT_ACPI + 64, facs_address, dsdt, fadt, madt, xsdt;
	struct str table = STR_INIT;

	if (facts->vcpus == 0 || facts->vcpus > VM_VCPUS_MAX || facts->virtio > LAYOUT_VIRTIO_MAX)
		return error_set(err, EINVAL, "ACPI tables for %u processors and %u virtio devices", facts->vcpus,
				 facts->virtio);
	str_append_bytes(&table, &facs, sizeof(facs));
	facs_address = place(memory, &next, &table);
	acpi_dsdt(facts, &table);
	dsdt = place(memory, &next, &table);
	write_fadt(facts, facs_address, dsdt, &table);
	fadt = place(memory, &next, &table);
	write_madt(facts, &table);
	madt = place(memory, &next, &table);
	write_xsdt(fadt, madt, &table);
	xsdt = place(memory, &next, &table);
	rsdp.xsdt = htole64(xsdt);
	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	if (!facs_address || !dsdt || !fadt || !madt || !xsdt ||
	    !guest_memory_write(memory, LAYOUT_ACPI, &rsdp, sizeof(rsdp)))
		return error_set(err, ENOSPC, "no room for ACPI tables in the guest's memory");
	return 0;
}
