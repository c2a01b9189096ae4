/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS tables (DMTF DSP0134 3.0): the structures that describe a machine, in
 * the shape that guests know from QEMU's, with the texts that --smbios gives.
 * Firmware gets them through fw_cfg and places them; for kernels booted directly
 * they lie below 1 MiB. The BIOS's own structure (type 0) is left to firmware,
 * which has one, unless it is asked for.
 */
#include "vmm/x86/smbios.h"

#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"
#include "vmm/devices/classes.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/acpi_tables.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/layout.h"

#define MANUFACTURER "Kvasir"
#define PRODUCT "KVM virtual machine" /* the first word is what programs look for */
#define STRINGS_MAX 255
#define STRUCTURE_MAX 48
#define DIMM_MIB 16384u /* at least; so that there are no more than ... */
#define DIMMS_MAX 256u
#define DIMM_MIB_MAX 0x7fff /* in its old field */
#define TABLES_MAX (LAYOUT_SMBIOS_SIZE - SMBIOS_ANCHOR_SIZE - 8)

enum {
    BIOS = 0,
    SYSTEM = 1,
    BOARD = 2,
    CHASSIS = 3,
    PROCESSOR = 4,
    OEM_STRINGS = 11,
    MEMORY_ARRAY = 16,
    MEMORY_DEVICE = 17,
    MEMORY_MAPPED = 19,
    BOOT = 32,
    END = 127,
};
#define HANDLE(type) ((unsigned)(type) << 8)
#define NO_HANDLE 0xffff

/* The structure that is being written. */
struct structure {
    struct buffer *out;
    uint8_t bytes[STRUCTURE_MAX];
    unsigned len;
    const char *strings[STRINGS_MAX];
    unsigned string_count;
};

static void number(struct structure *s, uint64_t value, unsigned bytes)
{
    store_le(s->bytes + s->len, value, bytes);
    s->len += bytes;
}

/* Numbers that stand behind each other, of as many bytes each. */
static void numbers(struct structure *s, unsigned bytes, unsigned count, const uint16_t *values)
{
    for (unsigned i = 0; i < count; i++)
        number(s, values[i], bytes);
}
#define BYTES(s, ...) \
    numbers(s, 1, ARRAY_SIZE(((const uint16_t[]){__VA_ARGS__})), (const uint16_t[]){__VA_ARGS__})
#define WORDS(s, ...) \
    numbers(s, 2, ARRAY_SIZE(((const uint16_t[]){__VA_ARGS__})), (const uint16_t[]){__VA_ARGS__})

/* Number of a string (6.1.3), which has to live until the end of the structure; 0: none. */
static uint8_t add_string(struct structure *s, const char *text)
{
    if (!text || !*text || s->string_count == STRINGS_MAX)
        return 0;
    s->strings[s->string_count++] = text;
    return (uint8_t)s->string_count;
}

static void string(struct structure *s, const char *text)
{
    number(s, add_string(s, text), 1);
}

static struct structure begin(struct buffer *out, uint8_t type, unsigned handle)
{
    struct structure s = {.out = out};
    BYTES(&s, type, 0);
    number(&s, handle, 2);
    return s;
}

static int end(struct structure *s)
{
    static const uint8_t zeroes[2];
    s->bytes[1] = (uint8_t)s->len;
    int rc = buffer_append(s->out, s->bytes, s->len);
    for (unsigned i = 0; rc == 0 && i < s->string_count; i++)
        rc = buffer_append(s->out, s->strings[i], strlen(s->strings[i]) + 1);
    return rc < 0 ? rc : buffer_append(s->out, zeroes, s->string_count ? 1 : 2);
}

/* ---------------------------------------------------------------- what is asked for */

