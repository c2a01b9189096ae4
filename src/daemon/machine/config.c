/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a domain's document to the monitor's configuration: the machine itself
 * and its small devices. Options have the names of kvasir-vmm's own
 * (vmm/options/settings.c and the devices' tables).
 */
#include "daemon/machine/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "daemon/machine/nvram.h"
#include "daemon/machine/tpm.h"
#include "model/api_error.h"
#include "model/host.h"

void config_set_text(json_t *options, const char *name, const char *value)
{
    if (value)
        json_object_set_new(options, name, json_string(value));
}

void config_set_number(json_t *options, const char *name, uint64_t value)
{
    if (value)
        json_object_set_new(options, name, json_integer((json_int_t)value));
}

void config_set_iothread(json_t *options, const struct model_domain *domain, unsigned id)
{
    config_set_number(options, "iothread", model_domain_find_iothread(domain, id));
}

void config_set_slot(json_t *options, const struct model_device *device)
{
    if (device->slot > 0)
        config_set_number(options, "slot", (uint64_t)device->slot);
}

static json_t *kibibytes(uint64_t kib)
{
    return json_integer((json_int_t)(ALIGN_UP(kib, 1024u) * 1024u));
}

/* ---------------------------------------------------------------- the machine */

static int set_memory(struct plan *plan, const struct model_domain *domain, struct kv_error *err)
{
    const struct model_memory_backing *backing = &domain->memory_backing;
    json_t *memory = json_pack("{s:o}", "size", kibibytes(domain->memory_kib));
    if (backing->locked)
        json_object_set_new(memory, "lock", json_true());
    if (backing->prealloc)
        json_object_set_new(memory, "prealloc", json_true());
    if (backing->hugepages)
        config_set_text(memory, "hugepages", "explicit");
    if (backing->hugepages && backing->hugepage_kib)
        json_object_set_new(memory, "hugepage-size",
                            json_integer((json_int_t)backing->hugepage_kib * 1024));
    if (domain->numatune_nodeset) {
        const char *mode = domain->numatune_mode ? domain->numatune_mode : "strict";
        config_set_text(memory, "host-nodes", domain->numatune_nodeset);
        config_set_text(memory, "policy", strcmp(mode, "strict") == 0 ? "bind" : mode);
    }
    return plan_set(plan, "memory", memory, err);
}

static int set_cpus(struct plan *plan, const struct model_domain *domain, struct kv_error *err)
{
    json_t *cpus =
        json_pack("{s:i, s:i}", "count", (int)domain->vcpus_fixed, "max", (int)domain->vcpus_max);
    if (domain->sockets) {
        config_set_number(cpus, "sockets", domain->sockets);
        config_set_number(cpus, "dies", MAX(domain->dies, 1u));
        config_set_number(cpus, "cores", domain->cores);
        config_set_number(cpus, "threads", domain->threads);
    }
    int rc = plan_set(plan, "cpus", cpus, err);
    for (unsigned i = 0; rc == 0 && i < domain->numa_count; i++)
        rc = plan_add(plan, "numa",
                      json_pack("{s:s, s:o}", "cpus", domain->numa[i].cpus, "memory",
                                kibibytes(domain->numa[i].memory_kib)),
                      err);
    return rc;
}

static int set_hyperv(struct plan *plan, const struct model_domain *domain, struct kv_error *err)
{
    const struct model_hyperv *h = &domain->hyperv;
    const struct {
        const char *option;
        bool on;
    } rows[] = {
        {"passthrough", h->passthrough},
        {"relaxed", h->relaxed},
        {"vapic", h->vapic},
        {"vpindex", h->vpindex},
        {"runtime", h->runtime},
        {"time", h->time},
        {"synic", h->synic},
        {"stimer", h->stimer},
        {"stimer-direct", h->stimer_direct},
        {"reset", h->reset},
        {"frequencies", h->frequencies},
        {"reenlightenment", h->reenlightenment},
        {"tlbflush", h->tlbflush},
        {"ipi", h->ipi},
        {"crash", h->crash},
    };
    json_t *options = json_object();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].on)
            json_object_set_new(options, rows[i].option, json_true());
    }
    if (h->spinlocks)
        config_set_number(options, "spinlocks", h->spinlocks);
    if (h->vendor_id)
        config_set_text(options, "vendor-id", h->vendor_id);
    if (json_object_size(options))
        return plan_set(plan, "hyperv", options, err);
    json_decref(options);
    return 0;
}

