/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The AML encoder; see acpi_aml.h. Used by acpi_dsdt.c, and by acpi_tables.c for its buffer. */
#include "vmm/x86/acpi_aml.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define NAME_OP 0x08
#define BYTE_PREFIX 0x0a
#define WORD_PREFIX 0x0b
#define DWORD_PREFIX 0x0c
#define STRING_PREFIX 0x0d
#define QWORD_PREFIX 0x0e
#define SCOPE_OP 0x10
#define BUFFER_OP 0x11
#define PACKAGE_OP 0x12
#define METHOD_OP 0x14
#define DUAL_NAME_PREFIX 0x2e
#define MULTI_NAME_PREFIX 0x2f
#define EXT_OP_PREFIX 0x5b
/* Behind EXT_OP_PREFIX: */
#define REGION_OP 0x80
#define FIELD_OP 0x81
#define DEVICE_OP 0x82
#define IF_OP 0xa0
#define ELSE_OP 0xa1

static bool reserve(struct aml *a, size_t more)
{
    if (a->failed)
        return false;
    if (a->capacity - a->len >= more)
        return true;
    size_t capacity = MAX(a->capacity * 2, ALIGN_UP(a->len + more, 4096));
    uint8_t *data = realloc(a->data, capacity);
    if (!data) {
        a->failed = true;
        return false;
    }
    a->data = data;
    a->capacity = capacity;
    return true;
}

void aml_bytes(struct aml *a, const void *bytes, size_t len)
{
    if (!len || !reserve(a, len))
        return;
    memcpy(a->data + a->len, bytes, len);
    a->len += len;
}

void aml_number(struct aml *a, uint64_t value, unsigned bytes)
{
    aml_bytes(a, &value, bytes); /* the host is little-endian as AML is */
}

static void byte(struct aml *a, unsigned value)
{
    aml_number(a, value, 1);
}

void aml_op(struct aml *a, enum aml_op op)
{
    byte(a, op);
}

void aml_integer(struct aml *a, uint64_t value)
{
    if (value <= 1) {
        byte(a, (unsigned)value); /* ZeroOp, OneOp */
    } else if (value <= UINT8_MAX) {
        byte(a, BYTE_PREFIX);
        aml_number(a, value, 1);
    } else if (value <= UINT16_MAX) {
        byte(a, WORD_PREFIX);
        aml_number(a, value, 2);
    } else if (value <= UINT32_MAX) {
        byte(a, DWORD_PREFIX);
        aml_number(a, value, 4);
    } else {
        byte(a, QWORD_PREFIX);
        aml_number(a, value, 8);
    }
}

size_t aml_dword(struct aml *a, uint32_t value)
{
    byte(a, DWORD_PREFIX);
    aml_number(a, value, 4);
    return a->len - 4;
}

void aml_string(struct aml *a, const char *text)
{
    byte(a, STRING_PREFIX);
    aml_bytes(a, text, strlen(text) + 1);
}

/* Chapter 19.3.4: three letters of five bits, four hexadecimal digits, most significant first. */
void aml_eisa_id(struct aml *a, const char *id)
{
    uint32_t letters = 0;
    for (unsigned i = 0; i < 3; i++)
        letters = letters << 5 | (uint32_t)(id[i] - 'A' + 1);
    uint32_t value = letters << 16 | (uint32_t)strtoul(id + 3, NULL, 16);
    byte(a, DWORD_PREFIX);
    aml_number(a, __builtin_bswap32(value), 4);
}

void aml_path(struct aml *a, const char *path)
{
    if (*path == '\\')
        byte(a, (unsigned char)*path++);
    size_t segments = (strlen(path) + 1) / 5; /* four characters each, dots between */
    if (segments == 2) {
        byte(a, DUAL_NAME_PREFIX);
    } else if (segments > 2) {
        byte(a, MULTI_NAME_PREFIX);
        byte(a, (unsigned)segments);
    }
    for (size_t i = 0; i < segments; i++)
        aml_bytes(a, path + i * 5, 4);
}

size_t aml_scope(struct aml *a, const char *path)
{
    byte(a, SCOPE_OP);
    size_t mark = a->len;
    aml_path(a, path);
    return mark;
}

size_t aml_device(struct aml *a, const char *name)
{
    byte(a, EXT_OP_PREFIX);
    byte(a, DEVICE_OP);
    size_t mark = a->len;
    aml_path(a, name);
    return mark;
}

size_t aml_method(struct aml *a, const char *name, unsigned flags)
{
    byte(a, METHOD_OP);
    size_t mark = a->len;
    aml_path(a, name);
    byte(a, flags);
    return mark;
}

size_t aml_package(struct aml *a, unsigned elements)
{
    byte(a, PACKAGE_OP);
    size_t mark = a->len;
    byte(a, elements);
    return mark;
}

