/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's configuration: defaults, and what can only be judged with all
 * options known. Everything that is left to choose is chosen here.
 */
#include "vmm/machine/config.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "vmm/device.h"
#include "vmm/x86/hyperv.h"

#define MEMORY_DEFAULT MIB(512)
#define MEMORY_MIN MIB(2)
#define MEMORY_MAX (GIB(1024) * 16)
#define VCPUS_MAX 254
#define NAME_MAX_BYTES 255
#define FDS_MAX 256
#define ZONEINFO "/usr/share/zoneinfo"

static const char *const hugepage_names[] = {
    [HUGEPAGES_TRANSPARENT] = "transparent",
    [HUGEPAGES_OFF] = "off",
    [HUGEPAGES_EXPLICIT] = "explicit",
    NULL,
};
const char *const memory_policy_names[] = {
    [MEMORY_POLICY_DEFAULT] = "default",
    [MEMORY_POLICY_BIND] = "bind",
    [MEMORY_POLICY_INTERLEAVE] = "interleave",
    [MEMORY_POLICY_PREFERRED] = "preferred",
    NULL,
};
const char *const panic_action_names[] = {
    [PANIC_SHUTDOWN] = "shutdown",
    [PANIC_PAUSE] = "pause",
    [PANIC_NONE] = "none",
    NULL,
};

const struct option_spec memory_config_options[] = {
    OPTION(SIZE, struct memory_config, size, .help = "bytes; multiple of 1M (default 512M)"),
    OPTION(BOOL, struct memory_config, prealloc, .help = "touch all pages before the start"),
    OPTION(BOOL, struct memory_config, lock, .help = "and keep them from being swapped out"),
    OPTION(ENUM, struct memory_config, hugepages, .values = hugepage_names,
           .help = "default transparent"),
    OPTION_NAMED("hugepage-size", SIZE, struct memory_config, hugepage_size,
                 .help = "2M or 1G, with hugepages=explicit (default 2M)"),
    OPTION(BOOL, struct memory_config, shared, .help = "always on: others can map the memory"),
    OPTION_NAMED("host-nodes", STRING, struct memory_config, host_nodes,
                 .help = "NUMA nodes of the host, such as 0-1,3; needs policy"),
    OPTION(ENUM, struct memory_config, policy, .values = memory_policy_names,
           .help = "how host-nodes are used"),
    OPTION_END,
};

const struct option_spec cpus_config_options[] = {
    OPTION(UINT, struct cpus_config, count, .min = 1, .max = VCPUS_MAX,
           .help = "1 to 254 (default: the product of the others)"),
    OPTION(UINT, struct cpus_config, max, .min = 1, .max = VCPUS_MAX,
           .help = "with those that are plugged later (default: count)"),
    OPTION(UINT, struct cpus_config, sockets, .min = 1, .max = VCPUS_MAX),
    OPTION(UINT, struct cpus_config, dies, .min = 1, .max = VCPUS_MAX, .help = "in a socket"),
    OPTION(UINT, struct cpus_config, cores, .min = 1, .max = VCPUS_MAX, .help = "in a die"),
    OPTION(UINT, struct cpus_config, threads, .min = 1, .max = VCPUS_MAX, .help = "in a core"),
    OPTION_END,
};

static const char *const rtc_base_names[] = {
    [RTC_UTC] = "utc",
    [RTC_LOCALTIME] = "localtime",
    NULL,
};

const struct option_spec rtc_config_options[] = {
    OPTION(ENUM, struct rtc_config, base, .values = rtc_base_names,
           .help = "default utc; localtime: by TZ, or the host's"),
    OPTION(STRING, struct rtc_config, timezone, .help = "such as Europe/Paris: its local time"),
    OPTION(INT, struct rtc_config, offset, .max = UINT64_C(1) << 36,
           .help = "seconds that are added (default 0)"),
    OPTION_END,
};