static const struct option_spec smbios_options[] = {
    OPTION(UINT, struct smbios_config, type, .required = true, .max = END,
           .help = "0 BIOS, 1 system, 2 board, 3 chassis, 11 a string for software in the guest"),
    OPTION(STRING, struct smbios_config, vendor, .help = "type 0"),
    OPTION(STRING, struct smbios_config, version, .help = "types 0 to 3"),
    OPTION(STRING, struct smbios_config, date, .help = "type 0: MM/DD/YYYY"),
    OPTION(STRING, struct smbios_config, release, .help = "type 0: MAJOR.MINOR"),
    OPTION(STRING, struct smbios_config, manufacturer, .help = "types 1 to 3"),
    OPTION(STRING, struct smbios_config, product, .help = "types 1 and 2"),
    OPTION(STRING, struct smbios_config, serial, .help = "types 1 to 3"),
    OPTION(STRING, struct smbios_config, asset, .help = "types 2 and 3"),
    OPTION(STRING, struct smbios_config, sku, .help = "types 1 and 3"),
    OPTION(STRING, struct smbios_config, family, .help = "type 1"),
    OPTION(STRING, struct smbios_config, location, .help = "type 2"),
    OPTION(STRING, struct smbios_config, value, .help = "type 11; the option is repeatable"),
    OPTION_END,
};

static const struct {
    uint8_t type;
    const char *fields; /* each with a blank before and behind */
} accepted[] = {
    {BIOS, " vendor version date release "},
    {SYSTEM, " manufacturer product version serial sku family "},
    {BOARD, " manufacturer product version serial asset location "},
    {CHASSIS, " manufacturer version serial asset sku "},
    {OEM_STRINGS, " value "},
};

static const struct smbios_config *next(const struct machine *machine, unsigned *at, uint64_t type)
{
    while (*at < machine->config.device_count) {
        const struct device_config *device = &machine->config.devices[(*at)++];
        const struct smbios_config *config = device->config;
        if (device->class == &smbios_class && config->type == type)
            return config;
    }
    return NULL;
}

/* Never NULL. */
static const struct smbios_config *find(const struct machine *machine, uint64_t type)
{
    static const struct smbios_config nothing;
    unsigned at = 0;
    const struct smbios_config *config = next(machine, &at, type);
    return config ? config : &nothing;
}

static int check_fields(const struct smbios_config *config, const char *fields,
                        struct kv_error *err)
{
    char word[32];
    for (const struct option_spec *spec = smbios_options; spec->name; spec++) {
        const char *text = spec->type == OPTION_STRING
                               ? *(char *const *)((const char *)config + spec->offset)
                               : NULL;
        snprintf(word, sizeof(word), " %s ", spec->name);
        if (text && !strstr(fields, word))
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "SMBIOS type %" PRIu64 " has no %s; accepted:%s", config->type,
                                spec->name, fields);
    }
    return 0;
}

static bool parse_release(const char *text, unsigned *major, unsigned *minor)
{
    int len = 0;
    *major = *minor = 0xff;
    return !text || (sscanf(text, "%3u.%3u%n", major, minor, &len) == 2 && !text[len] &&
                     *major < 256 && *minor < 256);
}

static int check(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct smbios_config *config = opaque;
    unsigned major, minor, i = 0;
    while (i < ARRAY_SIZE(accepted) && accepted[i].type != config->type)
        i++;
    if (i == ARRAY_SIZE(accepted))
        return kv_error_set(err, KV_ERR_CONFIG, ENOTSUP,
                            "SMBIOS type %" PRIu64 "; accepted: 0, 1, 2, 3, 11", config->type);
    if (config->type != OEM_STRINGS && find(machine, config->type) != config)
        return kv_error_set(err, KV_ERR_CONFIG, EEXIST, "SMBIOS type %" PRIu64 " is given twice",
                            config->type);
    if (!parse_release(config->release, &major, &minor))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "release '%s' of the BIOS is not like 4.2, each up to 255",
                            config->release);
    return check_fields(config, accepted[i].fields, err);
}

