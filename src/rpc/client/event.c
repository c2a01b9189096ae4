/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events. One registration here is one of the server's callbacks, by whose number it says whom an
 * event is for. A row of the table says what an event's packet holds; names are libvirt's.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "rpc/client/internal.h"

enum field_kind {
    FIELD_INT = KVASIR_PARAM_INT,
    FIELD_UINT = KVASIR_PARAM_UINT,
    FIELD_LLONG = KVASIR_PARAM_LLONG,
    FIELD_ULLONG = KVASIR_PARAM_ULLONG,
    FIELD_TEXT = KVASIR_PARAM_STRING,
    FIELD_OPT_TEXT, /* has no parameter when absent */
    FIELD_PARAMS,   /* a list of typed parameters, each becomes one */
};

/* Names lie in the rows themselves: pointers would be relocated at every start. */
struct field {
    char name[16];
    uint8_t kind; /* enum field_kind; 0 behind the last */
    uint16_t offset;
};

#define FIELDS_MAX 8

struct event_row {
    uint8_t event_class, id;
    uint16_t procedure;
    uint16_t size, object; /* object: where the domain or object is */
    char name[28];
    struct field fields[FIELDS_MAX];
    xdrproc_t code;
};

#define ROW(class_, id_, name_, procedure_, type, object_, ...)                                \
    {                                                                                          \
        .event_class = (class_), .id = (id_), .procedure = (procedure_), .size = sizeof(type), \
        .object = offsetof(type, object_), .name = name_, .fields = {__VA_ARGS__},             \
        .code = (xdrproc_t)xdr_##type                                                          \
    }