#define HYPERV(field_, ...) OPTION(BOOL, struct hyperv_config, field_, ##__VA_ARGS__)
const struct option_spec hyperv_config_options[] = {
    HYPERV(passthrough, .help = "all that this host's KVM has"),
    HYPERV(relaxed, .help = "no watchdogs of the guest against itself"),
    HYPERV(vapic, .help = "APIC by MSRs"),
    OPTION(UINT, struct hyperv_config, spinlocks, .min = 4095, .max = UINT32_MAX,
           .help = "tries before a spinning vCPU gives way"),
    HYPERV(vpindex, .help = "the vCPU's number by MSR"),
    HYPERV(runtime, .help = "time that a vCPU ran, by MSR"),
    HYPERV(time, .help = "clock and time-stamp page"),
    HYPERV(synic, .help = "interrupt controller; needs vpindex"),
    HYPERV(stimer, .help = "timers; needs synic and time"),
    OPTION_NAMED("stimer-direct", BOOL, struct hyperv_config, stimer_direct,
                 .help = "timers that interrupt directly; needs stimer"),
    HYPERV(reset, .help = "reset by MSR"),
    HYPERV(frequencies, .help = "of time-stamp counter and APIC, by MSR"),
    HYPERV(reenlightenment, .help = "notice of a changed time-stamp counter; needs time"),
    HYPERV(tlbflush, .help = "flushes by hypercall; needs vpindex"),
    HYPERV(ipi, .help = "interrupts between vCPUs by hypercall; needs vpindex"),
    HYPERV(crash, .help = "a blue screen's numbers, by MSR"),
    OPTION_NAMED("vendor-id", STRING, struct hyperv_config, vendor_id,
                 .help = "1 to 12 bytes (default 'Microsoft Hv')"),
    OPTION_END,
};

const struct option_spec numa_config_options[] = {
    OPTION(STRING, struct numa_config, cpus, .required = true, .help = "vCPUs, such as 0-1,4"),
    OPTION(SIZE, struct numa_config, memory, .required = true, .help = "multiple of 1M"),
    OPTION_END,
};

void machine_config_init(struct machine_config *config)
{
    *config = (struct machine_config){
        .memory.size = MEMORY_DEFAULT,
        .memory.shared = true,
        .firmware_fd = -1,
        .nvram_fd = -1,
        .kernel_fd = -1,
        .initrd_fd = -1,
        .kvm_fd = -1,
        .iothreads = 1,
        .jail = true,
    };
}

void machine_config_free(struct machine_config *config)
{
    char *strings[] = {config->name,
                       config->uuid,
                       config->memory.host_nodes,
                       config->kernel,
                       config->initrd,
                       config->cmdline,
                       config->vmgenid,
                       config->firmware,
                       config->nvram,
                       config->hyperv.vendor_id,
                       config->rtc.timezone};
    for (unsigned i = 0; i < ARRAY_SIZE(strings); i++)
        free(strings[i]);
    for (unsigned i = 0; i < config->numa_count; i++)
        free(config->numa[i].cpus);
    for (unsigned i = 0; i < config->device_count; i++) {
        options_free(config->devices[i].class->options, config->devices[i].config);
        free(config->devices[i].config);
    }
    free(config->devices);
    machine_config_init(config);
}

bool machine_config_has(const struct machine_config *config, const char *option)
{
    for (unsigned i = 0; i < config->device_count; i++) {
        if (strcmp(config->devices[i].class->option, option) == 0)
            return true;
    }
    return false;
}

int machine_config_add_device(struct machine_config *config, const struct device_class *class,
                              void *device, struct kv_error *err)
{
    unsigned same = 0;
    for (unsigned i = 0; i < config->device_count; i++)
        same += config->devices[i].class == class;
    struct device_config *grown = NULL;
    int rc = 0;
    if (class->max && same >= class->max)
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL, "--%s: at most %u can be given",
                          class->option, class->max);
    else
        grown = realloc(config->devices, (config->device_count + 1) * sizeof(*grown));
    if (!grown) {
        options_free(class->options, device);
        free(device);
        return rc ? rc : kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "out of memory");
    }
    config->devices = grown;
    config->devices[config->device_count++] =
        (struct device_config){.class = class, .config = device};
    return 0;
}

static int refuse(struct kv_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct kv_error *err, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s", text);
}

