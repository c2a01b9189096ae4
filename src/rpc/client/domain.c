/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains: handles, lists, lookups, life, what they are and have. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "rpc/client/internal.h"

struct kvasir_domain {
    unsigned refs;
    struct kvasir_conn *conn;
    wire_domain wire;
};

/* ------------------------------------------------------------------------ handles */

struct kvasir_domain *domain_take(struct kvasir_conn *conn, wire_domain *wire,
                                  struct kvasir_error *err)
{
    struct kvasir_domain *domain = calloc(1, sizeof(*domain));
    if (domain) {
        *domain = (struct kvasir_domain){1, conn_ref(conn), *wire};
    } else {
        free(wire->name);
        error_no_memory(err);
    }
    *wire = (wire_domain){.name = NULL};
    return domain;
}

struct kvasir_domain *kvasir_domain_from_wire(struct kvasir_conn *conn, const wire_domain *wire,
                                              struct kvasir_error *err)
{
    wire_domain copy = *wire;
    copy.name = strdup(wire->name);
    if (copy.name)
        return domain_take(conn, &copy, err);
    error_no_memory(err);
    return NULL;
}

struct kvasir_domain *kvasir_domain_ref(struct kvasir_domain *domain)
{
    domain->refs++;
    return domain;
}

void kvasir_domain_free(struct kvasir_domain *domain)
{
    if (!domain || --domain->refs)
        return;
    conn_unref(domain->conn);
    free(domain->wire.name);
    free(domain);
}

void kvasir_domains_free(struct kvasir_domain **domains)
{
    for (size_t i = 0; domains && domains[i]; i++)
        kvasir_domain_free(domains[i]);
    free(domains);
}

struct kvasir_conn *kvasir_domain_conn(const struct kvasir_domain *domain)
{
    return domain->conn;
}

const char *kvasir_domain_name(const struct kvasir_domain *domain)
{
    return domain->wire.name;
}

const uint8_t *kvasir_domain_uuid(const struct kvasir_domain *domain)
{
    return (const uint8_t *)domain->wire.uuid;
}

int kvasir_domain_id(const struct kvasir_domain *domain)
{
    return domain->wire.id;
}

const wire_domain *kvasir_domain_wire(const struct kvasir_domain *domain)
{
    return &domain->wire;
}

/* -------------------------------------------------------------- lists and lookups */

static void free_wires(wire_domain *wires, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(wires[i].name);
    free(wires);
}

int kvasir_domain_list(struct kvasir_conn *conn, unsigned flags, struct kvasir_domain ***out,
                       size_t *n, struct kvasir_error *err)
{
    const wire_want_list_flags args = {1, flags};
    wire_connect_list_all_domains_out ret = {0};
    int r = kvasir_call_CONNECT_LIST_ALL_DOMAINS(conn, &args, &ret, err);
    if (r < 0)
        return r;
    struct kvasir_domain **list = calloc((size_t)ret.domains.domains_len + 1, sizeof(*list));
    if (!list)
        r = error_no_memory(err);
    for (unsigned i = 0; r == 0 && i < ret.domains.domains_len; i++) {
        list[i] = domain_take(conn, &ret.domains.domains_val[i], err);
        r = list[i] ? 0 : -ENOMEM;
    }
    free_wires(ret.domains.domains_val, ret.domains.domains_len);
    if (r < 0) {
        kvasir_domains_free(list);
        return r;
    }
    *out = list;
    *n = ret.domains.domains_len;
    return 0;
}

/* Calls what gives a domain. */
static int get_domain(struct kvasir_conn *conn, struct parts *parts, int procedure,
                      struct kvasir_domain **out, struct kvasir_error *err)
{
    wire_domain wire = {.name = NULL};
    int r = parts_call(conn, parts, procedure, (xdrproc_t)xdr_wire_domain, &wire, err);
    if (r < 0)
        return r;
    struct kvasir_domain *domain = domain_take(conn, &wire, err);
    if (!domain)
        return -ENOMEM;
    if (out)
        *out = domain;
    else
        kvasir_domain_free(domain);
    return 0;
}

int kvasir_domain_lookup_by_name(struct kvasir_conn *conn, const char *name,
                                 struct kvasir_domain **out, struct kvasir_error *err)
{
    struct parts parts = PARTS_INIT;
    parts_put_text(&parts, name);
    return get_domain(conn, &parts, REMOTE_PROC_DOMAIN_LOOKUP_BY_NAME, out, err);
}

int kvasir_domain_lookup_by_uuid(struct kvasir_conn *conn, const uint8_t uuid[16],
                                 struct kvasir_domain **out, struct kvasir_error *err)
{
    struct parts parts = PARTS_INIT;
    parts_put(&parts, (xdrproc_t)xdr_wire_uuid, uuid);
    return get_domain(conn, &parts, REMOTE_PROC_DOMAIN_LOOKUP_BY_UUID, out, err);
}