#define DOMAIN(id, name, suffix, type, ...) \
    ROW(KVASIR_EVENTS_DOMAIN, id, name, REMOTE_PROC_DOMAIN_EVENT_##suffix, type, dom, __VA_ARGS__)
#define FIELD(kind, type, name, member)            \
    {                                              \
        name, FIELD_##kind, offsetof(type, member) \
    }
#define NONE      \
    {             \
        .kind = 0 \
    }

static const struct event_row rows[] = {
    DOMAIN(0, "lifecycle", CALLBACK_LIFECYCLE, wire_dom_event_detail,
           FIELD(INT, wire_dom_event_detail, "event", event),
           FIELD(INT, wire_dom_event_detail, "detail", detail)),
    DOMAIN(1, "reboot", CALLBACK_REBOOT, wire_dom, NONE),
    DOMAIN(2, "rtc-change", CALLBACK_RTC_CHANGE, wire_dom_offset,
           FIELD(LLONG, wire_dom_offset, "utcoffset", offset)),
    DOMAIN(3, "watchdog", CALLBACK_WATCHDOG, wire_dom_action,
           FIELD(INT, wire_dom_action, "action", action)),
    DOMAIN(4, "io-error", CALLBACK_IO_ERROR, wire_domain_event_io_error,
           FIELD(TEXT, wire_domain_event_io_error, "srcPath", src_path),
           FIELD(TEXT, wire_domain_event_io_error, "devAlias", dev_alias),
           FIELD(INT, wire_domain_event_io_error, "action", action)),
    DOMAIN(5, "graphics", CALLBACK_GRAPHICS, wire_domain_event_graphics,
           FIELD(INT, wire_domain_event_graphics, "phase", phase),
           FIELD(INT, wire_domain_event_graphics, "local.family", local.family),
           FIELD(TEXT, wire_domain_event_graphics, "local.node", local.node),
           FIELD(TEXT, wire_domain_event_graphics, "local.service", local.service),
           FIELD(INT, wire_domain_event_graphics, "remote.family", remote.family),
           FIELD(TEXT, wire_domain_event_graphics, "remote.node", remote.node),
           FIELD(TEXT, wire_domain_event_graphics, "remote.service", remote.service),
           FIELD(TEXT, wire_domain_event_graphics, "authScheme", auth_scheme)),
    DOMAIN(6, "io-error-reason", CALLBACK_IO_ERROR_REASON, wire_domain_event_io_error_reason,
           FIELD(TEXT, wire_domain_event_io_error_reason, "srcPath", src_path),
           FIELD(TEXT, wire_domain_event_io_error_reason, "devAlias", dev_alias),
           FIELD(INT, wire_domain_event_io_error_reason, "action", action),
           FIELD(TEXT, wire_domain_event_io_error_reason, "reason", reason)),
    DOMAIN(7, "control-error", CALLBACK_CONTROL_ERROR, wire_dom, NONE),
    DOMAIN(8, "block-job", CALLBACK_BLOCK_JOB, wire_domain_event_block_job,
           FIELD(TEXT, wire_domain_event_block_job, "disk", path),
           FIELD(INT, wire_domain_event_block_job, "type", type),
           FIELD(INT, wire_domain_event_block_job, "status", status)),
    DOMAIN(9, "disk-change", CALLBACK_DISK_CHANGE, wire_domain_event_disk_change,
           FIELD(OPT_TEXT, wire_domain_event_disk_change, "oldSrcPath", old_src_path),
           FIELD(OPT_TEXT, wire_domain_event_disk_change, "newSrcPath", new_src_path),
           FIELD(TEXT, wire_domain_event_disk_change, "devAlias", dev_alias),
           FIELD(INT, wire_domain_event_disk_change, "reason", reason)),
    DOMAIN(10, "tray-change", CALLBACK_TRAY_CHANGE, wire_dom_dev_alias_reason,
           FIELD(TEXT, wire_dom_dev_alias_reason, "devAlias", dev_alias),
           FIELD(INT, wire_dom_dev_alias_reason, "reason", reason)),
    DOMAIN(11, "pm-wakeup", CALLBACK_PMWAKEUP, wire_reason_dom,
           FIELD(INT, wire_reason_dom, "reason", reason)),
    DOMAIN(12, "pm-suspend", CALLBACK_PMSUSPEND, wire_reason_dom,
           FIELD(INT, wire_reason_dom, "reason", reason)),
    DOMAIN(13, "balloon-change", CALLBACK_BALLOON_CHANGE, wire_dom_actual,
           FIELD(ULLONG, wire_dom_actual, "actual", actual)),
    DOMAIN(14, "pm-suspend-disk", CALLBACK_PMSUSPEND_DISK, wire_reason_dom,
           FIELD(INT, wire_reason_dom, "reason", reason)),
    DOMAIN(15, "device-removed", CALLBACK_DEVICE_REMOVED, wire_dom_dev_alias,
           FIELD(TEXT, wire_dom_dev_alias, "devAlias", dev_alias)),
    DOMAIN(16, "block-job-2", BLOCK_JOB_2, wire_domain_event_block_job_2,
           FIELD(TEXT, wire_domain_event_block_job_2, "disk", dst),
           FIELD(INT, wire_domain_event_block_job_2, "type", type),
           FIELD(INT, wire_domain_event_block_job_2, "status", status)),
    DOMAIN(17, "tunable", CALLBACK_TUNABLE, wire_domain_event_callback_tunable,
           FIELD(PARAMS, wire_domain_event_callback_tunable, "", params)),
    DOMAIN(18, "agent-lifecycle", CALLBACK_AGENT_LIFECYCLE,
           wire_domain_event_callback_agent_lifecycle,
           FIELD(INT, wire_domain_event_callback_agent_lifecycle, "state", state),
           FIELD(INT, wire_domain_event_callback_agent_lifecycle, "reason", reason)),
    DOMAIN(19, "device-added", CALLBACK_DEVICE_ADDED, wire_dom_dev_alias,
           FIELD(TEXT, wire_dom_dev_alias, "devAlias", dev_alias)),
    DOMAIN(20, "migration-iteration", CALLBACK_MIGRATION_ITERATION,
           wire_domain_event_callback_migration_iteration,
           FIELD(INT, wire_domain_event_callback_migration_iteration, "iteration", iteration)),
    DOMAIN(21, "job-completed", CALLBACK_JOB_COMPLETED, wire_domain_event_callback_job_completed,
           FIELD(PARAMS, wire_domain_event_callback_job_completed, "", params)),
    DOMAIN(22, "device-removal-failed", CALLBACK_DEVICE_REMOVAL_FAILED, wire_dom_dev_alias,
           FIELD(TEXT, wire_dom_dev_alias, "devAlias", dev_alias)),
    DOMAIN(23, "metadata-change", CALLBACK_METADATA_CHANGE,
           wire_domain_event_callback_metadata_change,
           FIELD(INT, wire_domain_event_callback_metadata_change, "type", type),
           FIELD(OPT_TEXT, wire_domain_event_callback_metadata_change, "nsuri", nsuri)),
    DOMAIN(24, "block-threshold", BLOCK_THRESHOLD, wire_domain_event_block_threshold,
           FIELD(TEXT, wire_domain_event_block_threshold, "dev", dev),
           FIELD(OPT_TEXT, wire_domain_event_block_threshold, "path", path),
           FIELD(ULLONG, wire_domain_event_block_threshold, "threshold", threshold),
           FIELD(ULLONG, wire_domain_event_block_threshold, "excess", excess)),
    DOMAIN(25, "memory-failure", MEMORY_FAILURE, wire_domain_event_memory_failure,
           FIELD(INT, wire_domain_event_memory_failure, "recipient", recipient),
           FIELD(INT, wire_domain_event_memory_failure, "action", action),
           FIELD(UINT, wire_domain_event_memory_failure, "flags", flags)),
    DOMAIN(26, "memory-device-size-change", MEMORY_DEVICE_SIZE_CHANGE,
           wire_domain_event_memory_device_size_change,
           FIELD(TEXT, wire_domain_event_memory_device_size_change, "alias", alias),
           FIELD(ULLONG, wire_domain_event_memory_device_size_change, "size", size)),
    DOMAIN(27, "nic-mac-change", NIC_MAC_CHANGE, wire_domain_event_nic_mac_change,
           FIELD(TEXT, wire_domain_event_nic_mac_change, "alias", alias),
           FIELD(TEXT, wire_domain_event_nic_mac_change, "oldMAC", old_mac),
           FIELD(TEXT, wire_domain_event_nic_mac_change, "newMAC", new_mac)),
    ROW(KVASIR_EVENTS_NETWORK, 0, "lifecycle", REMOTE_PROC_NETWORK_EVENT_LIFECYCLE,
        wire_network_event_lifecycle, net, FIELD(INT, wire_network_event_lifecycle, "event", event),
        FIELD(INT, wire_network_event_lifecycle, "detail", detail)),
    ROW(KVASIR_EVENTS_NETWORK, 1, "metadata-change",
        REMOTE_PROC_NETWORK_EVENT_CALLBACK_METADATA_CHANGE,
        wire_network_event_callback_metadata_change, net,
        FIELD(INT, wire_network_event_callback_metadata_change, "type", type),
        FIELD(OPT_TEXT, wire_network_event_callback_metadata_change, "nsuri", nsuri)),
    ROW(KVASIR_EVENTS_POOL, 0, "lifecycle", REMOTE_PROC_STORAGE_POOL_EVENT_LIFECYCLE,
        wire_storage_pool_event_lifecycle, pool,
        FIELD(INT, wire_storage_pool_event_lifecycle, "event", event),
        FIELD(INT, wire_storage_pool_event_lifecycle, "detail", detail)),
    ROW(KVASIR_EVENTS_POOL, 1, "refresh", REMOTE_PROC_STORAGE_POOL_EVENT_REFRESH,
        wire_storage_pool_create_xml_out, pool, NONE),
    ROW(KVASIR_EVENTS_NODE_DEVICE, 0, "lifecycle", REMOTE_PROC_NODE_DEVICE_EVENT_LIFECYCLE,
        wire_node_device_event_lifecycle, dev,
        FIELD(INT, wire_node_device_event_lifecycle, "event", event),
        FIELD(INT, wire_node_device_event_lifecycle, "detail", detail)),
    ROW(KVASIR_EVENTS_NODE_DEVICE, 1, "update", REMOTE_PROC_NODE_DEVICE_EVENT_UPDATE, wire_dev, dev,
        NONE),
    ROW(KVASIR_EVENTS_SECRET, 0, "lifecycle", REMOTE_PROC_SECRET_EVENT_LIFECYCLE,
        wire_secret_event_lifecycle, secret,
        FIELD(INT, wire_secret_event_lifecycle, "event", event),
        FIELD(INT, wire_secret_event_lifecycle, "detail", detail)),
    ROW(KVASIR_EVENTS_SECRET, 1, "value-changed", REMOTE_PROC_SECRET_EVENT_VALUE_CHANGED,
        wire_secret_lookup_by_uuid_out, secret, NONE),
};
#define LARGEST 256 /* bytes of the largest wire struct above */

struct class_row {
    int kind; /* of objects; 0: domains */
    int enroll, withdraw;
};

static const struct class_row classes[] = {
    [KVASIR_EVENTS_DOMAIN] = {0, REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
                              REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY},
    [KVASIR_EVENTS_NETWORK] = {KVASIR_NETWORK, REMOTE_PROC_CONNECT_NETWORK_EVENT_REGISTER_ANY,
                               REMOTE_PROC_CONNECT_NETWORK_EVENT_DEREGISTER_ANY},
    [KVASIR_EVENTS_POOL] = {KVASIR_POOL, REMOTE_PROC_CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY,
                            REMOTE_PROC_CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY},
    [KVASIR_EVENTS_NODE_DEVICE] = {KVASIR_NODE_DEVICE,
                                   REMOTE_PROC_CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY,
                                   REMOTE_PROC_CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY},
    [KVASIR_EVENTS_SECRET] = {KVASIR_SECRET, REMOTE_PROC_CONNECT_SECRET_EVENT_REGISTER_ANY,
                              REMOTE_PROC_CONNECT_SECRET_EVENT_DEREGISTER_ANY},
};

static const struct event_row *find_row(int event_class, int id)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].event_class == event_class && rows[i].id == id)
            return &rows[i];
    }
    return NULL;
}