size_t aml_if(struct aml *a)
{
    byte(a, IF_OP);
    return a->len;
}

size_t aml_else(struct aml *a)
{
    byte(a, ELSE_OP);
    return a->len;
}

void aml_region(struct aml *a, const char *name, enum aml_space space, uint32_t base, uint32_t len)
{
    byte(a, EXT_OP_PREFIX);
    byte(a, REGION_OP);
    aml_path(a, name);
    byte(a, space);
    aml_integer(a, base);
    aml_integer(a, len);
}

size_t aml_field(struct aml *a, const char *region, enum aml_access access)
{
    byte(a, EXT_OP_PREFIX);
    byte(a, FIELD_OP);
    size_t mark = a->len;
    aml_path(a, region);
    byte(a, access); /* NoLock, Preserve */
    return mark;
}

void aml_register(struct aml *a, const char *name, unsigned bits)
{
    aml_path(a, name);
    byte(a, bits); /* as a package length */
}

size_t aml_buffer(struct aml *a)
{
    byte(a, BUFFER_OP);
    size_t mark = a->len;
    byte(a, WORD_PREFIX);
    aml_number(a, 0, 2); /* the size; aml_buffer_end() knows it */
    return mark;
}

void aml_buffer_end(struct aml *a, size_t mark)
{
    if (a->failed)
        return;
    store_le(a->data + mark + 1, a->len - mark - 3, 2);
    aml_end(a, mark);
}

/* Chapter 20.2.4: the package length, which counts itself, goes in front of what it measures. */
void aml_end(struct aml *a, size_t mark)
{
    uint8_t length[4];
    size_t body = a->len - mark;
    unsigned bytes = body + 1 < 0x40 ? 1 : body + 2 < 0x1000 ? 2 : body + 3 < 0x100000 ? 3 : 4;
    size_t total = body + bytes;

    if (bytes == 1) {
        length[0] = (uint8_t)total;
    } else {
        length[0] = (uint8_t)((bytes - 1) << 6 | (total & 0xf));
        for (unsigned i = 1; i < bytes; i++)
            length[i] = (uint8_t)(total >> (4 + 8 * (i - 1)));
    }
    if (!reserve(a, bytes))
        return;
    memmove(a->data + mark + bytes, a->data + mark, body);
    memcpy(a->data + mark, length, bytes);
    a->len += bytes;
}

void aml_name(struct aml *a, const char *name)
{
    byte(a, NAME_OP);
    aml_path(a, name);
}

void aml_name_integer(struct aml *a, const char *name, uint64_t value)
{
    aml_name(a, name);
    aml_integer(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *text)
{
    aml_name(a, name);
    aml_string(a, text);
}

void aml_name_eisa_id(struct aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    aml_eisa_id(a, id);
}

size_t aml_crs(struct aml *a)
{
    aml_name(a, "_CRS");
    return aml_buffer(a);
}

void aml_crs_end(struct aml *a, size_t mark)
{
    byte(a, 0x79); /* end tag; a checksum of zero counts as right */
    byte(a, 0);
    aml_buffer_end(a, mark);
}

void aml_io(struct aml *a, uint16_t base, uint8_t len)
{
    byte(a, 0x47);
    byte(a, 1); /* all 16 address bits are decoded */
    aml_number(a, base, 2);
    aml_number(a, base, 2);
    byte(a, 1);
    byte(a, len);
}

void aml_irq(struct aml *a, unsigned irq)
{
    byte(a, 0x22);
    aml_number(a, BIT(irq), 2);
}

void aml_memory32_fixed(struct aml *a, uint32_t base, uint32_t len)
{
    byte(a, 0x86);
    aml_number(a, 9, 2);
    byte(a, 1); /* writable */
    aml_number(a, base, 4);
    aml_number(a, len, 4);
}

void aml_window(struct aml *a, enum aml_window kind, unsigned address_bytes, uint64_t first,
                uint64_t last)
{
    static const uint8_t type_flags[] = {
        [AML_WINDOW_MEMORY] = 0x01, /* not cacheable, writable */
        [AML_WINDOW_IO] = 0x03,     /* the whole range */
        [AML_WINDOW_BUS] = 0x00,
    };
    byte(a, address_bytes == 2 ? 0x88 : address_bytes == 4 ? 0x87 : 0x8a);
    aml_number(a, 3 + 5 * address_bytes, 2);
    byte(a, kind);
    byte(a, 0x0c); /* both ends fixed, decoded positively, handed on */
    byte(a, type_flags[kind]);
    aml_number(a, 0, address_bytes); /* granularity */
    aml_number(a, first, address_bytes);
    aml_number(a, last, address_bytes);
    aml_number(a, 0, address_bytes); /* no translation */
    aml_number(a, last - first + 1, address_bytes);
}