static int check_memory(struct memory_config *memory, struct kv_error *err)
{
    uint64_t nodes[16], page = memory->hugepage_size;
    if (memory->size < MEMORY_MIN || memory->size > MEMORY_MAX || memory->size % MIB(1))
        return refuse(err,
                      "--memory: size %" PRIu64 " is not possible; accepted: multiples of 1M from "
                      "2M to 16T",
                      memory->size);
    if (page && memory->hugepages != HUGEPAGES_EXPLICIT)
        return refuse(err, "--memory: hugepage-size needs hugepages=explicit");
    if (memory->hugepages == HUGEPAGES_EXPLICIT) {
        if (!page)
            page = memory->hugepage_size = MIB(2);
        if (page != MIB(2) && page != GIB(1))
            return refuse(err,
                          "--memory: hugepage-size %" PRIu64 " is not possible; accepted: "
                          "2M, 1G",
                          page);
        if (memory->size % page)
            return refuse(err,
                          "--memory: size %" PRIu64 " is no multiple of the huge pages' %" PRIu64,
                          memory->size, page);
    }
    if (!memory->shared)
        return refuse(err, "--memory: shared=off is not possible: memory is always shared");
    if (memory->host_nodes && memory->policy == MEMORY_POLICY_DEFAULT)
        return refuse(err, "--memory: host-nodes needs policy=bind, interleave or preferred");
    if (!memory->host_nodes && memory->policy != MEMORY_POLICY_DEFAULT)
        return refuse(err, "--memory: policy=%s needs host-nodes",
                      memory_policy_names[memory->policy]);
    if (memory->host_nodes &&
        (!*memory->host_nodes || parse_bitmap(memory->host_nodes, nodes, ARRAY_SIZE(nodes)) < 0))
        return refuse(err, "--memory: host-nodes '%s' is no list of nodes such as 0-1,3",
                      memory->host_nodes);
    return 0;
}

/* What is not given is 1, except that the first missing of cores, sockets, threads, dies makes
 * the product right. */
static int choose_topology(struct cpus_config *cpus, struct kv_error *err)
{
    uint64_t *order[] = {&cpus->cores, &cpus->sockets, &cpus->threads, &cpus->dies};
    uint64_t product = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        product *= MAX(*order[i], UINT64_C(1));
    if (!cpus->max)
        cpus->max = cpus->count ? cpus->count : product;
    if (!cpus->count)
        cpus->count = cpus->max;
    if (cpus->max > VCPUS_MAX)
        return refuse(err, "--cpus: %" PRIu64 " are not possible; accepted: 1 to %d", cpus->max,
                      VCPUS_MAX);
    if (cpus->count > cpus->max)
        return refuse(err, "--cpus: count %" PRIu64 " is more than max %" PRIu64, cpus->count,
                      cpus->max);
    uint64_t missing = cpus->max / product;
    bool fits = cpus->max % product == 0;
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
        if (*order[i])
            continue;
        *order[i] = fits ? missing : 1;
        missing = 1;
    }
    if (!fits || missing != 1)
        return refuse(err,
                      "--cpus: %s %" PRIu64 " is not what the topology makes: %" PRIu64
                      " sockets x %" PRIu64 " dies x %" PRIu64 " cores x %" PRIu64 " threads",
                      cpus->max == cpus->count ? "count" : "max", cpus->max, cpus->sockets,
                      cpus->dies, cpus->cores, cpus->threads);
    return 0;
}

