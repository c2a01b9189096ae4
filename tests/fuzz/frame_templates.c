/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See frame_templates.h. */
#include "frame_templates.h"

#include <netinet/in.h>

#define DHCP_SERVER 67
#define DHCP_CLIENT 68
#define TCP_SYN 2
#define TCP_ACK 16

struct packet frame_templates[FRAME_TEMPLATES];

static void make_neighbour(struct packet *p, uint8_t type)
{
    /* The target is station 1, and so is the option with its hardware address. */
    const uint8_t message[32] = {type, [8] = 0xfd, [23] = 1, [24] = 2, [25] = 1, 2, [31] = 1};
    packet_ipv6(p, 2, 1, IPPROTO_ICMPV6);
    packet_add(p, message, sizeof(message));
}

void frame_templates_make(void)
{
    struct packet *t = frame_templates;
    packet_ipv4(&t[0], 2, 1, IPPROTO_TCP);
    packet_tcp(&t[0], 80, 4000, TCP_SYN);
    packet_ipv4(&t[1], 2, 1, IPPROTO_UDP);
    packet_udp(&t[1], 53, 4000, 20);
    packet_ipv6(&t[2], 2, 1, IPPROTO_TCP);
    packet_tcp(&t[2], 80, 4000, TCP_ACK);
    packet_ipv6(&t[3], 2, 1, IPPROTO_HOPOPTS);
    packet_add(&t[3], (uint8_t[8]){IPPROTO_FRAGMENT}, 8);
    packet_add(&t[3], (uint8_t[8]){IPPROTO_UDP, 0, 0, 1, 0, 0, 0, 7}, 8);
    packet_udp(&t[3], 53, 4000, 20);
    packet_arp(&t[4], 1, 2, 1);
    make_neighbour(&t[5], 136);
    packet_ipv4(&t[6], 2, 1, IPPROTO_ICMP);
    packet_echo(&t[6], 8, 7);
    packet_ipv4(&t[7], 1, 9, IPPROTO_ICMP);
    packet_error(&t[7], 3, 3, &t[1]);
    packet_ethernet(&t[8], 2, 1, 10, FLOW_TYPE_IPV4);
    packet_add(&t[8], t[1].bytes + t[1].l3, t[1].len - t[1].l3);
    packet_ipv6(&t[9], 1, 9, IPPROTO_ICMPV6);
    packet_error(&t[9], 1, 4, &t[2]);
    make_neighbour(&t[10], 134);
    packet_ipv4(&t[11], 2, 1, IPPROTO_UDP);
    packet_udp(&t[11], DHCP_CLIENT, DHCP_SERVER, 60);
    packet_ipv4(&t[12], 2, 1, IPPROTO_TCP);
    packet_tcp(&t[12], 80, 4000, TCP_ACK);
    packet_add(&t[12], t[0].bytes, 60); /* payload of segments */
}
