/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Networks, pools, volumes, devices, interfaces, secrets and filters: one set of functions, and a
 * row a kind with the procedures behind them.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "rpc/client/internal.h"

#define LIST_MOST 65536 /* of the protocol; most kinds have less */

struct kvasir_object {
    struct kvasir_conn *conn;
    int kind;
    union {
        wire_network network;
        wire_pool pool;
        wire_volume volume;
        wire_device device;
        wire_iface iface;
        wire_secret secret;
        wire_nwfilter filter;
    } wire;
};

enum operation {
    LIST,
    LOOKUP,
    XML,
    DEFINE,
    CREATE_XML,
    START,
    DESTROY,
    UNDEFINE,
    IS_ACTIVE,
    IS_PERSISTENT,
    GET_AUTOSTART,
    SET_AUTOSTART,
    OPERATIONS,
};

struct op {
    uint16_t procedure; /* 0: there is none */
    bool flags;         /* takes flags */
};

struct kind {
    char name[16];
    xdrproc_t code;
    uint16_t size; /* of the wire's struct */
    struct op ops[OPERATIONS];
};

#define PLAIN(name)               \
    {                             \
        REMOTE_PROC_##name, false \
    }
#define FLAGS(name)              \
    {                            \
        REMOTE_PROC_##name, true \
    }