static int set_rtc(struct plan *plan, const struct model_domain *domain, struct kv_error *err)
{
    const struct model_clock *clock = &domain->clock;
    int64_t offset = clock->absolute ? clock->start - (int64_t)time(NULL) : clock->adjustment;
    json_t *rtc = json_pack("{s:s, s:I}", "base", clock->localtime ? "localtime" : "utc", "offset",
                            (json_int_t)offset);
    if (clock->timezone)
        config_set_text(rtc, "timezone", clock->timezone);
    return plan_set(plan, "rtc", rtc, err);
}

int config_open_file(struct plan *plan, const char *what, const char *path, json_t **out,
                     struct kv_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "%s '%s'", what, path);
    *out = plan_fd_text(plan, fd, err);
    return *out ? 0 : -ENOMEM;
}

static int set_boot_file(struct plan *plan, const char *option, const char *path,
                         struct kv_error *err)
{
    json_t *text = NULL;
    int rc = path ? config_open_file(plan, option, path, &text, err) : 0;
    return rc < 0 || !path ? rc : plan_set(plan, option, text, err);
}

static int set_firmware(struct plan *plan, const struct machine_start *start, struct kv_error *err)
{
    const struct model_domain *domain = start->domain;
    const char *path = domain->loader ? domain->loader : model_host_bios();
    if (!path)
        return api_error(err, VIR_ERR_OPERATION_FAILED,
                         "no BIOS image was found to boot domain '%s' with; package seabios has "
                         "one, and <loader> names another",
                         domain->name);
    int rc = set_boot_file(plan, "firmware", path, err);
    if (rc < 0 || !domain->nvram)
        return rc;
    int fd = nvram_open(domain, start->reset_nvram, err);
    return fd < 0 ? fd : plan_set(plan, "nvram", plan_fd_text(plan, fd, err), err);
}

/* Which of <boot dev> names the first device of a kind, 1 first; 0: none. */
static unsigned boot_place(const struct model_domain *domain, enum model_boot kind)
{
    for (unsigned i = 0; i < domain->boot_count; i++) {
        if (domain->boots[i] == kind)
            return i + 1;
    }
    return 0;
}

/* When the firmware tries to boot from a disk, 1 first; 0: not said. As with libvirt, <boot
 * dev='hd'/> is the first disk, and 'cdrom' the first CD-ROM. */
static unsigned disk_boot_index(const struct model_domain *domain, unsigned disk)
{
    bool cdrom = domain->disks[disk].cdrom, first = true;
    unsigned order = domain->disks[disk].device.boot_order;
    for (unsigned i = 0; i < disk; i++)
        first &= domain->disks[i].cdrom != cdrom;
    if (!order && first)
        order = boot_place(domain, cdrom ? MODEL_BOOT_CDROM : MODEL_BOOT_DISK);
    return domain->kernel ? 0 : order;
}

/* Likewise; 'network' is the first interface. */
static unsigned nic_boot_index(const struct model_domain *domain, unsigned nic)
{
    unsigned order = domain->nics[nic].device.boot_order;
    if (!order && nic == 0)
        order = boot_place(domain, MODEL_BOOT_NETWORK);
    return domain->kernel ? 0 : order;
}

static int set_boot(struct plan *plan, const struct machine_start *start, struct kv_error *err)
{
    const struct model_domain *domain = start->domain;
    if (!domain->kernel)
        return set_firmware(plan, start, err);
    int rc = set_boot_file(plan, "kernel", domain->kernel, err);
    if (rc == 0)
        rc = set_boot_file(plan, "initrd", domain->initrd, err);
    if (rc == 0 && domain->cmdline)
        rc = plan_set(plan, "cmdline", json_string(domain->cmdline), err);
    return rc;
}

static int set_actions(struct plan *plan, const struct model_domain *domain, struct kv_error *err)
{
    unsigned *lifecycle = plan->machine->lifecycle;
    lifecycle[VIR_DOMAIN_LIFECYCLE_POWEROFF] = (unsigned)domain->on_poweroff;
    lifecycle[VIR_DOMAIN_LIFECYCLE_REBOOT] = (unsigned)domain->on_reboot;
    lifecycle[VIR_DOMAIN_LIFECYCLE_CRASH] = (unsigned)domain->on_crash;
    json_t *words = machine_lifecycle_options(lifecycle);
    bool keep = strcmp(json_string_value(json_object_get(words, "shutdown")), "pause") == 0;
    bool ends = strcmp(json_string_value(json_object_get(words, "reboot")), "shutdown") == 0;
    json_object_set_new(
        plan->record.json, "lifecycle",
        json_pack("[i, i, i]", (int)lifecycle[0], (int)lifecycle[1], (int)lifecycle[2]));
    int rc = plan_set(plan, "no-shutdown", json_boolean(keep), err);
    if (rc == 0)
        rc = plan_set(plan, "no-reboot", json_boolean(ends), err);
    if (rc == 0)
        rc = plan_set(plan, "on-panic", json_incref(json_object_get(words, "panic")), err);
    json_decref(words);
    return rc;
}

