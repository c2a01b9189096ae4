/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a connection tells about its server and its host. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "rpc/client/internal.h"

unsigned long kvasir_version(void)
{
    return LIBKVASIR_VERSION;
}

/* A procedure without arguments whose result is one text, which the caller gets. */
static int get_text(struct kvasir_conn *conn, int procedure, char **out, struct kvasir_error *err)
{
    struct parts parts = PARTS_INIT;
    *out = NULL;
    return parts_call(conn, &parts, procedure, (xdrproc_t)xdr_wire_text, out, err);
}

int kvasir_conn_type(struct kvasir_conn *conn, char **out, struct kvasir_error *err)
{
    return get_text(conn, REMOTE_PROC_CONNECT_GET_TYPE, out, err);
}

int kvasir_conn_uri(struct kvasir_conn *conn, char **out, struct kvasir_error *err)
{
    return get_text(conn, REMOTE_PROC_CONNECT_GET_URI, out, err);
}

int kvasir_conn_hostname(struct kvasir_conn *conn, char **out, struct kvasir_error *err)
{
    return get_text(conn, REMOTE_PROC_CONNECT_GET_HOSTNAME, out, err);
}

int kvasir_conn_capabilities(struct kvasir_conn *conn, char **xml, struct kvasir_error *err)
{
    return get_text(conn, REMOTE_PROC_CONNECT_GET_CAPABILITIES, xml, err);
}

int kvasir_conn_domain_capabilities(struct kvasir_conn *conn, const char *emulator,
                                    const char *arch, const char *machine, const char *virt_type,
                                    unsigned flags, char **xml, struct kvasir_error *err)
{
    struct parts parts = PARTS_INIT;
    parts_put_opt_text(&parts, emulator);
    parts_put_opt_text(&parts, arch);
    parts_put_opt_text(&parts, machine);
    parts_put_opt_text(&parts, virt_type);
    parts_put_u32(&parts, flags);
    *xml = NULL;
    return parts_call(conn, &parts, REMOTE_PROC_CONNECT_GET_DOMAIN_CAPABILITIES,
                      (xdrproc_t)xdr_wire_text, xml, err);
}

int kvasir_conn_versions(struct kvasir_conn *conn, unsigned long *hypervisor,
                         unsigned long *library, struct kvasir_error *err)
{
    wire_connect_get_version_out hypervisor_out = {0};
    wire_connect_get_lib_version_out library_out = {0};
    int r = hypervisor ? kvasir_call_CONNECT_GET_VERSION(conn, NULL, &hypervisor_out, err) : 0;
    if (r == 0 && library)
        r = kvasir_call_CONNECT_GET_LIB_VERSION(conn, NULL, &library_out, err);
    if (r == 0 && hypervisor)
        *hypervisor = hypervisor_out.hv_ver;
    if (r == 0 && library)
        *library = library_out.lib_ver;
    return r;
}

int kvasir_conn_node_info(struct kvasir_conn *conn, struct kvasir_node_info *out,
                          struct kvasir_error *err)
{
    wire_node_get_info_out ret = {0};
    int r = kvasir_call_NODE_GET_INFO(conn, NULL, &ret, err);
    if (r < 0)
        return r;
    *out = (struct kvasir_node_info){
        .memory_kib = ret.memory,
        .cpus = (unsigned)ret.cpus,
        .mhz = (unsigned)ret.mhz,
        .nodes = (unsigned)ret.nodes,
        .sockets = (unsigned)ret.sockets,
        .cores = (unsigned)ret.cores,
        .threads = (unsigned)ret.threads,
    };
    memcpy(out->model, ret.model, sizeof(out->model));
    out->model[sizeof(out->model) - 1] = '\0';
    return 0;
}