const struct device_class smbios_class = {
    .option = "smbios",
    .help = "what the machine says of its maker and parts",
    .options = smbios_options,
    .config_size = sizeof(struct smbios_config),
    .create = check,
};

static const char *or_default(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

/* ---------------------------------------------------------------- structures (7.1 and on) */

static int build_bios(const struct machine *machine, struct buffer *out)
{
    const struct smbios_config *config = find(machine, BIOS);
    bool given = config->vendor || config->version || config->date || config->release;
    unsigned major, minor;
    if (!given && machine_boots_firmware(&machine->config))
        return 0;
    parse_release(config->release, &major, &minor);
    struct structure s = begin(out, BIOS, HANDLE(BIOS));
    string(&s, or_default(config->vendor, MANUFACTURER));
    string(&s, config->version);
    number(&s, 0xe800, 2); /* segment */
    string(&s, config->date);
    BYTES(&s, 0);          /* size of the ROM: 64 KiB */
    number(&s, BIT(3), 8); /* characteristics are not given */
    BYTES(&s, 0, BIT(4) | BIT(2) /* a virtual machine */, major, minor, 0xff, 0xff);
    return end(&s);
}

static void uuid(struct structure *s, const char *text)
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t bytes[16] = {0};
    if (text && parse_uuid(text, bytes) < 0)
        memset(bytes, 0, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(order); i++)
        BYTES(s, bytes[order[i]]);
}

static int build_system(const struct machine *machine, struct buffer *out)
{
    const struct smbios_config *config = find(machine, SYSTEM);
    struct structure s = begin(out, SYSTEM, HANDLE(SYSTEM));
    string(&s, or_default(config->manufacturer, MANUFACTURER));
    string(&s, or_default(config->product, PRODUCT));
    string(&s, config->version);
    string(&s, config->serial);
    uuid(&s, machine->config.uuid);
    BYTES(&s, 6); /* woken by the power switch */
    string(&s, config->sku);
    string(&s, config->family);
    return end(&s);
}

static int build_board(const struct machine *machine, struct buffer *out)
{
    unsigned at = 0;
    const struct smbios_config *config = next(machine, &at, BOARD);
    if (!config)
        return 0;
    struct structure s = begin(out, BOARD, HANDLE(BOARD));
    string(&s, or_default(config->manufacturer, MANUFACTURER));
    string(&s, config->product);
    string(&s, config->version);
    string(&s, config->serial);
    string(&s, config->asset);
    BYTES(&s, 1); /* hosts the others */
    string(&s, config->location);
    WORDS(&s, HANDLE(CHASSIS));
    BYTES(&s, 0x0a /* a motherboard */, 0);
    return end(&s);
}

static int build_chassis(const struct machine *machine, struct buffer *out)
{
    const struct smbios_config *config = find(machine, CHASSIS);
    struct structure s = begin(out, CHASSIS, HANDLE(CHASSIS));
    string(&s, or_default(config->manufacturer, MANUFACTURER));
    BYTES(&s, 1); /* of another kind */
    string(&s, config->version);
    string(&s, config->serial);
    string(&s, config->asset);
    BYTES(&s, 3, 3, 3 /* states: safe */, 2 /* security unknown */);
    number(&s, 0, 4);
    BYTES(&s, 0, 0, 0, 0);
    string(&s, config->sku);
    return end(&s);
}