static int set_machine(struct plan *plan, const struct machine_start *start, struct kv_error *err)
{
    const struct model_domain *domain = start->domain;
    int rc = plan_set(plan, "name", json_string(domain->name), err);
    if (rc == 0)
        rc = plan_set(plan, "uuid", json_string(domain->uuid_text), err);
    if (rc == 0 && domain->genid && *domain->genid)
        rc = plan_set(plan, "vmgenid", json_string(domain->genid), err);
    if (rc == 0)
        rc = plan_set(plan, "hotplug", json_true(), err);
    if (rc == 0 && domain->iothreads)
        rc = plan_set(plan, "iothreads", json_integer(domain->iothreads), err);
    if (rc == 0)
        rc = set_memory(plan, domain, err);
    if (rc == 0)
        rc = set_cpus(plan, domain, err);
    if (rc == 0)
        rc = set_hyperv(plan, domain, err);
    if (rc == 0)
        rc = set_rtc(plan, domain, err);
    if (rc == 0)
        rc = set_boot(plan, start, err);
    if (rc == 0)
        rc = config_add_smbios(plan, domain, err);
    return rc < 0 ? rc : set_actions(plan, domain, err);
}

/* -------------------------------------------------------------- small devices */

static int add_rng(struct plan *plan, const struct model_rng *rng, struct kv_error *err)
{
    json_t *options = json_object();
    config_set_text(options, "id", rng->device.alias);
    config_set_slot(options, &rng->device);
    config_set_number(options, "max-bytes", rng->bytes);
    if (rng->bytes)
        config_set_number(options, "period", rng->period);
    if (rng->path) {
        int fd = open(rng->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        int rc = fd < 0 ? kv_error_errno(err, KV_ERR_CONTROL, errno, "rng source '%s'", rng->path)
                        : plan_add_fd(plan, fd, err);
        if (rc < 0) {
            json_decref(options);
            return rc;
        }
        json_object_set_new(options, "fd", json_integer(fd));
    }
    return plan_add(plan, "rng", options, err);
}

static int add_balloon(struct plan *plan, const struct model_memballoon *balloon,
                       struct kv_error *err)
{
    if (!balloon || balloon->none)
        return 0;
    const char *alias = balloon->device.alias ? balloon->device.alias : "balloon0";
    json_t *options = json_pack("{s:s}", "id", alias);
    config_set_slot(options, &balloon->device);
    config_set_number(options, "stats-interval", balloon->stats_period);
    if (balloon->autodeflate == MODEL_SWITCH_ON)
        json_object_set_new(options, "deflate-on-oom", json_true());
    if (balloon->free_page_reporting == MODEL_SWITCH_ON)
        json_object_set_new(options, "free-page-reporting", json_true());
    json_object_set_new(plan->record.json, "balloon", json_string(alias));
    return plan_add(plan, "balloon", options, err);
}

#define CID_FIRST 3 /* those below have a meaning of their own */
#define CID_LAST 65535

static bool cid_is_taken(struct machine_host *host, const struct machine *but, unsigned cid)
{
    bool taken = false;
    pthread_mutex_lock(&host->lock);
    list_for_each (pos, &host->machines)
        taken |= list_entry(pos, struct machine, node) != but &&
                 list_entry(pos, struct machine, node)->cid == cid;
    pthread_mutex_unlock(&host->lock);
    return taken;
}

/* Sockets of the host's programs: UUID.vsock, and UUID.vsock_PORT for what the guest calls. */
static int add_vsock(struct plan *plan, struct model_domain *domain, struct kv_error *err)
{
    char path[512];
    const struct model_vsock *vsock = domain->vsock;
    if (!vsock)
        return 0;
    unsigned cid = vsock->cid;
    for (unsigned n = CID_FIRST; vsock->automatic && !cid && n < CID_LAST; n++)
        cid = cid_is_taken(plan->host, plan->machine, n) ? 0 : n;
    if (!cid || cid_is_taken(plan->host, plan->machine, cid))
        return api_error(err, VIR_ERR_OPERATION_FAILED, "vsock guest cid %u is already in use",
                         cid);
    plan->machine->cid = cid;
    json_object_set_new(plan->record.json, "cid", json_integer(cid));
    snprintf(path, sizeof(path), "%s/%s.vsock", plan->host->run_dir, plan->uuid);
    int fd = plan_listen(plan, path, err);
    if (fd < 0)
        return fd;
    json_t *options = json_pack("{s:i, s:s, s:i}", "guest-cid", (int)cid, "path", path, "fd", fd);
    config_set_text(options, "id", vsock->device.alias);
    config_set_slot(options, &vsock->device);
    int rc = plan_add_fd(plan, fd, err);
    if (rc == 0)
        rc = plan_add(plan, "vsock", options, err);
    else
        json_decref(options);
    return rc < 0 || !vsock->automatic ? rc : model_vsock_set_cid(domain, cid);
}

/* For a dump the machine stands still, until its owner wrote it. */
static int add_watchdog(struct plan *plan, const struct model_watchdog *watchdog,
                        struct kv_error *err)
{
    if (!watchdog)
        return 0;
    bool dump = strcmp(watchdog->action, "dump") == 0;
    json_t *options = json_pack("{s:s}", "action", dump ? "pause" : watchdog->action);
    config_set_text(options, "id", watchdog->device.alias);
    config_set_slot(options, &watchdog->device);
    return plan_add(plan, "watchdog", options, err);
}

/* Those that are devices of their own; consoles bring theirs along. */
static int add_controller(struct plan *plan, const struct model_domain *domain,
                          const struct model_controller *controller, struct kv_error *err)
{
    if (!controller->real)
        return 0;
    json_t *options = json_sprintf("%s%u", controller->type, controller->index);
    options = json_pack("{s:o}", "id", options);
    config_set_slot(options, &controller->device);
    config_set_number(options, "cmd-per-lun", controller->cmd_per_lun);
    config_set_number(options, "max-sectors", controller->max_sectors);
    config_set_iothread(options, domain, controller->iothread);
    if (strcmp(controller->type, "usb") == 0)
        config_set_text(options, "model", controller->model);
    config_set_text(options, "serial", controller->serial);
    return plan_add(plan, controller->type, options, err);
}

int config_add_device(struct plan *plan, const struct machine_start *start,
                      struct model_device *device, struct kv_error *err)
{
    switch (device->kind) {
    case MODEL_DISK:
        return config_add_disk(plan, start, (const struct model_disk *)device, 0, err);
    case MODEL_NIC:
        return config_add_nic(plan, start->domain, (struct model_nic *)device, 0, err);
    case MODEL_RNG:
        return add_rng(plan, (const struct model_rng *)device, err);
    default:
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "device '%s' cannot be added alone",
                         device->alias);
    }
}