static int check_numa(const struct machine_config *config, struct kv_error *err)
{
    uint64_t all[4] = {0}, sum = 0;
    unsigned covered = 0;
    for (unsigned i = 0; i < config->numa_count; i++) {
        const struct numa_config *node = &config->numa[i];
        uint64_t set[4];
        if (!*node->cpus || parse_bitmap(node->cpus, set, ARRAY_SIZE(set)) < 0)
            return refuse(err, "--numa: cpus '%s' is no list of vCPUs such as 0-1,4", node->cpus);
        for (unsigned cpu = 0; cpu < 64 * ARRAY_SIZE(set); cpu++) {
            if (!(set[cpu / 64] & BIT(cpu % 64)))
                continue;
            if (cpu >= config->cpus.max)
                return refuse(err, "--numa: vCPU %u is not there; there are %" PRIu64, cpu,
                              config->cpus.max);
            if (all[cpu / 64] & BIT(cpu % 64))
                return refuse(err, "--numa: vCPU %u is in two nodes", cpu);
            all[cpu / 64] |= BIT(cpu % 64);
            covered++;
        }
        if (!node->memory || node->memory % MIB(1) ||
            __builtin_add_overflow(sum, node->memory, &sum))
            return refuse(err, "--numa: memory %" PRIu64 " of node %u is no multiple of 1M",
                          node->memory, i);
    }
    if (config->numa_count && sum != config->memory.size)
        return refuse(err,
                      "--numa: the nodes have %" PRIu64 " bytes together, --memory says %" PRIu64,
                      sum, config->memory.size);
    if (config->numa_count && covered != config->cpus.max)
        return refuse(err, "--numa: only %u of %" PRIu64 " vCPUs are in a node", covered,
                      config->cpus.max);
    return 0;
}

/* Local time minus UTC as it is now: what it does in summer is the guest's business. */
static int64_t local_offset_s(void)
{
    struct tm local = {0};
    time_t now = time(NULL);
    tzset();
    return localtime_r(&now, &local) ? local.tm_gmtoff : 0;
}

/* While there is one thread: the C library knows other time zones only as the process's own. */
static int resolve_rtc(struct rtc_config *rtc, struct kv_error *err)
{
    char path[PATH_MAX];
    const char *zone = rtc->timezone;
    if (zone) {
        snprintf(path, sizeof(path), ZONEINFO "/%s", zone);
        if (!*zone || *zone == '/' || strstr(zone, "..") || access(path, R_OK) < 0)
            return refuse(err, "--rtc: there is no time zone '%s' in " ZONEINFO, zone);
        cleanup_free char *own = getenv("TZ") ? strdup(getenv("TZ")) : NULL;
        setenv("TZ", zone, 1);
        rtc->offset += local_offset_s();
        if (own)
            setenv("TZ", own, 1);
        else
            unsetenv("TZ");
        tzset();
    } else if (rtc->base == RTC_LOCALTIME) {
        rtc->offset += local_offset_s();
    }
    free(rtc->timezone);
    rtc->timezone = NULL;
    rtc->base = RTC_UTC;
    return 0;
}

/* "fd:N" in place of a path: the number goes to *fd, the text away. */
static int take_image_fd(const char *option, char **path, int *fd, struct kv_error *err)
{
    uint64_t number;
    if (!*path || strncmp(*path, "fd:", 3) != 0)
        return 0;
    if (parse_u64(*path + 3, &number) < 0 || number > INT32_MAX)
        return refuse(err, "--%s: '%s' is neither a path nor fd:N with a descriptor's number",
                      option, *path);
    *fd = (int)number;
    free(*path);
    *path = NULL;
    return 0;
}

static int check_boot(struct machine_config *config, struct kv_error *err)
{
    int rc = take_image_fd("firmware", &config->firmware, &config->firmware_fd, err);
    if (rc == 0)
        rc = take_image_fd("nvram", &config->nvram, &config->nvram_fd, err);
    if (rc == 0)
        rc = take_image_fd("kernel", &config->kernel, &config->kernel_fd, err);
    if (rc == 0)
        rc = take_image_fd("initrd", &config->initrd, &config->initrd_fd, err);
    if (rc < 0)
        return rc;
    if ((config->nvram || config->nvram_fd >= 0) && !machine_boots_firmware(config))
        return refuse(err, "--nvram needs --firmware");
    if (config->kernel || config->kernel_fd >= 0) {
        if (machine_boots_firmware(config))
            return refuse(err, "--firmware and --kernel: a machine boots by one of them");
        return 0;
    }
    if (config->initrd || config->initrd_fd >= 0)
        return refuse(err, "--initrd needs --kernel");
    if (config->cmdline)
        return refuse(err, "--cmdline needs --kernel");
    if (machine_boots_firmware(config))
        return 0;
    return refuse(err, "there is nothing to boot; --kernel names a bzImage or an ELF kernel, "
                       "--firmware a BIOS or UEFI image");
}