const char *kvasir_event_name(int event_class, int id)
{
    const struct event_row *row = find_row(event_class, id);
    return row ? row->name : NULL;
}

/* ------------------------------------------------------------------ registering */

int kvasir_event_register(struct kvasir_conn *conn, int event_class, int id,
                          struct kvasir_domain *domain, struct kvasir_object *object,
                          kvasir_event_fn *fn, void *opaque, struct kvasir_error *err)
{
    wire_callback_id ret = {0};
    if (!find_row(event_class, id))
        return error_invalid(err, "event %d of class %d: there is no such event", id, event_class);
    const struct class_row *class = &classes[event_class];
    if ((domain && class->kind) || (object && kvasir_object_kind(object) != class->kind))
        return error_invalid(err, "events of class %d are not those of the object", event_class);
    struct registration *registration = calloc(1, sizeof(*registration));
    if (!registration)
        return error_no_memory(err);
    struct parts parts = PARTS_INIT;
    parts_put_u32(&parts, (uint32_t)id);
    parts_put_u32(&parts, domain || object);
    if (domain)
        parts_put(&parts, (xdrproc_t)xdr_wire_domain, kvasir_domain_wire(domain));
    if (object) {
        xdrproc_t code;
        const void *wire = object_wire(object, &code);
        parts_put(&parts, code, wire);
    }
    int r = parts_call(conn, &parts, class->enroll, (xdrproc_t)xdr_wire_callback_id, &ret, err);
    if (r < 0) {
        free(registration);
        return r;
    }
    *registration = (struct registration){
        .number = ++conn->last_registration,
        .callback = ret.callback_id,
        .event_class = event_class,
        .id = id,
        .fn = fn,
        .opaque = opaque,
    };
    list_add_tail(&conn->registrations, &registration->node);
    return registration->number;
}

