/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tunnels are told; see tunnel_options.h. */
#include "switch/control/tunnel_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/ports/tunnel_socket.h"

/* RFC 7348, RFC 8926 */
static const uint16_t usual_ports[TUNNEL_KINDS] = {
    [TUNNEL_VXLAN] = 4789,
    [TUNNEL_GENEVE] = 6081,
};

static const char inherit[] = "inherit";

/* --- Reading ---------------------------------------------------------------------- */

/* Of one station, which needs no interface to be told. Fills in the family. */
static bool read_address(const char *text, struct tunnel_address *address, int *family)
{
    struct in6_addr ipv6;
    struct in_addr ipv4;
    *address = (struct tunnel_address){{0}};
    if (inet_pton(AF_INET, text, &ipv4) == 1) {
        uint32_t number = ntohl(ipv4.s_addr);
        memcpy(address->bytes, &ipv4, sizeof(ipv4));
        *family = AF_INET;
        return number != INADDR_ANY && number != INADDR_BROADCAST && !IN_MULTICAST(number);
    }
    if (inet_pton(AF_INET6, text, &ipv6) != 1)
        return false;
    memcpy(address->bytes, &ipv6, sizeof(ipv6));
    *family = AF_INET6;
    return !IN6_IS_ADDR_UNSPECIFIED(&ipv6) && !IN6_IS_ADDR_MULTICAST(&ipv6) &&
           !IN6_IS_ADDR_LINKLOCAL(&ipv6) && !IN6_IS_ADDR_V4MAPPED(&ipv6);
}

static int refuse_address(const char *name, const char *text, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                        "%s '%.100s': the IPv4 or IPv6 address of one station is accepted, none of "
                        "a link",
                        name, text);
}

/* A number up to max whose bits in lost are 0, or "inherit". */
static int read_number(const char *name, const char *text, uint64_t max, unsigned lost,
                       uint8_t *number, bool *of_frame, struct kv_error *err)
{
    uint64_t value = 0;
    *of_frame = text && strcmp(text, inherit) == 0;
    if (text && !*of_frame && (parse_u64(text, &value) < 0 || value > max || value & lost))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "%s '%.100s': a number up to %u%s, or 'inherit', is accepted", name,
                            text, (unsigned)max, lost ? " that 4 divides" : "");
    *number = (uint8_t)value;
    return 0;
}

int tunnel_options_read(enum tunnel_kind kind, const struct port_options *options,
                        struct tunnel_settings *settings, struct kv_error *err)
{
    int local_family = 0;
    *settings = (struct tunnel_settings){
        .kind = kind,
        .vni = (uint32_t)options->key,
        .dst_port = options->dst_port ? (uint16_t)options->dst_port : usual_ports[kind],
        .may_be_cut = !options->df_default,
        .without_checksum = !options->csum,
    };
    if (!read_address(options->remote_ip, &settings->remote, &settings->family))
        return refuse_address("remote-ip", options->remote_ip, err);
    if (options->local_ip && !read_address(options->local_ip, &settings->local, &local_family))
        return refuse_address("local-ip", options->local_ip, err);
    if (local_family && local_family != settings->family)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "local-ip '%.100s' and remote-ip '%.100s' are of different versions",
                            options->local_ip, options->remote_ip);
    /* The two bits of congestion (RFC 3168) are none of ours to set. */
    int rc = read_number("tos", options->tos, 255, 3, &settings->tos, &settings->tos_of_frame, err);
    if (rc == 0)
        rc = read_number("ttl", options->ttl, 255, 0, &settings->ttl, &settings->ttl_of_frame, err);
    return rc;
}

/* --- Telling ---------------------------------------------------------------------- */

static void add_address(json_t *row, const char *name, int family,
                        const struct tunnel_address *address)
{
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(family, address->bytes, text, sizeof(text)))
        json_object_set_new(row, name, json_string(text));
}

static void add_number(json_t *row, const char *name, unsigned number, bool of_frame)
{
    if (of_frame)
        json_object_set_new(row, name, json_string(inherit));
    else if (number)
        json_object_set_new(row, name, json_integer(number));
}

struct view {
    const struct tunnel_socket *socket;
    uint64_t malformed, unknown;
};

static void look_here(void *opaque)
{
    struct view *view = opaque;
    view->malformed = view->socket->malformed;
    view->unknown = view->socket->unknown;
}

void tunnel_options_describe(struct port *port, json_t *row)
{
    static const struct tunnel_address any = {{0}};
    const struct tunnel_port *tunnel = container_of(port, struct tunnel_port, port);
    const struct tunnel_settings *s = &tunnel->settings;
    struct view view = {.socket = tunnel->socket};
    forward_run(port->forward, look_here, &view);
    add_address(row, "remote-ip", s->family, &s->remote);
    if (memcmp(&s->local, &any, sizeof(any)) != 0)
        add_address(row, "local-ip", s->family, &s->local);
    json_object_set_new(row, "key", json_integer(s->vni));
    json_object_set_new(row, "dst-port", json_integer(s->dst_port));
    add_number(row, "tos", s->tos, s->tos_of_frame);
    add_number(row, "ttl", s->ttl, s->ttl_of_frame);
    json_object_set_new(row, "df-default", json_boolean(!s->may_be_cut));
    json_object_set_new(row, "csum", json_boolean(!s->without_checksum));
    add_number(row, "mtu", tunnel_port_mtu(tunnel), false);
    json_object_set_new(row, "socket-malformed", json_integer((json_int_t)view.malformed));
    json_object_set_new(row, "socket-unknown", json_integer((json_int_t)view.unknown));
}
