/* SPDX-License-Identifier: Apache-2.0 */
/* paradigm/vm/machine/acpi: tables that add up, and that iasl(1) reads as we meant them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "paradigm/vm/machine/acpi.h"
#include "paradigm/vm/machine/aml.h"
#include "paradigm/vm/machine/layout.h"

static void make_memory(struct guest_memory *memory)
{
	struct guest_region regions[2];
	size_t count = layout_regions(4 << 20, regions);

	assert_int_equal(guest_memory_make(memory, regions, count, 0, NULL), 0);
}

static uint64_t number(const uint8_t *at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

static uint8_t sum_of(const uint8_t *bytes, size_t size)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return sum;
}

/* The table at address, its sum and signature checked. */
static const uint8_t *table_at(const struct guest_memory *memory, uint64_t address, const char *signature)
{
	const uint8_t *table = guest_memory_at(memory, address, 36);

	assert_non_null(table);
	assert_memory_equal(table, signature, 4);
	assert_true(address >= LAYOUT_ACPI && address + number(table + 4, 4) <= LAYOUT_ACPI + LAYOUT_ACPI_SIZE);
	assert_int_equal(sum_of(table, number(table + 4, 4)), 0);
	return table;
}

static const uint8_t *xsdt_of(const struct guest_memory *memory)
{
	const uint8_t *rsdp = guest_memory_at(memory, LAYOUT_ACPI, 36);

	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum_of(rsdp, 20), 0);
	assert_int_equal(sum_of(rsdp, 36), 0);
	return table_at(memory, number(rsdp + 24, 8), "XSDT");
}

static void test_reduced(void **unused)
{
	const struct acpi_facts facts = { .kind = VM_KIND_PV, .vcpus = 2, .virtio = 3 };
	struct guest_memory memory;
	const uint8_t *xsdt, *fadt;

	(void)unused;
	make_memory(&memory);
	assert_int_equal(acpi_write(&memory, &facts, NULL), 0);
	xsdt = xsdt_of(&memory);
	assert_int_equal(number(xsdt + 4, 4), 36 + 16);
	fadt = table_at(&memory, number(xsdt + 36, 8), "FACP");
	assert_int_equal(number(fadt + 4, 4), 276);
	assert_int_equal(fadt[8], 6);
	assert_true(number(fadt + 112, 4) & 1 << 20);
	assert_int_equal(number(fadt + 109, 2), 0x2c); /* no VGA, MSI, RTC; no 8042 */
	assert_int_equal(number(fadt + 244 + 4, 8), LAYOUT_SLEEP_CONTROL);
	assert_int_equal(number(fadt + 116 + 4, 8), LAYOUT_RESET);
	assert_int_equal(number(fadt + 56, 4), 0);
	(void)table_at(&memory, number(fadt + 140, 8), "DSDT");
	guest_memory_free(&memory);
}

static void test_fixed_hardware(void **unused)
{
	const struct acpi_facts facts = { .kind = VM_KIND_VM, .vcpus = 1, .com2 = true, .pci = true };
	struct guest_memory memory;
	const uint8_t *fadt;

	(void)unused;
	make_memory(&memory);
	assert_int_equal(acpi_write(&memory, &facts, NULL), 0);
	fadt = table_at(&memory, number(xsdt_of(&memory) + 36, 8), "FACP");
	assert_false(number(fadt + 112, 4) & 1 << 20);
	assert_int_equal(number(fadt + 109, 2), 0xf);
	assert_int_equal(number(fadt + 56, 4), LAYOUT_PM1_EVENT);
	assert_int_equal(number(fadt + 64, 4), LAYOUT_PM1_CONTROL);
	assert_int_equal(number(fadt + 76, 4), LAYOUT_PM_TIMER);
	assert_memory_equal(guest_memory_at(&memory, number(fadt + 36, 4), 64), "FACS", 4);
	assert_int_equal(number(fadt + 36, 4) % 64, 0);
	guest_memory_free(&memory);
}

/* Every processor, one IOAPIC; lengths of the entries lead exactly to the end. */
static void test_processors(void **unused)
{
	const struct acpi_facts facts = { .kind = VM_KIND_VM, .vcpus = VM_VCPUS_MAX, .pci = true };
	unsigned seen[5] = { 0 };
	struct guest_memory memory;
	const uint8_t *madt;
	size_t at = 44;

	(void)unused;
	make_memory(&memory);
	assert_int_equal(acpi_write(&memory, &facts, NULL), 0);
	madt = table_at(&memory, number(xsdt_of(&memory) + 44, 8), "APIC");
	assert_int_equal(number(madt + 36, 4), LAYOUT_LAPIC);
	while (at < number(madt + 4, 4)) {
		assert_true(madt[at] < 5 && madt[at + 1] > 0);
		if (madt[at] == 0)
			assert_int_equal(madt[at + 3], seen[0]);
		if (madt[at] == 1)
			assert_int_equal(number(madt + at + 4, 4), LAYOUT_IOAPIC);
		seen[madt[at]]++;
		at += madt[at + 1];
	}
	assert_int_equal(at, number(madt + 4, 4));
	assert_int_equal(seen[0], VM_VCPUS_MAX);
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 2);
	guest_memory_free(&memory);
}