int kvasir_event_unregister(struct kvasir_conn *conn, int number, struct kvasir_error *err)
{
    list_for_each_safe (node, &conn->registrations) {
        struct registration *registration = list_entry(node, struct registration, node);
        if (registration->number != number)
            continue;
        struct parts parts = PARTS_INIT;
        parts_put_u32(&parts, (uint32_t)registration->callback);
        int withdraw = classes[registration->event_class].withdraw;
        list_del(node);
        free(registration);
        return parts_call(conn, &parts, withdraw, NULL, NULL, err);
    }
    return error_invalid(err, "there is no registration %d", number);
}

bool event_is_known(const struct kvasir_conn *conn, const struct packet_header *header)
{
    return header->program == KVASIR_PROGRAM_REMOTE && header->procedure > 0 &&
           header->procedure < REMOTE_PROC_END;
}

/* --------------------------------------------------------------------- delivering */

static void add_params(const wire_param *wire, unsigned n, struct kvasir_event *event,
                       struct kvasir_param **own)
{
    *own = kvasir_params_from_wire(wire, n, NULL);
    event->params = *own;
    event->n_params = *own ? n : 0;
}

/* A field of the decoded struct as a parameter. False: it is absent. */
static bool read_field(const struct field *field, const char *body, struct kvasir_param *out)
{
    const void *at = body + field->offset;
    *out = (struct kvasir_param){.name = field->name, .type = field->kind};
    switch (field->kind) {
    case FIELD_INT:
    case FIELD_UINT:
        memcpy(&out->value.i, at, sizeof(int));
        return true;
    case FIELD_LLONG:
    case FIELD_ULLONG:
        memcpy(&out->value.l, at, sizeof(int64_t));
        return true;
    case FIELD_TEXT:
        memcpy(&out->value.s, at, sizeof(char *));
        return true;
    default: {
        const wire_opt_text *text = at;
        out->type = KVASIR_PARAM_STRING;
        out->value.s = *text ? **text : NULL;
        return *text;
    }
    }
}