static int build_processors(const struct machine *machine, struct buffer *out)
{
    const struct cpus_config *cpus = &machine->config.cpus;
    unsigned eax = 0, ebx, ecx, edx = 0;
    int rc = 0;
    __get_cpuid(1, &eax, &ebx, &ecx, &edx);
    for (unsigned i = 0; rc == 0 && i < cpus->sockets; i++) {
        unsigned cores = (unsigned)(cpus->dies * cpus->cores);
        unsigned threads = cores * (unsigned)cpus->threads;
        char socket[16];
        snprintf(socket, sizeof(socket), "CPU %u", i);
        struct structure s = begin(out, PROCESSOR, HANDLE(PROCESSOR) + i);
        string(&s, socket);
        BYTES(&s, 3 /* central */, 1 /* of another family */);
        string(&s, MANUFACTURER);
        number(&s, eax, 4);
        number(&s, edx, 4);
        string(&s, NULL);
        BYTES(&s, 0);
        WORDS(&s, 0, 2000, 2000);                   /* clock unknown; MHz */
        BYTES(&s, 0x41 /* enabled */, 1);           /* upgrade: other */
        WORDS(&s, NO_HANDLE, NO_HANDLE, NO_HANDLE); /* caches */
        BYTES(&s, 0, 0, 0, MIN(cores, 255), MIN(cores, 255), MIN(threads, 255));
        WORDS(&s, 2, 1, (uint16_t)cores, (uint16_t)cores, (uint16_t)threads);
        rc = end(&s);
    }
    return rc;
}

static int build_oem_strings(const struct machine *machine, struct buffer *out)
{
    struct structure s = begin(out, OEM_STRINGS, HANDLE(OEM_STRINGS));
    unsigned at = 0;
    const struct smbios_config *config;
    while ((config = next(machine, &at, OEM_STRINGS))) {
        if (config->value && *config->value && !add_string(&s, config->value))
            return -E2BIG;
    }
    number(&s, s.string_count, 1);
    return s.string_count ? end(&s) : 0;
}

static int build_memory_devices(const struct machine *machine, struct buffer *out)
{
    uint64_t mib = machine->memory.size / MIB(1);
    uint64_t dimm = MAX((mib + DIMMS_MAX - 1) / DIMMS_MAX, (uint64_t)DIMM_MIB);
    unsigned count = (unsigned)((mib + dimm - 1) / dimm);
    int rc;
    struct structure array = begin(out, MEMORY_ARRAY, HANDLE(MEMORY_ARRAY));
    BYTES(&array, 1 /* elsewhere */, 3 /* system memory */, 6 /* corrects errors */);
    number(&array, mib < MIB(2) ? mib * 1024 : UINT32_C(0x80000000), 4); /* KiB */
    WORDS(&array, 0xfffe, (uint16_t)count);
    number(&array, mib < MIB(2) ? 0 : mib * MIB(1), 8);
    rc = end(&array);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        unsigned size = (unsigned)MIN(mib - i * dimm, dimm);
        char name[16];
        snprintf(name, sizeof(name), "DIMM %u", i);
        struct structure s = begin(out, MEMORY_DEVICE, HANDLE(MEMORY_DEVICE) + i);
        WORDS(&s, HANDLE(MEMORY_ARRAY), 0xfffe, 0xffff, 0xffff, (uint16_t)MIN(size, DIMM_MIB_MAX));
        BYTES(&s, 9 /* DIMM */, 0);
        string(&s, name);
        string(&s, NULL);
        BYTES(&s, 7 /* RAM */);
        WORDS(&s, 2, 0);
        string(&s, MANUFACTURER);
        BYTES(&s, 0, 0, 0, 0);
        number(&s, size < DIMM_MIB_MAX ? 0 : size, 4);
        WORDS(&s, 0, 0, 0, 0);
        rc = end(&s);
    }
    return rc;
}

static int build_mapping(struct buffer *out, unsigned index, uint64_t base, uint64_t size)
{
    uint64_t last = base + size - 1;
    bool large = last / 1024 >= UINT32_MAX;
    if (!size)
        return 0;
    struct structure s = begin(out, MEMORY_MAPPED, HANDLE(MEMORY_MAPPED) + index);
    number(&s, large ? UINT32_MAX : base / 1024, 4);
    number(&s, large ? UINT32_MAX : last / 1024, 4);
    WORDS(&s, HANDLE(MEMORY_ARRAY));
    BYTES(&s, 1);
    number(&s, large ? base : 0, 8);
    number(&s, large ? last : 0, 8);
    return end(&s);
}