static const struct kind kinds[] = {
    [KVASIR_NETWORK] =
        {
            "network",
            (xdrproc_t)xdr_wire_network,
            sizeof(wire_network),
            {
                [LIST] = FLAGS(CONNECT_LIST_ALL_NETWORKS),
                [LOOKUP] = PLAIN(NETWORK_LOOKUP_BY_NAME),
                [XML] = FLAGS(NETWORK_GET_XML_DESC),
                [DEFINE] = PLAIN(NETWORK_DEFINE_XML),
                [CREATE_XML] = PLAIN(NETWORK_CREATE_XML),
                [START] = PLAIN(NETWORK_CREATE),
                [DESTROY] = PLAIN(NETWORK_DESTROY),
                [UNDEFINE] = PLAIN(NETWORK_UNDEFINE),
                [IS_ACTIVE] = PLAIN(NETWORK_IS_ACTIVE),
                [IS_PERSISTENT] = PLAIN(NETWORK_IS_PERSISTENT),
                [GET_AUTOSTART] = PLAIN(NETWORK_GET_AUTOSTART),
                [SET_AUTOSTART] = PLAIN(NETWORK_SET_AUTOSTART),
            },
        },
    [KVASIR_POOL] =
        {
            "storage pool",
            (xdrproc_t)xdr_wire_pool,
            sizeof(wire_pool),
            {
                [LIST] = FLAGS(CONNECT_LIST_ALL_STORAGE_POOLS),
                [LOOKUP] = PLAIN(STORAGE_POOL_LOOKUP_BY_NAME),
                [XML] = FLAGS(STORAGE_POOL_GET_XML_DESC),
                [DEFINE] = FLAGS(STORAGE_POOL_DEFINE_XML),
                [CREATE_XML] = FLAGS(STORAGE_POOL_CREATE_XML),
                [START] = FLAGS(STORAGE_POOL_CREATE),
                [DESTROY] = PLAIN(STORAGE_POOL_DESTROY),
                [UNDEFINE] = PLAIN(STORAGE_POOL_UNDEFINE),
                [IS_ACTIVE] = PLAIN(STORAGE_POOL_IS_ACTIVE),
                [IS_PERSISTENT] = PLAIN(STORAGE_POOL_IS_PERSISTENT),
                [GET_AUTOSTART] = PLAIN(STORAGE_POOL_GET_AUTOSTART),
                [SET_AUTOSTART] = PLAIN(STORAGE_POOL_SET_AUTOSTART),
            },
        },
    [KVASIR_VOLUME] =
        {
            "volume",
            (xdrproc_t)xdr_wire_volume,
            sizeof(wire_volume),
            {
                [LOOKUP] = PLAIN(STORAGE_VOL_LOOKUP_BY_PATH),
                [XML] = FLAGS(STORAGE_VOL_GET_XML_DESC),
                [DESTROY] = FLAGS(STORAGE_VOL_DELETE),
            },
        },
    [KVASIR_NODE_DEVICE] =
        {
            "node device",
            (xdrproc_t)xdr_wire_device,
            sizeof(wire_device),
            {
                [LIST] = FLAGS(CONNECT_LIST_ALL_NODE_DEVICES),
                [LOOKUP] = PLAIN(NODE_DEVICE_LOOKUP_BY_NAME),
                [XML] = FLAGS(NODE_DEVICE_GET_XML_DESC),
                [DEFINE] = FLAGS(NODE_DEVICE_DEFINE_XML),
                [CREATE_XML] = FLAGS(NODE_DEVICE_CREATE_XML),
                [START] = FLAGS(NODE_DEVICE_CREATE),
                [DESTROY] = PLAIN(NODE_DEVICE_DESTROY),
                [UNDEFINE] = FLAGS(NODE_DEVICE_UNDEFINE),
                [IS_ACTIVE] = PLAIN(NODE_DEVICE_IS_ACTIVE),
                [IS_PERSISTENT] = PLAIN(NODE_DEVICE_IS_PERSISTENT),
                [GET_AUTOSTART] = PLAIN(NODE_DEVICE_GET_AUTOSTART),
                [SET_AUTOSTART] = PLAIN(NODE_DEVICE_SET_AUTOSTART),
            },
        },
    [KVASIR_INTERFACE] =
        {
            "interface",
            (xdrproc_t)xdr_wire_iface,
            sizeof(wire_iface),
            {
                [LIST] = FLAGS(CONNECT_LIST_ALL_INTERFACES),
                [LOOKUP] = PLAIN(INTERFACE_LOOKUP_BY_NAME),
                [XML] = FLAGS(INTERFACE_GET_XML_DESC),
                [DEFINE] = FLAGS(INTERFACE_DEFINE_XML),
                [START] = FLAGS(INTERFACE_CREATE),
                [DESTROY] = FLAGS(INTERFACE_DESTROY),
                [UNDEFINE] = PLAIN(INTERFACE_UNDEFINE),
                [IS_ACTIVE] = PLAIN(INTERFACE_IS_ACTIVE),
            },
        },
    [KVASIR_SECRET] =
        {
            "secret",
            (xdrproc_t)xdr_wire_secret,
            sizeof(wire_secret),
            {
                [LIST] = FLAGS(CONNECT_LIST_ALL_SECRETS),
                [LOOKUP] = PLAIN(SECRET_LOOKUP_BY_UUID),
                [XML] = FLAGS(SECRET_GET_XML_DESC),
                [DEFINE] = FLAGS(SECRET_DEFINE_XML),
                [UNDEFINE] = PLAIN(SECRET_UNDEFINE),
            },
        },
    [KVASIR_NWFILTER] =
        {
            "network filter",
            (xdrproc_t)xdr_wire_nwfilter,
            sizeof(wire_nwfilter),
            {
                [LIST] = FLAGS(CONNECT_LIST_ALL_NWFILTERS),
                [LOOKUP] = PLAIN(NWFILTER_LOOKUP_BY_NAME),
                [XML] = FLAGS(NWFILTER_GET_XML_DESC),
                [DEFINE] = PLAIN(NWFILTER_DEFINE_XML),
                [UNDEFINE] = PLAIN(NWFILTER_UNDEFINE),
            },
        },
};

/* The procedure of an operation; NULL with err filled when the kind has none, or no flags. */
static const struct op *find_op(int kind, enum operation operation, unsigned flags,
                                struct kvasir_error *err)
{
    if (kind <= 0 || (size_t)kind >= ARRAY_SIZE(kinds)) {
        error_invalid(err, "kind %d of objects: there is no such kind", kind);
        return NULL;
    }
    const struct op *op = &kinds[kind].ops[operation];
    if (op->procedure && (op->flags || !flags))
        return op;
    kvasir_error_fill(err, VIR_ERR_NO_SUPPORT, VIR_FROM_NONE, ENOTSUP,
                      op->procedure ? "a %s takes no flags here" : "a %s has no such function",
                      kinds[kind].name);
    return NULL;
}

/* ------------------------------------------------------------------------ handles */