int kvasir_domain_lookup_by_id(struct kvasir_conn *conn, int id, struct kvasir_domain **out,
                               struct kvasir_error *err)
{
    struct parts parts = PARTS_INIT;
    parts_put_u32(&parts, (uint32_t)id);
    return get_domain(conn, &parts, REMOTE_PROC_DOMAIN_LOOKUP_BY_ID, out, err);
}

/* --------------------------------------------------------------------------- life */

int kvasir_domain_define(struct kvasir_conn *conn, const char *xml, unsigned flags,
                         struct kvasir_domain **out, struct kvasir_error *err)
{
    struct parts parts = PARTS_INIT;
    parts_put_text(&parts, xml);
    parts_put_u32(&parts, flags);
    return get_domain(conn, &parts, REMOTE_PROC_DOMAIN_DEFINE_XML_FLAGS, out, err);
}

int kvasir_domain_create_xml(struct kvasir_conn *conn, const char *xml, unsigned flags,
                             struct kvasir_domain **out, struct kvasir_error *err)
{
    struct parts parts = PARTS_INIT;
    parts_put_text(&parts, xml);
    parts_put_u32(&parts, flags);
    return get_domain(conn, &parts, REMOTE_PROC_DOMAIN_CREATE_XML, out, err);
}

static struct parts parts_of(const struct kvasir_domain *domain)
{
    struct parts parts = PARTS_INIT;
    parts_put(&parts, (xdrproc_t)xdr_wire_domain, &domain->wire);
    return parts;
}

/* Procedures that take a domain, or a domain and flags, and give nothing. */
static int plain_call(struct kvasir_domain *domain, int procedure, struct kvasir_error *err)
{
    struct parts parts = parts_of(domain);
    return parts_call(domain->conn, &parts, procedure, NULL, NULL, err);
}

static int flags_call(struct kvasir_domain *domain, unsigned flags, int procedure,
                      struct kvasir_error *err)
{
    struct parts parts = parts_of(domain);
    parts_put_u32(&parts, flags);
    return parts_call(domain->conn, &parts, procedure, NULL, NULL, err);
}

int kvasir_domain_undefine(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err)
{
    return flags_call(domain, flags, REMOTE_PROC_DOMAIN_UNDEFINE_FLAGS, err);
}

int kvasir_domain_start(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err)
{
    wire_domain started = {.name = NULL};
    struct parts parts = parts_of(domain);
    parts_put_u32(&parts, flags);
    int r = parts_call(domain->conn, &parts, REMOTE_PROC_DOMAIN_CREATE_WITH_FLAGS,
                       (xdrproc_t)xdr_wire_domain, &started, err);
    if (r == 0)
        domain->wire.id = started.id;
    free(started.name);
    return r;
}

int kvasir_domain_shutdown(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err)
{
    return flags_call(domain, flags, REMOTE_PROC_DOMAIN_SHUTDOWN_FLAGS, err);
}

int kvasir_domain_reboot(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err)
{
    return flags_call(domain, flags, REMOTE_PROC_DOMAIN_REBOOT, err);
}

int kvasir_domain_reset(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err)
{
    return flags_call(domain, flags, REMOTE_PROC_DOMAIN_RESET, err);
}

int kvasir_domain_destroy(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err)
{
    int r = flags_call(domain, flags, REMOTE_PROC_DOMAIN_DESTROY_FLAGS, err);
    if (r == 0)
        domain->wire.id = -1;
    return r;
}

int kvasir_domain_suspend(struct kvasir_domain *domain, struct kvasir_error *err)
{
    return plain_call(domain, REMOTE_PROC_DOMAIN_SUSPEND, err);
}

int kvasir_domain_resume(struct kvasir_domain *domain, struct kvasir_error *err)
{
    return plain_call(domain, REMOTE_PROC_DOMAIN_RESUME, err);
}

int kvasir_domain_inject_nmi(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err)
{
    return flags_call(domain, flags, REMOTE_PROC_DOMAIN_INJECT_NMI, err);
}

/* ------------------------------------------------------------- what it is and has */

int kvasir_domain_info(struct kvasir_domain *domain, struct kvasir_domain_info *out,
                       struct kvasir_error *err)
{
    wire_domain_get_info_out ret = {0};
    struct parts parts = parts_of(domain);
    int r = parts_call(domain->conn, &parts, REMOTE_PROC_DOMAIN_GET_INFO,
                       (xdrproc_t)xdr_wire_domain_get_info_out, &ret, err);
    if (r == 0)
        *out = (struct kvasir_domain_info){ret.state, ret.max_mem, ret.memory, ret.nr_virt_cpu,
                                           ret.cpu_time};
    return r;
}

