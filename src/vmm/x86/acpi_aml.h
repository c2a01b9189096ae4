/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A growing ACPI table, and an encoder of AML terms into it (ACPI 6.5, chapter
 * 20.2). What has a length is opened, filled and ended; names are written as
 * in ASL ("\\_SB_.PCI0", segments of four characters). After a failed
 * allocation nothing more is written and failed says so. Private to x86/.
 */
#ifndef KV_VMM_X86_ACPI_AML_H
#define KV_VMM_X86_ACPI_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *data; /* owned; free() it */
    size_t len, capacity;
    bool failed;
};

/* Raw bytes and little-endian numbers. */
void aml_bytes(struct aml *a, const void *bytes, size_t len);
void aml_number(struct aml *a, uint64_t value, unsigned bytes);

/* Data objects. */
void aml_integer(struct aml *a, uint64_t value);
void aml_string(struct aml *a, const char *text);
size_t aml_dword(struct aml *a, uint32_t value); /* always four bytes; returns where */
void aml_eisa_id(struct aml *a, const char *id); /* "PNP0A08" */
void aml_path(struct aml *a, const char *path);  /* a name where it is used */

#define AML_SERIALIZED 8 /* a method that creates names runs once at a time */

/* An operation region, and registers in it, one after the other. */
enum aml_space {
    AML_MEMORY = 0,
    AML_PORTS = 1,
};
enum aml_access {
    AML_BYTES = 1,
    AML_DWORDS = 3,
};
void aml_region(struct aml *a, const char *name, enum aml_space space, uint32_t base, uint32_t len);
size_t aml_field(struct aml *a, const char *region, enum aml_access access); /* ends by aml_end() */
void aml_register(struct aml *a, const char *name, unsigned bits);           /* fewer than 64 */

/* What has a length. Each begins a thing and returns its mark for aml_end(). */
size_t aml_scope(struct aml *a, const char *path);
size_t aml_device(struct aml *a, const char *name);
size_t aml_method(struct aml *a, const char *name, unsigned flags); /* arguments, AML_SERIALIZED */
size_t aml_package(struct aml *a, unsigned elements);
size_t aml_buffer(struct aml *a); /* its bytes follow */
size_t aml_if(struct aml *a);     /* predicate, then terms */
size_t aml_else(struct aml *a);
void aml_end(struct aml *a, size_t mark);
void aml_buffer_end(struct aml *a, size_t mark);

/* Name (name, ...): the value follows, or comes at once. */
void aml_name(struct aml *a, const char *name);
void aml_name_integer(struct aml *a, const char *name, uint64_t value);
void aml_name_string(struct aml *a, const char *name, const char *text);
void aml_name_eisa_id(struct aml *a, const char *name, const char *id);

/* Operators and variables of methods; operands follow. */
enum aml_op {
    AML_ARG0 = 0x68,
    AML_ARG1 = 0x69,
    AML_ARG2 = 0x6a,
    AML_ARG3 = 0x6b,
    AML_LOCAL0 = 0x60,
    AML_LOCAL1 = 0x61,
    AML_STORE = 0x70,
    AML_SHIFT_LEFT = 0x79,
    AML_AND = 0x7b,
    AML_OR = 0x7d,
    AML_NOTIFY = 0x86,
    AML_INDEX = 0x88,
    AML_CREATE_DWORD_FIELD = 0x8a,
    AML_LNOT = 0x92,
    AML_LEQUAL = 0x93,
    AML_RETURN = 0xa4,
};
void aml_op(struct aml *a, enum aml_op op);

/* A resource template (chapter 6.4): Name (_CRS, Buffer {...}). */
size_t aml_crs(struct aml *a);
void aml_crs_end(struct aml *a, size_t mark);
void aml_io(struct aml *a, uint16_t base, uint8_t len);
void aml_irq(struct aml *a, unsigned irq); /* edge, active high, not shared */
void aml_memory32_fixed(struct aml *a, uint32_t base, uint32_t len);

/* Windows that a bridge passes on: producer, fixed ends. last is the last address in it. */
enum aml_window {
    AML_WINDOW_MEMORY,
    AML_WINDOW_IO,
    AML_WINDOW_BUS,
};
void aml_window(struct aml *a, enum aml_window kind, unsigned address_bytes, uint64_t first,
                uint64_t last);

#endif
