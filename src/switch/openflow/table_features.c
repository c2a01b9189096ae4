/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the table can do, which 1.3 asks for before anything else (1.3.5, 7.3.5.5). */
#include "switch/openflow/session.h"

#define TABLE_NAME_LEN 32
#define OFPIT_APPLY_ACTIONS 4

/* Properties. */
enum {
    INSTRUCTIONS = 0,
    NEXT_TABLES = 2,
    WRITE_ACTIONS = 4,
    APPLY_ACTIONS = 6,
    MATCH = 8,
    WILDCARDS = 10,
    WRITE_SETFIELD = 12,
    APPLY_SETFIELD = 14,
};

static size_t begin(struct wire *wire, unsigned property)
{
    size_t start = wire->len;
    wire_put(wire, property, 2);
    wire_put(wire, 0, 2);
    return start;
}

static void end(struct wire *wire, size_t start)
{
    size_t len = wire->len - start;
    wire_patch(wire, start + 2, len, 2);
    wire_zeroes(wire, ALIGN_UP(len, (size_t)8) - len);
}

/* A property that is a list of types, each with a length of 4. */
static void put_types(struct wire *wire, unsigned property, const uint16_t *types, unsigned count)
{
    size_t start = begin(wire, property);
    for (unsigned i = 0; i < count; i++) {
        wire_put(wire, types[i], 2);
        wire_put(wire, 4, 2);
    }
    end(wire, start);
}

static void put_fields(struct wire *wire, unsigned property, bool settable)
{
    size_t start = begin(wire, property);
    ofp13_put_field_headers(wire, settable);
    end(wire, start);
}

enum ofp_error put_table_features(struct wire *wire, size_t request)
{
    static const uint16_t instructions[] = {OFPIT_APPLY_ACTIONS};
    size_t start = wire->len;
    /* A request that has a body is to change the tables. */
    if (request)
        return OFP_NOT_PERMITTED;
    wire_put(wire, 0, 2);
    wire_put(wire, 0, 1); /* table */
    wire_zeroes(wire, 5);
    wire_bytes(wire, "flows", 5);
    wire_zeroes(wire, TABLE_NAME_LEN - 5);
    wire_zeroes(wire, 16); /* no metadata */
    wire_put(wire, 0, 4);
    wire_put(wire, FLOWS_MAX, 4);
    put_types(wire, INSTRUCTIONS, instructions, ARRAY_SIZE(instructions));
    end(wire, begin(wire, NEXT_TABLES));
    end(wire, begin(wire, WRITE_ACTIONS));
    put_types(wire, APPLY_ACTIONS, ofp13_action_types, OFP13_ACTION_TYPES);
    put_fields(wire, MATCH, false);
    put_fields(wire, WILDCARDS, false);
    end(wire, begin(wire, WRITE_SETFIELD));
    put_fields(wire, APPLY_SETFIELD, true);
    wire_patch(wire, start, wire->len - start, 2);
    return OFP_OK;
}