int kvasir_domain_state(struct kvasir_domain *domain, int *state, int *reason,
                        struct kvasir_error *err)
{
    wire_domain_get_state_out ret = {0};
    struct parts parts = parts_of(domain);
    parts_put_u32(&parts, 0);
    int r = parts_call(domain->conn, &parts, REMOTE_PROC_DOMAIN_GET_STATE,
                       (xdrproc_t)xdr_wire_domain_get_state_out, &ret, err);
    if (r < 0)
        return r;
    *state = ret.state;
    if (reason)
        *reason = ret.reason;
    return 0;
}

/* Procedures that take a domain and give one number. */
static int number_call(struct kvasir_domain *domain, int procedure, int *out,
                       struct kvasir_error *err)
{
    struct parts parts = parts_of(domain);
    return parts_call(domain->conn, &parts, procedure, (xdrproc_t)xdr_int, out, err);
}

int kvasir_domain_is_active(struct kvasir_domain *domain, int *active, struct kvasir_error *err)
{
    return number_call(domain, REMOTE_PROC_DOMAIN_IS_ACTIVE, active, err);
}

int kvasir_domain_is_persistent(struct kvasir_domain *domain, int *persistent,
                                struct kvasir_error *err)
{
    return number_call(domain, REMOTE_PROC_DOMAIN_IS_PERSISTENT, persistent, err);
}

int kvasir_domain_autostart(struct kvasir_domain *domain, int *on, struct kvasir_error *err)
{
    return number_call(domain, REMOTE_PROC_DOMAIN_GET_AUTOSTART, on, err);
}

int kvasir_domain_set_autostart(struct kvasir_domain *domain, int on, struct kvasir_error *err)
{
    return flags_call(domain, on != 0, REMOTE_PROC_DOMAIN_SET_AUTOSTART, err);
}

static int text_call(struct kvasir_domain *domain, struct parts *parts, int procedure, char **out,
                     struct kvasir_error *err)
{
    *out = NULL;
    return parts_call(domain->conn, parts, procedure, (xdrproc_t)xdr_wire_text, out, err);
}

int kvasir_domain_xml(struct kvasir_domain *domain, unsigned flags, char **out,
                      struct kvasir_error *err)
{
    struct parts parts = parts_of(domain);
    parts_put_u32(&parts, flags);
    return text_call(domain, &parts, REMOTE_PROC_DOMAIN_GET_XML_DESC, out, err);
}

int kvasir_domain_metadata(struct kvasir_domain *domain, int type, const char *uri, unsigned flags,
                           char **out, struct kvasir_error *err)
{
    struct parts parts = parts_of(domain);
    parts_put_u32(&parts, (uint32_t)type);
    parts_put_opt_text(&parts, uri);
    parts_put_u32(&parts, flags);
    return text_call(domain, &parts, REMOTE_PROC_DOMAIN_GET_METADATA, out, err);
}

int kvasir_domain_set_memory(struct kvasir_domain *domain, uint64_t kib, unsigned flags,
                             struct kvasir_error *err)
{
    struct parts parts = parts_of(domain);
    parts_put_u64(&parts, kib);
    parts_put_u32(&parts, flags);
    return parts_call(domain->conn, &parts, REMOTE_PROC_DOMAIN_SET_MEMORY_FLAGS, NULL, NULL, err);
}

int kvasir_domain_set_vcpus(struct kvasir_domain *domain, unsigned vcpus, unsigned flags,
                            struct kvasir_error *err)
{
    struct parts parts = parts_of(domain);
    parts_put_u32(&parts, vcpus);
    parts_put_u32(&parts, flags);
    return parts_call(domain->conn, &parts, REMOTE_PROC_DOMAIN_SET_VCPUS_FLAGS, NULL, NULL, err);
}

static int device_call(struct kvasir_domain *domain, const char *xml, unsigned flags, int procedure,
                       struct kvasir_error *err)
{
    struct parts parts = parts_of(domain);
    parts_put_text(&parts, xml);
    parts_put_u32(&parts, flags);
    return parts_call(domain->conn, &parts, procedure, NULL, NULL, err);
}

int kvasir_domain_attach_device(struct kvasir_domain *domain, const char *xml, unsigned flags,
                                struct kvasir_error *err)
{
    return device_call(domain, xml, flags, REMOTE_PROC_DOMAIN_ATTACH_DEVICE_FLAGS, err);
}

int kvasir_domain_detach_device(struct kvasir_domain *domain, const char *xml, unsigned flags,
                                struct kvasir_error *err)
{
    return device_call(domain, xml, flags, REMOTE_PROC_DOMAIN_DETACH_DEVICE_FLAGS, err);
}