static int check_identity(struct machine_config *config, struct kv_error *err)
{
    uint8_t bytes[16];
    if (config->name && (!*config->name || strlen(config->name) > NAME_MAX_BYTES))
        return refuse(err, "--name has %zu bytes; accepted: 1 to %d", strlen(config->name),
                      NAME_MAX_BYTES);
    for (const char *c = config->name; c && *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return refuse(err, "--name holds a control character");
    }
    if (config->uuid && parse_uuid(config->uuid, bytes) < 0)
        return refuse(err,
                      "--uuid: '%s' is no UUID such as "
                      "c7a5fdbd-edaf-9455-926a-d65c16db1809",
                      config->uuid);
    if (config->vmgenid && strcasecmp(config->vmgenid, "auto") != 0 &&
        parse_uuid(config->vmgenid, bytes) < 0)
        return refuse(err, "--vmgenid: '%s' is neither 'auto' nor a UUID", config->vmgenid);
    return 0;
}

/* Everything that can be given to one user only. */
struct claims {
    int fds[FDS_MAX];
    const char *owners[FDS_MAX];
    unsigned count;
    const char *stdio_owner;
};

static int claim_fd(struct claims *claims, int fd, const char *owner, struct kv_error *err)
{
    if (fd < 0)
        return 0;
    for (unsigned i = 0; i < claims->count; i++) {
        if (claims->fds[i] == fd)
            return refuse(err, "descriptor %d is given to both --%s and --%s", fd,
                          claims->owners[i], owner);
    }
    if (claims->count < FDS_MAX) {
        claims->fds[claims->count] = fd;
        claims->owners[claims->count++] = owner;
    }
    return 0;
}

static int claim_device(struct claims *claims, const struct device_config *device,
                        struct kv_error *err)
{
    const char *owner = device->class->option;
    for (const struct option_spec *spec = device->class->options; spec->name; spec++) {
        const void *field = (const char *)device->config + spec->offset;
        int rc = 0;
        if (spec->type == OPTION_FD)
            rc = claim_fd(claims, *(const int *)field, owner, err);
        if (rc < 0)
            return rc;
        const char *text = spec->type == OPTION_STRING ? *(char *const *)field : NULL;
        if (!text || strcmp(spec->name, "id") == 0 || strcmp(text, "stdio") != 0)
            continue;
        if (claims->stdio_owner)
            return refuse(err, "stdio is given to both --%s and --%s", claims->stdio_owner, owner);
        claims->stdio_owner = owner;
    }
    return 0;
}

static int check_claims(const struct machine_config *config, struct kv_error *err)
{
    struct claims claims = {.count = 0};
    int rc = claim_fd(&claims, config->firmware_fd, "firmware", err);
    if (rc == 0)
        rc = claim_fd(&claims, config->nvram_fd, "nvram", err);
    if (rc == 0)
        rc = claim_fd(&claims, config->kernel_fd, "kernel", err);
    if (rc == 0)
        rc = claim_fd(&claims, config->initrd_fd, "initrd", err);
    if (rc == 0)
        rc = claim_fd(&claims, config->kvm_fd, "kvm-fd", err);
    for (unsigned i = 0; rc == 0 && i < config->device_count; i++)
        rc = claim_device(&claims, &config->devices[i], err);
    return rc;
}

int machine_config_check(struct machine_config *config, struct kv_error *err)
{
    int rc = check_identity(config, err);
    if (rc == 0)
        rc = check_memory(&config->memory, err);
    if (rc == 0)
        rc = choose_topology(&config->cpus, err);
    if (rc == 0)
        rc = check_numa(config, err);
    if (rc == 0)
        rc = x86_hyperv_check(&config->hyperv, err);
    if (rc == 0)
        rc = resolve_rtc(&config->rtc, err);
    if (rc == 0)
        rc = check_boot(config, err);
    if (rc == 0)
        rc = check_claims(config, err);
    return rc;
}
