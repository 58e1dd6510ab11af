/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aml - ACPI Machine Language, as much of it as names devices: ACPI 6.5, 20.
 *
 * Appends to a struct str.  What has a length before its content is begun and
 * ended: aml_end() puts the length where aml_begin_*() said.
 */
#ifndef CAISSON_PARADIGM_VM_MACHINE_AML_H
#define CAISSON_PARADIGM_VM_MACHINE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Where an open package's length belongs. */
typedef size_t aml_place;

/* name: four characters, "\\_SB_" for an absolute one. */
aml_place aml_begin_scope(struct str *out, const char *name);
aml_place aml_begin_device(struct str *out, const char *name);
aml_place aml_begin_package(struct str *out, uint8_t elements);
void aml_end(struct str *out, aml_place place);

void aml_name(struct str *out, const char *name); /* its value follows */
void aml_integer(struct str *out, uint64_t value);
void aml_string(struct str *out, const char *text);
/* "PNP0501" as the number that it is in AML. */
void aml_eisa_id(struct str *out, const char *id);

/* Resources, as _CRS has them: 6.4.  Between begin and end. */
struct aml_resources {
	struct str bytes;
};
void aml_memory(struct aml_resources *resources, uint32_t base, uint32_t size);
void aml_ports(struct aml_resources *resources, uint16_t base, uint8_t size);
void aml_irq(struct aml_resources *resources, unsigned line);			 /* of the ISA bus: edge, high */
void aml_interrupt(struct aml_resources *resources, uint32_t line, bool shared); /* edge, high */
/* What a bridge hands on: first to last. */
void aml_bus_window(struct aml_resources *resources, uint16_t first, uint16_t last);
void aml_port_window(struct aml_resources *resources, uint16_t first, uint16_t last);
void aml_memory_window(struct aml_resources *resources, uint32_t first, uint32_t last);
/* Writes Name (_CRS, ResourceTemplate () {...}) and frees them. */
void aml_resources(struct str *out, struct aml_resources *resources);

#endif