struct kvasir_object *object_take(struct kvasir_conn *conn, int kind, void *wire,
                                  struct kvasir_error *err)
{
    struct kvasir_object *object = calloc(1, sizeof(*object));
    if (object) {
        object->conn = conn_ref(conn);
        object->kind = kind;
        memcpy(&object->wire, wire, kinds[kind].size);
    } else {
        xdr_free(kinds[kind].code, wire);
        error_no_memory(err);
    }
    memset(wire, 0, kinds[kind].size);
    return object;
}

const void *object_wire(const struct kvasir_object *object, xdrproc_t *code)
{
    *code = kinds[object->kind].code;
    return &object->wire;
}

void kvasir_object_free(struct kvasir_object *object)
{
    if (!object)
        return;
    xdr_free(kinds[object->kind].code, (char *)&object->wire);
    conn_unref(object->conn);
    free(object);
}

void kvasir_objects_free(struct kvasir_object **objects)
{
    for (size_t i = 0; objects && objects[i]; i++)
        kvasir_object_free(objects[i]);
    free(objects);
}

struct kvasir_conn *kvasir_object_conn(const struct kvasir_object *object)
{
    return object->conn;
}

int kvasir_object_kind(const struct kvasir_object *object)
{
    return object->kind;
}

const char *kvasir_object_name(const struct kvasir_object *object)
{
    switch (object->kind) {
    case KVASIR_VOLUME:
        return object->wire.volume.name;
    case KVASIR_SECRET:
        return object->wire.secret.usage_id;
    default:
        return object->wire.network.name; /* comes first in all the others */
    }
}

const uint8_t *kvasir_object_uuid(const struct kvasir_object *object)
{
    switch (object->kind) {
    case KVASIR_NETWORK:
        return (const uint8_t *)object->wire.network.uuid;
    case KVASIR_POOL:
        return (const uint8_t *)object->wire.pool.uuid;
    case KVASIR_SECRET:
        return (const uint8_t *)object->wire.secret.uuid;
    case KVASIR_NWFILTER:
        return (const uint8_t *)object->wire.filter.uuid;
    default:
        return NULL;
    }
}

const char *kvasir_object_pool(const struct kvasir_object *object)
{
    return object->kind == KVASIR_VOLUME ? object->wire.volume.pool : NULL;
}

const char *kvasir_object_key(const struct kvasir_object *object)
{
    return object->kind == KVASIR_VOLUME ? object->wire.volume.key : NULL;
}

const char *kvasir_object_mac(const struct kvasir_object *object)
{
    return object->kind == KVASIR_INTERFACE ? object->wire.iface.mac : NULL;
}

/* -------------------------------------------------------------- lists and lookups */

/* An array of any kind's structs, as a reply begins with. */
struct wires {
    int kind;
    char *list;
    u_int n;
};

static bool_t xdr_wires(XDR *xdrs, struct wires *wires)
{
    const struct kind *kind = &kinds[wires->kind];
    return xdr_array(xdrs, &wires->list, &wires->n, LIST_MOST, kind->size, kind->code);
}

static int call_for_list(struct kvasir_conn *conn, struct parts *parts, int procedure, int kind,
                         struct kvasir_object ***out, size_t *n, struct kvasir_error *err)
{
    struct wires wires = {.kind = kind};
    int r = parts_call(conn, parts, procedure, (xdrproc_t)xdr_wires, &wires, err);
    if (r < 0)
        return r;
    struct kvasir_object **list = calloc((size_t)wires.n + 1, sizeof(*list));
    if (!list)
        r = error_no_memory(err);
    for (u_int i = 0; r == 0 && i < wires.n; i++) {
        list[i] = object_take(conn, kind, wires.list + (size_t)i * kinds[kind].size, err);
        r = list[i] ? 0 : -ENOMEM;
    }
    *n = wires.n;
    xdr_free((xdrproc_t)xdr_wires, (char *)&wires);
    if (r < 0)
        kvasir_objects_free(list);
    else
        *out = list;
    return r;
}

int kvasir_object_list(struct kvasir_conn *conn, int kind, unsigned flags,
                       struct kvasir_object ***out, size_t *n, struct kvasir_error *err)
{
    const struct op *op = find_op(kind, LIST, flags, err);
    struct parts parts = PARTS_INIT;
    if (!op)
        return -ENOTSUP;
    parts_put_u32(&parts, 1);
    parts_put_u32(&parts, flags);
    return call_for_list(conn, &parts, op->procedure, kind, out, n, err);
}