static int build_mappings(const struct machine *machine, struct buffer *out)
{
    int rc = build_mapping(out, 0, 0, machine->memory.low_size);
    return rc < 0 ? rc : build_mapping(out, 1, LAYOUT_HIGH_BASE, machine->memory.high_size);
}

static int build_end(const struct machine *machine, struct buffer *out)
{
    struct structure boot = begin(out, BOOT, HANDLE(BOOT)), last = begin(out, END, HANDLE(END));
    BYTES(&boot, 0, 0, 0, 0, 0, 0, 0); /* no errors */
    int rc = end(&boot);
    return rc < 0 ? rc : end(&last);
}

/* ---------------------------------------------------------------- border */

int smbios_build(const struct machine *machine, struct buffer *tables, struct kv_error *err)
{
    static int (*const build[])(const struct machine *, struct buffer *) = {
        build_bios,        build_system,         build_board,    build_chassis, build_processors,
        build_oem_strings, build_memory_devices, build_mappings, build_end,
    };
    *tables = (struct buffer)BUFFER_INIT(TABLES_MAX);
    for (unsigned i = 0; i < ARRAY_SIZE(build); i++) {
        int rc = build[i](machine, tables);
        if (rc < 0)
            return kv_error_set(err, KV_ERR_BOOT, -rc,
                                "SMBIOS tables: they do not fit into %d bytes, with at most %d "
                                "strings of type 11",
                                TABLES_MAX, STRINGS_MAX);
    }
    return 0;
}

void smbios_write_anchor(uint8_t anchor[SMBIOS_ANCHOR_SIZE], uint64_t address, size_t len)
{
    memset(anchor, 0, SMBIOS_ANCHOR_SIZE);
    memcpy(anchor, "_SM3_", 5);
    anchor[6] = SMBIOS_ANCHOR_SIZE;
    anchor[7] = 3;  /* version 3.0 */
    anchor[10] = 1; /* of the entry point */
    store_le(anchor + 12, len, 4);
    store_le(anchor + SMBIOS_ANCHOR_TABLES, address, 8);
    anchor[5] = acpi_checksum(anchor, SMBIOS_ANCHOR_SIZE);
}

int smbios_place(struct machine *machine, struct kv_error *err)
{
    const uint64_t at = ALIGN_UP(LAYOUT_SMBIOS_BASE + SMBIOS_ANCHOR_SIZE, 16);
    uint8_t anchor[SMBIOS_ANCHOR_SIZE];
    struct buffer tables;
    int rc = smbios_build(machine, &tables, err);
    if (rc == 0) {
        smbios_write_anchor(anchor, at, tables.len);
        rc = boot_write(machine, at, buffer_bytes(&tables), tables.len, "SMBIOS tables", err);
    }
    if (rc == 0)
        rc = boot_write(machine, LAYOUT_SMBIOS_BASE, anchor, sizeof(anchor), "SMBIOS tables", err);
    buffer_free(&tables);
    return rc;
}

int smbios_give_to_firmware(struct machine *machine, struct fw_cfg *fw_cfg, struct kv_error *err)
{
    uint8_t anchor[SMBIOS_ANCHOR_SIZE];
    struct buffer tables;
    int rc = smbios_build(machine, &tables, err);
    if (rc == 0) {
        smbios_write_anchor(anchor, 0, tables.len);
        rc = fw_cfg_set_file(fw_cfg, "etc/smbios/smbios-tables", buffer_bytes(&tables), tables.len);
        if (rc == 0)
            rc = fw_cfg_set_file(fw_cfg, "etc/smbios/smbios-anchor", anchor, sizeof(anchor));
        if (rc < 0)
            kv_error_errno(err, KV_ERR_BOOT, -rc, "SMBIOS tables for the firmware");
    }
    buffer_free(&tables);
    return rc;
}
