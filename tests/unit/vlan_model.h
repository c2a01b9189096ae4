/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bridges do with frames, said a second time for tests: plain lists instead of tables, one
 * frame after the other instead of bursts, from IEEE 802.1Q (6.9, 8.6 to 8.8) and docs/switch.md
 * and from none of the switch's code.
 */
#ifndef KV_TESTS_VLAN_MODEL_H
#define KV_TESTS_VLAN_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_PORTS 24     /* of all bridges */
#define MODEL_STATIONS 512 /* that a bridge knows */
#define MODEL_FRAME_MAX 160

#define MODEL_VLANS 7 /* the first is 0: none */
extern const unsigned model_vlans[MODEL_VLANS];

#define MODEL_ISOLATED 1 /* community */

enum model_mode {
    MODEL_ACCESS,        /* tag */
    MODEL_TRUNK,         /* of some VLANs, or all */
    MODEL_NATIVE,        /* such a trunk with a VLAN that goes untagged: tag */
    MODEL_NATIVE_TAGGED, /* one whose untagged frames are of that VLAN, and that goes tagged */
    MODEL_TUNNEL,        /* of a customer's frames, with their tags, in a VLAN: tag */
    MODEL_MODES,
};

/* What an ACL lets in and out. */
enum model_acl {
    MODEL_ALL,
    MODEL_NONE,
    MODEL_ARP_ONLY,
    MODEL_NO_IPV6,
    MODEL_ACLS,
};

struct model_port {
    unsigned bridge;
    enum model_mode mode;
    unsigned tag;
    bool all;                /* a trunk, or a tunnel, of all VLANs */
    bool trunk[MODEL_VLANS]; /* else of these: indexes of model_vlans */
    bool service;            /* a tunnel's outer tag is 802.1ad's */
    unsigned community;      /* 0: everybody's */
    bool no_flood;
    enum model_acl acl;
    unsigned limit;         /* stations */
    int mirror;             /* port that gets copies, or -1 */
    bool copy_in, copy_out; /* of what */
};

struct model_station {
    uint8_t mac[6];
    unsigned vlan, bridge;
    unsigned port;
};

struct model {
    unsigned port_count;
    struct model_port ports[MODEL_PORTS];
    unsigned station_count;
    struct model_station stations[MODEL_STATIONS];
};

struct model_frame {
    unsigned len;
    uint8_t bytes[MODEL_FRAME_MAX];
};

/* Calls arrives(opaque, port, frame) for each port that the frame goes out at. */
void model_receive(struct model *model, unsigned from, const struct model_frame *frame,
                   void (*arrives)(void *opaque, unsigned port, const struct model_frame *frame),
                   void *opaque);
/* The port is another one now. */
void model_forget_port(struct model *model, unsigned port);

#endif