int kvasir_domain_update_device(struct kvasir_domain *domain, const char *xml, unsigned flags,
                                struct kvasir_error *err)
{
    return device_call(domain, xml, flags, REMOTE_PROC_DOMAIN_UPDATE_DEVICE_FLAGS, err);
}

/* --------------------------------------------------------------------- statistics */

/* The public array lies behind what its texts belong to. */
struct stats_block {
    wire_connect_get_all_domain_stats_out wire;
    struct kvasir_stats stats[];
};

static void free_block(struct stats_block *block, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kvasir_domain_free(block->stats[i].domain);
        free(block->stats[i].params);
    }
    kvasir_free_CONNECT_GET_ALL_DOMAIN_STATS(&block->wire);
    free(block);
}

void kvasir_stats_free(struct kvasir_stats *stats, size_t n)
{
    if (stats)
        free_block(container_of(stats, struct stats_block, stats[0]), n);
}

static int fill_stats(struct kvasir_conn *conn, struct kvasir_stats *out,
                      const wire_stats_record *record, struct kvasir_error *err)
{
    out->domain = kvasir_domain_from_wire(conn, &record->dom, err);
    out->params =
        kvasir_params_from_wire(record->params.params_val, record->params.params_len, err);
    out->n_params = record->params.params_len;
    return out->domain && out->params ? 0 : -ENOMEM;
}

int kvasir_domain_stats(struct kvasir_conn *conn, struct kvasir_domain *const *domains, size_t n,
                        unsigned groups, unsigned flags, struct kvasir_stats **out, size_t *n_out,
                        struct kvasir_error *err)
{
    wire_connect_get_all_domain_stats_out ret = {0};
    struct parts parts = PARTS_INIT;
    if (n > 16384)
        return error_invalid(err, "statistics of %zu domains; at most 16384 are possible", n);
    parts_put_u32(&parts, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        parts_put(&parts, (xdrproc_t)xdr_wire_domain, &domains[i]->wire);
    parts_put_u32(&parts, groups);
    parts_put_u32(&parts, flags);
    int r = parts_call(conn, &parts, REMOTE_PROC_CONNECT_GET_ALL_DOMAIN_STATS,
                       (xdrproc_t)xdr_wire_connect_get_all_domain_stats_out, &ret, err);
    if (r < 0)
        return r;
    size_t count = ret.ret_stats.ret_stats_len;
    struct stats_block *block =
        calloc(1, sizeof(*block) + (count + 1) * sizeof(struct kvasir_stats));
    if (!block) {
        kvasir_free_CONNECT_GET_ALL_DOMAIN_STATS(&ret);
        return error_no_memory(err);
    }
    block->wire = ret;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = fill_stats(conn, &block->stats[i], &ret.ret_stats.ret_stats_val[i], err);
    if (r < 0) {
        free_block(block, count);
        return r;
    }
    *out = block->stats;
    *n_out = count;
    return 0;
}

/* ------------------------------------------------------------------------ streams */

int kvasir_domain_open_console(struct kvasir_domain *domain, const char *device, unsigned flags,
                               struct kvasir_stream **out, struct kvasir_error *err)
{
    wire_text name = (char *)(uintptr_t)device;
    const wire_domain_open_console_in args = {domain->wire, device ? &name : NULL, flags};
    const struct kvasir_procedure procedure = kvasir_describe_DOMAIN_OPEN_CONSOLE();
    return kvasir_call_stream(domain->conn, &procedure, &args, NULL, out, err);
}

int kvasir_domain_open_channel(struct kvasir_domain *domain, const char *name, unsigned flags,
                               struct kvasir_stream **out, struct kvasir_error *err)
{
    wire_text text = (char *)(uintptr_t)name;
    const wire_domain_open_channel_in args = {domain->wire, name ? &text : NULL, flags};
    const struct kvasir_procedure procedure = kvasir_describe_DOMAIN_OPEN_CHANNEL();
    return kvasir_call_stream(domain->conn, &procedure, &args, NULL, out, err);
}

int kvasir_domain_screenshot(struct kvasir_domain *domain, unsigned screen, unsigned flags,
                             char **mime, struct kvasir_stream **out, struct kvasir_error *err)
{
    const wire_domain_screenshot_in args = {domain->wire, screen, flags};
    const struct kvasir_procedure procedure = kvasir_describe_DOMAIN_SCREENSHOT();
    wire_domain_screenshot_out ret = {0};
    int r = kvasir_call_stream(domain->conn, &procedure, &args, &ret, out, err);
    if (r < 0)
        return r;
    if (mime)
        *mime = ret.mime ? take_ptr(*ret.mime) : NULL;
    kvasir_free_DOMAIN_SCREENSHOT(&ret);
    return 0;
}