static void test_limits(void **unused)
{
	struct acpi_facts facts = { .kind = VM_KIND_PV, .vcpus = VM_VCPUS_MAX, .virtio = LAYOUT_VIRTIO_MAX };
	struct guest_memory memory;

	(void)unused;
	make_memory(&memory);
	assert_int_equal(acpi_write(&memory, &facts, NULL), 0);
	facts.virtio++;
	assert_int_equal(acpi_write(&memory, &facts, NULL), -EINVAL);
	facts.virtio = 0;
	facts.vcpus = 0;
	assert_int_equal(acpi_write(&memory, &facts, NULL), -EINVAL);
	guest_memory_free(&memory);
}

/* Lengths at the borders of their encodings: 20.2.4. */
static void test_package_lengths(void **unused)
{
	static const struct {
		size_t content;
		uint8_t bytes[3];
		unsigned count;
	} cases[] = { { 58, { 63 }, 1 },
		      { 59, { 0x41, 4 }, 2 },
		      { 4089, { 0x4f, 0xff }, 2 },
		      { 4090, { 0x81, 0x00, 0x01 }, 3 },
		      { 70000, { 0x87, 0x17, 0x11 }, 3 } };

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str out = STR_INIT;
		aml_place place = aml_begin_scope(&out, "ABCD");

		for (size_t n = 0; n < cases[i].content; n++)
			str_append(&out, "x");
		aml_end(&out, place);
		assert_false(str_failed(&out));
		assert_int_equal(out.length, 1 + cases[i].count + 4 + cases[i].content);
		assert_memory_equal(out.text + 1, cases[i].bytes, cases[i].count);
		assert_memory_equal(out.text + 1 + cases[i].count, "ABCDx", 5);
		str_free(&out);
	}
}

/* Has iasl read a DSDT, and looks for lines in what it understood. */
static void disassemble(const struct acpi_facts *facts, const char *const *lines)
{
	char dir[] = "/tmp/acpi.XXXXXX", path[64], command[512];
	cleanup_free char *text = NULL;
	struct str dsdt = STR_INIT;
	FILE *file;

	assert_non_null(mkdtemp(dir));
	acpi_dsdt(facts, &dsdt);
	(void)snprintf(path, sizeof(path), "%s/dsdt.aml", dir);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(dsdt.text, 1, dsdt.length, file), dsdt.length);
	assert_int_equal(fclose(file), 0);
	str_free(&dsdt);
	/* What it wrote is then compiled again: errors and warnings that only the compiler finds. */
	(void)snprintf(command, sizeof(command),
		       "cd %s && iasl -d dsdt.aml >/dev/null 2>&1 && iasl -we -vs -p again dsdt.dsl >log 2>&1 || { cat "
		       "log; exit 1; }",
		       dir);
	assert_int_equal(system(command), 0);
	(void)snprintf(path, sizeof(path), "%s/dsdt.dsl", dir);
	assert_int_equal(file_read(AT_FDCWD, path, 4 << 20, &text, &(size_t){ 0 }, NULL), 0);
	for (; *lines; lines++)
		if (!strstr(text, *lines))
			fail_msg("no \"%s\" in\n%s", *lines, text);
	assert_int_equal(file_remove_all(AT_FDCWD, dir, NULL), 0);
}

static void test_iasl(void **unused)
{
	static const char *const pv[] = { "Name (_HID, \"LNRO0005\")",
					  "0xD0000000,         // Address Base",
					  "Device (VR13)",
					  "Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared, ,, )",
					  "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, )",
					  "EisaId (\"PNP0501\") /* 16550A-compatible COM Serial Port */",
					  NULL };
	static const char *const vm[] = { "EisaId (\"PNP0A03\") /* PCI Bus */",
					  "Name (_PRT, Package (0x80)",
					  "0x001FFFFF,",
					  "0xE0000000,         // Range Minimum",
					  "0xFDFFFFFF,         // Range Maximum",
					  "Device (COM2)",
					  "EisaId (\"PNP0B00\")",
					  NULL };

	(void)unused;
	if (system("command -v iasl >/dev/null") != 0) {
		print_message("iasl is not installed (Debian package acpica-tools)\n");
		skip();
	}
	disassemble(&(struct acpi_facts){ .kind = VM_KIND_PV, .vcpus = 1, .virtio = 14 }, pv);
	disassemble(&(struct acpi_facts){ .kind = VM_KIND_VM, .vcpus = 1, .com2 = true, .pci = true }, vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reduced),		cmocka_unit_test(test_fixed_hardware),
		cmocka_unit_test(test_processors),	cmocka_unit_test(test_limits),
		cmocka_unit_test(test_package_lengths), cmocka_unit_test(test_iasl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
