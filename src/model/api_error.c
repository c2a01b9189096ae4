/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's error numbers and their phrases; see api_error.h. */
#include "model/api_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/util.h"

struct phrase {
    const char *bare;           /* without a detail */
    const char *before, *after; /* around a detail */
    int error;                  /* the errno nearest in meaning */
};

/* The usual pattern: "phrase" and "phrase: detail". */
#define PHRASE(vir, text, code) [vir] = {text, text ": ", "", code}
/* "phrase" and "phrase detail". */
#define PHRASE_OF(vir, text, of, code) [vir] = {text, text of, "", code}
/* "phrase" and the detail alone. */
#define PHRASE_OR(vir, text, code) [vir] = {text, "", "", code}
#define PHRASE_AROUND(vir, text, b, a, code) [vir] = {text, b, a, code}

static const struct phrase phrases[] = {
    PHRASE(VIR_ERR_INTERNAL_ERROR, "internal error", EIO),
    PHRASE(VIR_ERR_NO_MEMORY, "out of memory", ENOMEM),
    PHRASE(VIR_ERR_NO_SUPPORT, "this function is not supported by the connection driver", ENOSYS),
    PHRASE_OF(VIR_ERR_UNKNOWN_HOST, "unknown host", " ", EHOSTUNREACH),
    PHRASE_OF(VIR_ERR_NO_CONNECT, "no connection driver available", " for ", ENOTCONN),
    PHRASE_OF(VIR_ERR_INVALID_CONN, "invalid connection pointer in", " ", EINVAL),
    PHRASE_OF(VIR_ERR_INVALID_DOMAIN, "invalid domain pointer in", " ", EINVAL),
    PHRASE(VIR_ERR_INVALID_ARG, "invalid argument", EINVAL),
    PHRASE(VIR_ERR_OPERATION_FAILED, "operation failed", EIO),
    PHRASE(VIR_ERR_GET_FAILED, "GET operation failed", EIO),
    PHRASE(VIR_ERR_POST_FAILED, "POST operation failed", EIO),
    PHRASE_OF(VIR_ERR_HTTP_ERROR, "got unknown HTTP error code", " ", EPROTO),
    PHRASE(VIR_ERR_SEXPR_SERIAL, "failed to serialize S-Expr", EINVAL),
    PHRASE_OF(VIR_ERR_NO_XEN, "could not use Xen hypervisor entry", " ", ENODEV),
    PHRASE_OF(VIR_ERR_XEN_CALL, "failed Xen syscall", " ", EIO),
    PHRASE_OF(VIR_ERR_OS_TYPE, "unknown OS type", " ", EINVAL),
    PHRASE(VIR_ERR_NO_KERNEL, "missing kernel information", EINVAL),
    PHRASE_OF(VIR_ERR_NO_ROOT, "missing root device information", " in ", EINVAL),
    PHRASE_OF(VIR_ERR_NO_SOURCE, "missing source information for device", " ", EINVAL),
    PHRASE_OF(VIR_ERR_NO_TARGET, "missing target information for device", " ", EINVAL),
    PHRASE_OF(VIR_ERR_NO_NAME, "missing name information", " in ", EINVAL),
    PHRASE_OF(VIR_ERR_NO_OS, "missing operating system information", " for ", EINVAL),
    PHRASE_OF(VIR_ERR_NO_DEVICE, "missing devices information", " for ", EINVAL),
    PHRASE_OF(VIR_ERR_NO_XENSTORE, "could not connect to Xen Store", " ", ENOTCONN),
    PHRASE_OF(VIR_ERR_DRIVER_FULL, "too many drivers registered", " in ", ENOSPC),
    PHRASE(VIR_ERR_CALL_FAILED, "library call failed", EIO),
    PHRASE_AROUND(VIR_ERR_XML_ERROR, "XML description is invalid or not well formed",
                  "XML error: ", "", EINVAL),
    PHRASE_AROUND(VIR_ERR_DOM_EXIST, "this domain exists already", "domain ", " exists already",
                  EEXIST),
    PHRASE(VIR_ERR_OPERATION_DENIED, "operation forbidden", EPERM),
    PHRASE_OF(VIR_ERR_OPEN_FAILED, "failed to open configuration file", " ", EIO),
    PHRASE_OF(VIR_ERR_READ_FAILED, "failed to read configuration file", " ", EIO),
    PHRASE_OF(VIR_ERR_PARSE_FAILED, "failed to parse configuration file", " ", EINVAL),
    PHRASE(VIR_ERR_CONF_SYNTAX, "configuration file syntax error", EINVAL),
    PHRASE(VIR_ERR_WRITE_FAILED, "failed to write configuration file", EIO),
    PHRASE_OR(VIR_ERR_XML_DETAIL, "parser error", EINVAL),
    PHRASE_OF(VIR_ERR_INVALID_NETWORK, "invalid network pointer in", " ", EINVAL),
    PHRASE_AROUND(VIR_ERR_NETWORK_EXIST, "this network exists already", "network ",
                  " exists already", EEXIST),
    PHRASE_OR(VIR_ERR_SYSTEM_ERROR, "system call error", EIO),
    PHRASE_OR(VIR_ERR_RPC, "RPC error", EPROTO),
    PHRASE_OR(VIR_ERR_GNUTLS_ERROR, "GNUTLS call error", EPROTO),
    PHRASE(VIR_WAR_NO_NETWORK, "Failed to find the network", ENOENT),
    PHRASE(VIR_ERR_NO_DOMAIN, "Domain not found", ENOENT),
    PHRASE(VIR_ERR_NO_NETWORK, "Network not found", ENOENT),
    PHRASE(VIR_ERR_INVALID_MAC, "invalid MAC address", EINVAL),
    PHRASE(VIR_ERR_AUTH_FAILED, "authentication failed", EACCES),
    PHRASE_OF(VIR_ERR_INVALID_STORAGE_POOL, "invalid storage pool pointer in", " ", EINVAL),
    PHRASE_OF(VIR_ERR_INVALID_STORAGE_VOL, "invalid storage volume pointer in", " ", EINVAL),
    PHRASE(VIR_WAR_NO_STORAGE, "Failed to find a storage driver", ENOENT),
    PHRASE(VIR_ERR_NO_STORAGE_POOL, "Storage pool not found", ENOENT),
    PHRASE(VIR_ERR_NO_STORAGE_VOL, "Storage volume not found", ENOENT),
    PHRASE(VIR_WAR_NO_NODE, "Failed to find a node driver", ENOENT),
    PHRASE_OF(VIR_ERR_INVALID_NODE_DEVICE, "invalid node device pointer", " in ", EINVAL),
    PHRASE(VIR_ERR_NO_NODE_DEVICE, "Node device not found", ENOENT),
    PHRASE(VIR_ERR_NO_SECURITY_MODEL, "Security model not found", ENOENT),
    PHRASE(VIR_ERR_OPERATION_INVALID, "Requested operation is not valid", EINVAL),
    PHRASE(VIR_WAR_NO_INTERFACE, "Failed to find the interface", ENOENT),
    PHRASE(VIR_ERR_NO_INTERFACE, "Interface not found", ENOENT),
    PHRASE_OF(VIR_ERR_INVALID_INTERFACE, "invalid interface pointer in", " ", EINVAL),
    PHRASE(VIR_ERR_MULTIPLE_INTERFACES, "multiple matching interfaces found", EEXIST),
    PHRASE(VIR_WAR_NO_NWFILTER, "Failed to start the nwfilter driver", ENOENT),
    PHRASE(VIR_ERR_INVALID_NWFILTER, "Invalid network filter", EINVAL),
    PHRASE(VIR_ERR_NO_NWFILTER, "Network filter not found", ENOENT),
    PHRASE(VIR_ERR_BUILD_FIREWALL, "Error while building firewall", EIO),
    PHRASE(VIR_WAR_NO_SECRET, "Failed to find a secret storage driver", ENOENT),
    PHRASE(VIR_ERR_INVALID_SECRET, "Invalid secret", EINVAL),
    PHRASE(VIR_ERR_NO_SECRET, "Secret not found", ENOENT),
    PHRASE(VIR_ERR_CONFIG_UNSUPPORTED, "unsupported configuration", ENOTSUP),
    PHRASE(VIR_ERR_OPERATION_TIMEOUT, "Timed out during operation", ETIMEDOUT),
    PHRASE(VIR_ERR_MIGRATE_PERSIST_FAILED, "Failed to make domain persistent after migration", EIO),
    PHRASE(VIR_ERR_HOOK_SCRIPT_FAILED, "Hook script execution failed", EIO),
    PHRASE(VIR_ERR_INVALID_DOMAIN_SNAPSHOT, "Invalid domain snapshot", EINVAL),
    PHRASE(VIR_ERR_NO_DOMAIN_SNAPSHOT, "Domain snapshot not found", ENOENT),
    PHRASE_OF(VIR_ERR_INVALID_STREAM, "invalid stream pointer", " in ", EINVAL),
    PHRASE(VIR_ERR_ARGUMENT_UNSUPPORTED, "argument unsupported", ENOTSUP),
    PHRASE(VIR_ERR_STORAGE_PROBE_FAILED, "Storage pool probe failed", EIO),
    PHRASE(VIR_ERR_STORAGE_POOL_BUILT, "Storage pool already built", EEXIST),
    PHRASE(VIR_ERR_SNAPSHOT_REVERT_RISKY, "revert requires force", EPERM),
    PHRASE(VIR_ERR_OPERATION_ABORTED, "operation aborted", ECANCELED),
    PHRASE(VIR_ERR_AUTH_CANCELLED, "authentication cancelled", ECANCELED),
    PHRASE(VIR_ERR_NO_DOMAIN_METADATA, "metadata not found", ENOENT),
    PHRASE(VIR_ERR_MIGRATE_UNSAFE, "Unsafe migration", EPERM),
    PHRASE(VIR_ERR_OVERFLOW, "numerical overflow", EOVERFLOW),
    PHRASE(VIR_ERR_BLOCK_COPY_ACTIVE, "block copy still active", EBUSY),
    PHRASE(VIR_ERR_OPERATION_UNSUPPORTED, "Operation not supported", ENOTSUP),
    PHRASE(VIR_ERR_SSH, "SSH transport error", EPROTO),
    PHRASE(VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding", ETIMEDOUT),
    PHRASE(VIR_ERR_RESOURCE_BUSY, "resource busy", EBUSY),
    PHRASE(VIR_ERR_ACCESS_DENIED, "access denied", EACCES),
    PHRASE(VIR_ERR_DBUS_SERVICE, "error from service", EIO),
    PHRASE_AROUND(VIR_ERR_STORAGE_VOL_EXIST, "this storage volume exists already",
                  "storage volume ", " exists already", EEXIST),
    PHRASE(VIR_ERR_CPU_INCOMPATIBLE, "the CPU is incompatible with host CPU", ENOTSUP),
    PHRASE(VIR_ERR_XML_INVALID_SCHEMA, "XML document failed to validate against schema", EINVAL),
    PHRASE(VIR_ERR_MIGRATE_FINISH_OK, "migration successfully aborted", ECANCELED),
    PHRASE(VIR_ERR_AUTH_UNAVAILABLE, "authentication unavailable", EACCES),
    PHRASE(VIR_ERR_NO_SERVER, "Server not found", ENOENT),
    PHRASE(VIR_ERR_NO_CLIENT, "Client not found", ENOENT),
    PHRASE(VIR_ERR_AGENT_UNSYNCED, "guest agent replied with wrong id to guest-sync command",
           EPROTO),
    PHRASE(VIR_ERR_LIBSSH, "libssh transport error", EPROTO),
    PHRASE(VIR_ERR_DEVICE_MISSING, "device not found", ENODEV),
    PHRASE(VIR_ERR_INVALID_NWFILTER_BINDING, "Invalid network filter binding", EINVAL),
    PHRASE(VIR_ERR_NO_NWFILTER_BINDING, "Network filter binding not found", ENOENT),
    PHRASE(VIR_ERR_INVALID_DOMAIN_CHECKPOINT, "Invalid domain checkpoint", EINVAL),
    PHRASE(VIR_ERR_NO_DOMAIN_CHECKPOINT, "Domain checkpoint not found", ENOENT),
    PHRASE(VIR_ERR_NO_DOMAIN_BACKUP, "Domain backup job id not found", ENOENT),
    PHRASE(VIR_ERR_INVALID_NETWORK_PORT, "Invalid network port pointer", EINVAL),
    PHRASE_AROUND(VIR_ERR_NETWORK_PORT_EXIST, "this network port exists already", "network port ",
                  " exists already", EEXIST),
    PHRASE(VIR_ERR_NO_NETWORK_PORT, "network port not found", ENOENT),
    PHRASE(VIR_ERR_NO_HOSTNAME, "no hostname found", ENOENT),
    PHRASE(VIR_ERR_CHECKPOINT_INCONSISTENT, "checkpoint inconsistent", EIO),
    PHRASE(VIR_ERR_MULTIPLE_DOMAINS, "multiple matching domains found", EEXIST),
};

static const struct phrase *phrase_of(int vir_code)
{
    bool known = vir_code > 0 && vir_code < (int)ARRAY_SIZE(phrases) && phrases[vir_code].bare;
    return &phrases[known ? vir_code : VIR_ERR_INTERNAL_ERROR];
}

__attribute__((format(printf, 4, 0))) static int api_fill(struct kv_error *err, int from,
                                                          int vir_code, const char *fmt, va_list ap)
{
    const struct phrase *p = phrase_of(vir_code);
    if (!err)
        return -p->error;
    char detail[sizeof(err->message)]; /* err's old message may be among the arguments */
    detail[0] = '\0';
    if (fmt)
        vsnprintf(detail, sizeof(detail), fmt, ap);
    /* The precision only says to the compiler what snprintf() does anyway: cut. */
    int room = (int)sizeof(detail) - 1;
    if (fmt)
        snprintf(err->message, sizeof(err->message), "%s%.*s%s", p->before, room, detail, p->after);
    else
        snprintf(err->message, sizeof(err->message), "%s", p->bare);
    err->code = vir_code;
    err->domain = KV_ERR_API;
    err->from = from;
    return -p->error;
}

int api_error(struct kv_error *err, int vir_code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = api_fill(err, VIR_FROM_QEMU, vir_code, fmt, ap);
    va_end(ap);
    return r;
}

int api_error_from(struct kv_error *err, int from, int vir_code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = api_fill(err, from, vir_code, fmt, ap);
    va_end(ap);
    return r;
}

int api_error_code(const struct kv_error *err)
{
    switch (err->domain) {
    case KV_ERR_API:
        return err->code;
    case KV_ERR_BASE:
        return err->code == ENOMEM ? VIR_ERR_NO_MEMORY : VIR_ERR_SYSTEM_ERROR;
    default:
        return err->code == ENOMEM ? VIR_ERR_NO_MEMORY : VIR_ERR_INTERNAL_ERROR;
    }
}

int api_error_convert(struct kv_error *err)
{
    int code = api_error_code(err);
    if (err->domain == KV_ERR_API)
        return -phrase_of(code)->error;
    int error = err->code;
    api_error(err, code, "%s", err->message);
    return error > 0 ? -error : -EIO;
}
