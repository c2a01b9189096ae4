/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether one definition may take another one's place. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"
#include "model/uuid.h"

int model_domain_check_identity(const struct model_domain *definition, const char *name,
                                const uint8_t uuid[16], struct kv_error *err)
{
    bool same_uuid = uuid && memcmp(uuid, definition->uuid, 16) == 0;
    bool same_name = name && strcmp(name, definition->name) == 0;
    if (same_uuid && name && !same_name)
        return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_OPERATION_FAILED,
                              "domain '%s' is already defined with uuid %s", name,
                              definition->uuid_text);
    if (same_name && uuid && !same_uuid) {
        char text[UUID_TEXT];
        uuid_format(uuid, text);
        return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_OPERATION_FAILED,
                              "domain '%s' already exists with uuid %s", definition->name, text);
    }
    return 0;
}

/* ---------------------------------------------------------------------- ABI */

static int differs(struct kv_error *err, const char *what, const char *to, const char *from)
{
    return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_CONFIG_UNSUPPORTED,
                          "Target %s %s does not match source %s", what, to, from);
}

static int check_number(struct kv_error *err, const char *what, uint64_t from, uint64_t to)
{
    char text[2][24];
    snprintf(text[0], sizeof(text[0]), "%ju", (uintmax_t)to);
    snprintf(text[1], sizeof(text[1]), "%ju", (uintmax_t)from);
    return from == to ? 0 : differs(err, what, text[0], text[1]);
}

static int check_text(struct kv_error *err, const char *what, const char *from, const char *to)
{
    from = from ? from : "";
    to = to ? to : "";
    return strcmp(from, to) == 0 ? 0 : differs(err, what, to, from);
}

static int check_slots(const struct model_domain *from, const struct model_domain *to,
                       struct kv_error *err)
{
    for (unsigned i = 0; i < from->device_count; i++) {
        const struct model_device *a = from->devices[i], *b = to->devices[i];
        if (a->kind != b->kind || a->slot != b->slot)
            return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_CONFIG_UNSUPPORTED,
                                  "Target device %s in PCI slot %d does not match source %s in "
                                  "slot %d",
                                  xml_name(b->node), b->slot, xml_name(a->node), a->slot);
    }
    return 0;
}

static int check_nics(const struct model_domain *from, const struct model_domain *to,
                      struct kv_error *err)
{
    for (unsigned i = 0; i < from->nic_count; i++) {
        if (memcmp(from->nics[i].mac, to->nics[i].mac, 6) != 0)
            return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_CONFIG_UNSUPPORTED,
                                  "Target network card %u has another mac address than the source",
                                  i);
    }
    return 0;
}

int model_domain_check_abi(const struct model_domain *from, const struct model_domain *to,
                           struct kv_error *err)
{
    const struct {
        const char *what;
        uint64_t from, to;
    } numbers[] = {
        {"domain memory", from->memory_kib, to->memory_kib},
        {"domain vCPU max", from->vcpus_max, to->vcpus_max},
        {"domain disk count", from->disk_count, to->disk_count},
        {"domain net card count", from->nic_count, to->nic_count},
        {"domain serial port count", from->serial_count, to->serial_count},
        {"domain console count", from->console_count, to->console_count},
        {"domain channel count", from->channel_count, to->channel_count},
        {"domain RNG device count", from->rng_count, to->rng_count},
        {"domain device count", from->device_count, to->device_count},
        {"CPU sockets", from->sockets, to->sockets},
        {"CPU cores", from->cores, to->cores},
        {"CPU threads", from->threads, to->threads},
    };
    int ret = check_text(err, "domain uuid", from->uuid_text, to->uuid_text);
    if (ret == 0)
        ret = check_text(err, "domain name", from->name, to->name);
    if (ret == 0)
        ret = check_text(err, "domain OS type machine", from->machine, to->machine);
    if (ret == 0)
        ret = check_text(err, "CPU mode", from->cpu_mode, to->cpu_mode);
    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(numbers); i++)
        ret = check_number(err, numbers[i].what, numbers[i].from, numbers[i].to);
    for (unsigned i = 0; ret == 0 && i < from->disk_count; i++) {
        ret = check_text(err, "disk", from->disks[i].target, to->disks[i].target);
        if (ret == 0)
            ret = check_text(err, "disk serial", from->disks[i].serial, to->disks[i].serial);
    }
    if (ret == 0)
        ret = check_nics(from, to, err);
    return ret < 0 ? ret : check_slots(from, to, err);
}
