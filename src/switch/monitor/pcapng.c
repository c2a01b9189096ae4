/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing pcapng; see pcapng.h. */
#include "switch/monitor/pcapng.h"

#include <string.h>

/* Types of blocks (section 4). */
#define SECTION 0x0a0d0d0aU
#define INTERFACE 1
#define STATISTICS 5
#define ENHANCED_PACKET 6

#define BYTE_ORDER_MAGIC 0x1a2b3c4dU
#define VERSION_MAJOR 1
#define VERSION_MINOR 0
#define LENGTH_UNKNOWN UINT64_MAX
#define LINKTYPE_ETHERNET 1

/* Options (3.5, 4.1, 4.2, 4.3, 4.6). */
enum {
    OPT_END = 0,
    OPT_COMMENT = 1,
    SHB_USERAPPL = 4,
    IF_NAME = 2,
    IF_TSRESOL = 9,
    EPB_FLAGS = 2,
    ISB_IFRECV = 4,
    ISB_IFDROP = 5,
};
#define NANOSECONDS 9 /* 10 to the -9th */
#define INBOUND 1

static void pad(struct wire *wire, size_t len)
{
    wire_zeroes(wire, ALIGN_UP(len, (size_t)4) - len);
}

/* Each block has its length in front and at its end. */
static size_t begin(struct wire *wire, uint32_t type)
{
    size_t start = wire->len;
    wire_put(wire, type, 4);
    wire_put(wire, 0, 4);
    return start;
}

static void end(struct wire *wire, size_t start)
{
    wire_put(wire, 0, 4);
    wire_patch(wire, start + 4, wire->len - start, 4);
    wire_patch(wire, wire->len - 4, wire->len - start, 4);
}

static void put_option(struct wire *wire, uint16_t code, const void *value, size_t len)
{
    wire_put(wire, code, 2);
    wire_put(wire, len, 2);
    wire_bytes(wire, value, len);
    pad(wire, len);
}

static void put_number(struct wire *wire, uint16_t code, uint64_t value, unsigned len)
{
    uint8_t bytes[8];
    store_be(bytes, value, len);
    put_option(wire, code, bytes, len);
}

static void put_text(struct wire *wire, uint16_t code, const char *text)
{
    put_option(wire, code, text, strlen(text));
}

static void end_options(struct wire *wire)
{
    put_option(wire, OPT_END, NULL, 0);
}

static void put_time(struct wire *wire, uint64_t when_ns)
{
    wire_put(wire, when_ns >> 32, 4);
    wire_put(wire, when_ns & UINT32_MAX, 4);
}

void pcapng_section(struct wire *wire, const char *program)
{
    size_t start = begin(wire, SECTION);
    wire_put(wire, BYTE_ORDER_MAGIC, 4);
    wire_put(wire, VERSION_MAJOR, 2);
    wire_put(wire, VERSION_MINOR, 2);
    wire_put(wire, LENGTH_UNKNOWN, 8);
    put_text(wire, SHB_USERAPPL, program);
    end_options(wire);
    end(wire, start);
}

void pcapng_interface(struct wire *wire, const char *name, uint32_t snap)
{
    size_t start = begin(wire, INTERFACE);
    wire_put(wire, LINKTYPE_ETHERNET, 2);
    wire_put(wire, 0, 2);
    wire_put(wire, snap, 4);
    put_text(wire, IF_NAME, name);
    put_number(wire, IF_TSRESOL, NANOSECONDS, 1);
    end_options(wire);
    end(wire, start);
}

void pcapng_frame(struct wire *wire, const struct pcapng_frame *frame)
{
    size_t start = begin(wire, ENHANCED_PACKET);
    wire_put(wire, frame->interface, 4);
    put_time(wire, frame->when_ns);
    wire_put(wire, frame->len, 4);
    wire_put(wire, frame->frame_len, 4);
    wire_bytes(wire, frame->bytes, frame->len);
    pad(wire, frame->len);
    put_number(wire, EPB_FLAGS, INBOUND, 4);
    put_text(wire, OPT_COMMENT, frame->comment);
    end_options(wire);
    end(wire, start);
}

void pcapng_statistics(struct wire *wire, uint32_t interface, uint64_t when_ns, uint64_t frames,
                       uint64_t missing)
{
    size_t start = begin(wire, STATISTICS);
    wire_put(wire, interface, 4);
    put_time(wire, when_ns);
    put_number(wire, ISB_IFRECV, frames, 8);
    put_number(wire, ISB_IFDROP, missing, 8);
    end_options(wire);
    end(wire, start);
}