int kvasir_pool_volumes(struct kvasir_object *pool, unsigned flags, struct kvasir_object ***out,
                        size_t *n, struct kvasir_error *err)
{
    struct parts parts = PARTS_INIT;
    if (pool->kind != KVASIR_POOL)
        return error_invalid(err, "volumes of a %s: only pools have them", kinds[pool->kind].name);
    parts_put(&parts, (xdrproc_t)xdr_wire_pool, &pool->wire.pool);
    parts_put_u32(&parts, 1);
    parts_put_u32(&parts, flags);
    return call_for_list(pool->conn, &parts, REMOTE_PROC_STORAGE_POOL_LIST_ALL_VOLUMES,
                         KVASIR_VOLUME, out, n, err);
}

/* Calls what gives an object. */
static int get_object(struct kvasir_conn *conn, struct parts *parts, int procedure, int kind,
                      struct kvasir_object **out, struct kvasir_error *err)
{
    struct kvasir_object ret = {.kind = kind};
    int r = parts_call(conn, parts, procedure, kinds[kind].code, &ret.wire, err);
    if (r < 0)
        return r;
    struct kvasir_object *object = object_take(conn, kind, &ret.wire, err);
    if (!object)
        return -ENOMEM;
    if (out)
        *out = object;
    else
        kvasir_object_free(object);
    return 0;
}

int kvasir_object_lookup(struct kvasir_conn *conn, int kind, const char *name,
                         struct kvasir_object **out, struct kvasir_error *err)
{
    const struct op *op = find_op(kind, LOOKUP, 0, err);
    struct parts parts = PARTS_INIT;
    uint8_t uuid[16];
    if (!op)
        return -ENOTSUP;
    if (kind == KVASIR_SECRET && kvasir_uuid_parse(name, uuid) < 0)
        return error_invalid(err, "secret '%s': that is no UUID", name);
    if (kind == KVASIR_SECRET)
        parts_put(&parts, (xdrproc_t)xdr_wire_uuid, uuid);
    else
        parts_put_text(&parts, name);
    return get_object(conn, &parts, op->procedure, kind, out, err);
}

/* --------------------------------------------------------------------- operations */

static int from_xml(struct kvasir_conn *conn, int kind, enum operation operation, const char *xml,
                    unsigned flags, struct kvasir_object **out, struct kvasir_error *err)
{
    const struct op *op = find_op(kind, operation, flags, err);
    struct parts parts = PARTS_INIT;
    if (!op)
        return -ENOTSUP;
    parts_put_text(&parts, xml);
    if (op->flags)
        parts_put_u32(&parts, flags);
    return get_object(conn, &parts, op->procedure, kind, out, err);
}

int kvasir_object_define(struct kvasir_conn *conn, int kind, const char *xml, unsigned flags,
                         struct kvasir_object **out, struct kvasir_error *err)
{
    return from_xml(conn, kind, DEFINE, xml, flags, out, err);
}

int kvasir_object_create_xml(struct kvasir_conn *conn, int kind, const char *xml, unsigned flags,
                             struct kvasir_object **out, struct kvasir_error *err)
{
    return from_xml(conn, kind, CREATE_XML, xml, flags, out, err);
}

/* The object, its flags if there are any, then one more number if value is given. */
static int operate(struct kvasir_object *object, enum operation operation, unsigned flags,
                   const uint32_t *value, xdrproc_t code, void *ret, struct kvasir_error *err)
{
    const struct op *op = find_op(object->kind, operation, flags, err);
    struct parts parts = PARTS_INIT;
    if (!op)
        return -ENOTSUP;
    parts_put(&parts, kinds[object->kind].code, &object->wire);
    if (op->flags)
        parts_put_u32(&parts, flags);
    if (value)
        parts_put_u32(&parts, *value);
    return parts_call(object->conn, &parts, op->procedure, code, ret, err);
}

int kvasir_object_xml(struct kvasir_object *object, unsigned flags, char **out,
                      struct kvasir_error *err)
{
    *out = NULL;
    return operate(object, XML, flags, NULL, (xdrproc_t)xdr_wire_text, out, err);
}

