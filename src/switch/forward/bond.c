/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames over several links; see bond.h. */
#include "switch/forward/bond.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "base/util.h"
#include "switch/forward/admit.h"
#include "switch/forward/bridge.h"
#include "switch/forward/offload.h"
#include "switch/forward/screen.h"

#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define TYPE_ARP 0x0806
#define TYPE_RARP 0x8035
#define LOOKED_AT 64      /* bytes of a frame that say which connection it is of */
#define ANNOUNCED_MAX 512 /* stations */

/* --- Over which member --------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Where the addresses and ports of IP lie; the fragments of a packet have to go one way. */
static uint64_t mix_packet(uint64_t hash, const uint8_t *bytes, size_t len, size_t l3,
                           unsigned type)
{
    const uint8_t *ip = bytes + l3;
    size_t ports;
    uint8_t protocol;
    if (type == TYPE_IPV4 && len >= l3 + 20) {
        bool fragment = load_be(ip + 6, 2) & 0x3fff;
        hash = mix(hash, ip + 12, 8);
        protocol = fragment ? 0 : ip[9];
        ports = l3 + (ip[0] & 15) * 4U;
    } else if (type == TYPE_IPV6 && len >= l3 + 40) {
        hash = mix(hash, ip + 8, 32);
        protocol = ip[6];
        ports = l3 + 40;
    } else {
        return hash;
    }
    hash = mix(hash, &protocol, 1);
    bool has_ports = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
    return has_ports && len >= ports + 4 ? mix(hash, bytes + ports, 4) : hash;
}

static uint64_t hash_of(const struct bond *bond, const struct frame *frame)
{
    const uint8_t vlan[2] = {(uint8_t)(frame->vlan >> 8), (uint8_t)frame->vlan};
    uint8_t bytes[LOOKED_AT];
    uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), vlan, sizeof(vlan));
    hash = mix(hash, frame->head + 6, 6);
    if (bond->mode == BOND_BALANCE_TCP) {
        size_t len = frame_read(frame, bytes, sizeof(bytes));
        size_t l3 = frame->tagged ? 18 : 14;
        hash = mix(hash, frame->head, 6);
        hash = mix_packet(hash, bytes, len, l3, (unsigned)load_be(bytes + l3 - 2, 2));
    }
    return hash ^ hash >> 32 ^ hash >> 16 ^ hash >> 8;
}

static struct port *choose(const struct bond *bond, const struct frame *frame)
{
    if (bond->mode == BOND_ACTIVE_BACKUP)
        return bond->active;
    return bond->buckets[hash_of(bond, frame) % BOND_BUCKETS];
}

/* --- Sending -------------------------------------------------------------------- */

static void flush(struct port *member, const struct frame *frames)
{
    if (member->config & (PORT_NO_FORWARD | PORT_DISABLED))
        member->counters.drops[DROP_DISABLED] += member->pending_count;
    else
        offload_send(member, frames);
    member->pending_count = 0;
}

static void bond_send(struct port *port, const struct frame *frames)
{
    struct bond *bond = bond_of(port);
    struct port *touched[BOND_MEMBERS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        struct port *member = choose(bond, frame);
        if (!member) {
            port_drop(port, DROP_DOWN);
            continue;
        }
        if (member->pending_count == 0)
            touched[count++] = member;
        member->pending[member->pending_count++] = port->pending[i];
        port->counters.out_frames++;
        port->counters.out_bytes += FRAME_HEAD + frame->rest_bytes;
    }
    for (unsigned i = 0; i < count; i++)
        flush(touched[i], frames);
}

/* --- Receiving ------------------------------------------------------------------ */

static bool is_gratuitous_arp(const struct frame *frame)
{
    uint8_t bytes[18 + 28];
    size_t l3 = frame->tagged ? 18 : 14;
    return frame_read(frame, bytes, sizeof(bytes)) >= l3 + 28 &&
           load_be(bytes + l3 - 2, 2) == TYPE_ARP &&
           memcmp(bytes + l3 + 14, bytes + l3 + 24, 4) == 0;
}