static void read_fields(const struct event_row *row, const char *body, struct kvasir_event *event,
                        struct kvasir_param params[FIELDS_MAX], struct kvasir_param **own)
{
    event->params = params;
    for (size_t i = 0; i < FIELDS_MAX && row->fields[i].kind; i++) {
        const struct field *field = &row->fields[i];
        if (field->kind == FIELD_PARAMS) {
            struct {
                u_int n;
                wire_param *list;
            } list;
            memcpy(&list, body + field->offset, sizeof(list));
            add_params(list.list, list.n, event, own);
        } else if (read_field(field, body, &params[event->n_params])) {
            event->n_params++;
        }
    }
}

static void call_back(struct kvasir_conn *conn, const struct event_row *row, char *body,
                      const struct registration *registration)
{
    struct kvasir_param params[FIELDS_MAX], *own = NULL;
    struct kvasir_event event = {.event_class = row->event_class, .id = row->id, .name = row->name};
    int kind = classes[row->event_class].kind;
    if (kind)
        event.object = object_take(conn, kind, body + row->object, NULL);
    else
        event.domain = domain_take(conn, (wire_domain *)(void *)(body + row->object), NULL);
    if (event.object || event.domain) {
        read_fields(row, body, &event, params, &own);
        registration->fn(conn, &event, registration->opaque);
    }
    free(own);
    kvasir_domain_free(event.domain);
    kvasir_object_free(event.object);
}

static const struct registration *find_registration(struct kvasir_conn *conn,
                                                    const struct event_row *row, int callback)
{
    list_for_each (node, &conn->registrations) {
        struct registration *registration = list_entry(node, struct registration, node);
        if (registration->callback == callback && registration->event_class == row->event_class &&
            registration->id == row->id)
            return registration;
    }
    return NULL;
}

/* The server itself lost what it serves. */
static void take_close(struct kvasir_conn *conn, const struct queued_event *event)
{
    wire_connect_event_connection_closed closed = {0};
    if (call_decode((xdrproc_t)xdr_wire_connect_event_connection_closed, event->body,
                    event->len - sizeof(*event), &closed, NULL) == 0)
        conn_lose(conn, closed.reason, VIR_ERR_SYSTEM_ERROR,
                  "the server lost its connection to the hypervisor");
}

void event_deliver(struct kvasir_conn *conn, const struct queued_event *event)
{
    _Alignas(16) char body[LARGEST] = {0};
    size_t len = event->len - sizeof(*event);
    if (event->procedure == REMOTE_PROC_CONNECT_EVENT_CONNECTION_CLOSED) {
        take_close(conn, event);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct event_row *row = &rows[i];
        if (row->procedure != event->procedure || len < 4)
            continue;
        const struct registration *registration =
            find_registration(conn, row, (int)packet_get_u32(event->body));
        if (!registration || call_decode(row->code, event->body + 4, len - 4, body, NULL) < 0)
            return;
        call_back(conn, row, body, registration);
        xdr_free(row->code, body);
        return;
    }
}