int kvasir_object_start(struct kvasir_object *object, unsigned flags, struct kvasir_error *err)
{
    return operate(object, START, flags, NULL, NULL, NULL, err);
}

int kvasir_object_destroy(struct kvasir_object *object, unsigned flags, struct kvasir_error *err)
{
    return operate(object, DESTROY, flags, NULL, NULL, NULL, err);
}

int kvasir_object_undefine(struct kvasir_object *object, struct kvasir_error *err)
{
    return operate(object, UNDEFINE, 0, NULL, NULL, NULL, err);
}

int kvasir_object_is_active(struct kvasir_object *object, int *active, struct kvasir_error *err)
{
    return operate(object, IS_ACTIVE, 0, NULL, (xdrproc_t)xdr_int, active, err);
}

int kvasir_object_is_persistent(struct kvasir_object *object, int *persistent,
                                struct kvasir_error *err)
{
    return operate(object, IS_PERSISTENT, 0, NULL, (xdrproc_t)xdr_int, persistent, err);
}

int kvasir_object_autostart(struct kvasir_object *object, int *on, struct kvasir_error *err)
{
    return operate(object, GET_AUTOSTART, 0, NULL, (xdrproc_t)xdr_int, on, err);
}

int kvasir_object_set_autostart(struct kvasir_object *object, int on, struct kvasir_error *err)
{
    const uint32_t value = on != 0;
    return operate(object, SET_AUTOSTART, 0, &value, NULL, NULL, err);
}

/* ------------------------------------------------------------ secrets and volumes */

static int check_kind(const struct kvasir_object *object, int kind, struct kvasir_error *err)
{
    if (object->kind == kind)
        return 0;
    return error_invalid(err, "a %s where a %s is needed", kinds[object->kind].name,
                         kinds[kind].name);
}

int kvasir_secret_set_value(struct kvasir_object *secret, const void *value, size_t len,
                            unsigned flags, struct kvasir_error *err)
{
    int r = check_kind(secret, KVASIR_SECRET, err);
    if (r < 0)
        return r;
    if (len > 65536)
        return error_invalid(err, "a secret of %zu bytes; at most 65536 are possible", len);
    const wire_secret_set_value_in args = {
        .secret = secret->wire.secret,
        .value = {(u_int)len, (char *)(uintptr_t)value},
        .flags = flags,
    };
    return kvasir_call_SECRET_SET_VALUE(secret->conn, &args, NULL, err);
}

int kvasir_secret_value(struct kvasir_object *secret, unsigned flags, void **value, size_t *len,
                        struct kvasir_error *err)
{
    wire_secret_get_value_out ret = {0};
    int r = check_kind(secret, KVASIR_SECRET, err);
    if (r < 0)
        return r;
    const wire_secret_flags args = {secret->wire.secret, flags};
    r = kvasir_call_SECRET_GET_VALUE(secret->conn, &args, &ret, err);
    if (r < 0)
        return r;
    *value = ret.value.value_val;
    *len = ret.value.value_len;
    return 0;
}

int kvasir_volume_download(struct kvasir_object *volume, uint64_t offset, uint64_t length,
                           unsigned flags, struct kvasir_stream **out, struct kvasir_error *err)
{
    const struct kvasir_procedure procedure = kvasir_describe_STORAGE_VOL_DOWNLOAD();
    int r = check_kind(volume, KVASIR_VOLUME, err);
    if (r < 0)
        return r;
    const wire_storage_vol_upload_in args = {volume->wire.volume, offset, length, flags};
    return kvasir_call_stream(volume->conn, &procedure, &args, NULL, out, err);
}

int kvasir_volume_upload(struct kvasir_object *volume, uint64_t offset, uint64_t length,
                         unsigned flags, struct kvasir_stream **out, struct kvasir_error *err)
{
    const struct kvasir_procedure procedure = kvasir_describe_STORAGE_VOL_UPLOAD();
    int r = check_kind(volume, KVASIR_VOLUME, err);
    if (r < 0)
        return r;
    const wire_storage_vol_upload_in args = {volume->wire.volume, offset, length, flags};
    return kvasir_call_stream(volume->conn, &procedure, &args, NULL, out, err);
}