int plan_configure(struct plan *plan, const struct machine_start *start, struct kv_error *err)
{
    struct model_domain *domain = start->domain;
    int rc = set_machine(plan, start, err);
    if (rc == 0)
        rc = config_add_chardevs(plan, domain, err);
    if (rc == 0)
        rc = config_add_screen(plan, domain, err);
    for (unsigned i = 0; rc == 0 && i < domain->controller_count; i++)
        rc = add_controller(plan, domain, &domain->controllers[i], err);
    if (rc == 0)
        rc = config_add_inputs(plan, domain, err);
    for (unsigned i = 0; rc == 0 && i < domain->disk_count; i++)
        rc = config_add_disk(plan, start, &domain->disks[i], disk_boot_index(domain, i), err);
    for (unsigned i = 0; rc == 0 && i < domain->nic_count; i++)
        rc = config_add_nic(plan, domain, &domain->nics[i], nic_boot_index(domain, i), err);
    for (unsigned i = 0; rc == 0 && i < domain->rng_count; i++)
        rc = add_rng(plan, &domain->rngs[i], err);
    if (rc == 0)
        rc = add_vsock(plan, domain, err);
    if (rc == 0)
        rc = add_watchdog(plan, domain->watchdog, err);
    if (rc == 0)
        rc = config_add_tpm(plan, domain, err);
    return rc < 0 ? rc : add_balloon(plan, domain->memballoon, err);
}