/* A neighbour that knows nothing of the bond sends what it floods over all links, and sends back
 * what we sent: each frame is to come in once, and none of the bridge's own stations'. */
static bool is_ours_to_take(const struct bond *bond, const struct port *member, struct frame *frame)
{
    if (bond->aggregated || bond->mode == BOND_ACTIVE_BACKUP)
        return bond->aggregated || member == bond->active;
    if (mac_is_group(frame->head) && member != bond->active)
        return false;
    if (!admit_frame(&bond->port.vlans, frame))
        return true; /* is dropped for it, and counted */
    const struct mac_entry *entry =
        mac_table_entry(&bond->port.bridge->macs, mac_key(frame->head + 6, frame->vlan));
    return !entry || entry->port == bond->port.index || is_gratuitous_arp(frame);
}

void bond_receive(struct bond *bond, struct port *member, struct frame *frames, unsigned count)
{
    unsigned left = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!is_ours_to_take(bond, member, &frames[i])) {
            port_drop(member, DROP_BLOCKED);
            continue;
        }
        if (left != i)
            frame_copy(&frames[left], &frames[i]);
        left++;
    }
    if (left)
        bridge_receive(&bond->port, frames, left);
}

/* --- What the control thread decided --------------------------------------------- */

void bond_publish(struct bond *bond, struct port *const *used, unsigned count, struct port *active)
{
    bond->active = active;
    bond->port.up = count != 0;
    for (unsigned i = 0; i < BOND_BUCKETS; i++)
        bond->buckets[i] = count ? used[i % count] : NULL;
}

/* RARP, as an address moves: RFC 903; nobody answers it. */
static void announce(struct bond *bond, const struct mac_entry *entry)
{
    static const uint8_t request[] = {0, 1, 8, 0, 6, 4, 0, 3};
    const uint8_t *mac = (const uint8_t *)&entry->key;
    uint8_t bytes[60] = {0};
    struct frame frame = {.vlan = (uint16_t)(entry->key >> 48 & VLAN_ID_MASK)};
    if (!port_carries(&bond->port.vlans, frame.vlan))
        return;
    memset(bytes, 0xff, 6);
    memcpy(bytes + 6, mac, 6);
    store_be(bytes + 12, TYPE_RARP, 2);
    memcpy(bytes + 14, request, sizeof(request));
    memcpy(bytes + 22, mac, 6);
    memcpy(bytes + 32, mac, 6);
    frame_set_bytes(&frame, bytes, sizeof(bytes));
    bond->port.pending[0] = 0;
    bond->port.pending_count = 1;
    bond_send(&bond->port, &frame);
    bond->port.pending_count = 0;
}

void bond_announce(struct bond *bond)
{
    const struct mac_table *macs = &bond->port.bridge->macs;
    unsigned count = 0;
    for (uint64_t i = 0; i < (macs->mask + 1) * MAC_BUCKET_SLOTS && count < ANNOUNCED_MAX; i++) {
        const struct mac_entry *entry =
            &macs->buckets[i / MAC_BUCKET_SLOTS].slots[i % MAC_BUCKET_SLOTS];
        if (!entry->key || entry->port == bond->port.index)
            continue;
        announce(bond, entry);
        count++;
    }
}

/* --- As a port -------------------------------------------------------------------- */

static bool bond_poll(struct port *port)
{
    return false;
}

static enum port_sleep bond_sleep(struct port *port)
{
    return PORT_ASLEEP;
}

static void bond_wake(struct port *port)
{
}

static const struct port_ops bond_ops = {
    .poll = bond_poll,
    .send = bond_send,
    .sleep = bond_sleep,
    .wake = bond_wake,
};

struct bond *bond_new(enum bond_mode mode)
{
    struct bond *bond = calloc(1, sizeof(*bond));
    if (!bond)
        return NULL;
    bond->mode = mode;
    bond->port.ops = &bond_ops;
    /* Whatever members leave undone comes in, and they do themselves what they cannot take. */
    bond->port.leaves = bond->port.takes = 0xff;
    return bond;
}
