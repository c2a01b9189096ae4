/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What lies in a pool, by its first bytes. A file may be anybody's and say anything: its header is
 * read within bounds, and no file that it names is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/driver.h"
#include "block/import_probe.h"
#include "daemon/storage/internal.h"

#define HEAD 4096
#define SECTOR 512u
#define ISO_MAGIC_AT 32769
#define BACKING_NAME_MAX 1023
#define QCOW2_BACKING_FORMAT 0xe2792acau
#define QCOW2_LAZY_REFCOUNTS 1
#define QCOW2_EXTENDED_L2 (1u << 4)
#define QCOW_CRYPT_LUKS 2

struct probe {
    int fd;
    uint8_t head[HEAD];
    size_t len;
    struct model_volume *out;
};

/* -------------------------------------------------------------------- headers */

static int read_backing_name(struct probe *probe)
{
    uint64_t at = load_be(probe->head + 8, 8), len = load_be(probe->head + 16, 4);
    if (!at || !len || len > BACKING_NAME_MAX || at > INT64_MAX - len)
        return 0;
    char *name = malloc(len + 1);
    if (!name)
        return -ENOMEM;
    ssize_t n = pread(probe->fd, name, len, (off_t)at);
    name[n < 0 ? 0 : n] = '\0';
    if (n != (ssize_t)len || strlen(name) != len) {
        free(name);
        return 0;
    }
    probe->out->backing_path = block_resolve_path(probe->out->path, name);
    free(name);
    return probe->out->backing_path ? 0 : -ENOMEM;
}

static void read_backing_format(struct probe *probe, size_t at)
{
    while (at + 8 <= probe->len) {
        uint64_t type = load_be(probe->head + at, 4), len = load_be(probe->head + at + 4, 4);
        char name[16] = "";
        at += 8;
        if (type == 0 || len > probe->len - at)
            return;
        if (type == QCOW2_BACKING_FORMAT && len < sizeof(name)) {
            memcpy(name, probe->head + at, len);
            probe->out->backing_format = model_volume_format_find(name);
        }
        at += ALIGN_UP(len, UINT64_C(8));
    }
}

static int probe_qcow2(struct probe *probe)
{
    struct model_volume *out = probe->out;
    const uint8_t *head = probe->head;
    uint64_t version = load_be(head + 4, 4), bits = load_be(head + 20, 4);
    out->capacity = load_be(head + 24, 8);
    out->luks = load_be(head + 32, 4) == QCOW_CRYPT_LUKS;
    out->cluster_size = bits >= 9 && bits <= 21 ? BIT(bits) : 0;
    out->compat = strdup(version >= 3 ? "1.1" : "0.10");
    if (version >= 3) {
        out->has_features = true;
        out->extended_l2 = load_be(head + 72, 8) & QCOW2_EXTENDED_L2;
        out->lazy_refcounts = load_be(head + 80, 8) & QCOW2_LAZY_REFCOUNTS;
    }
    int r = out->compat ? read_backing_name(probe) : -ENOMEM;
    if (r == 0 && out->backing_path)
        read_backing_format(probe, version >= 3 ? load_be(head + 100, 4) : 72);
    return r;
}

static int probe_qcow(struct probe *probe)
{
    probe->out->capacity = load_be(probe->head + 24, 8);
    return read_backing_name(probe);
}

static int probe_luks(struct probe *probe)
{
    uint64_t payload = load_be(probe->head + 104, 4) * SECTOR;
    probe->out->luks = true;
    if (payload <= probe->out->capacity)
        probe->out->capacity -= payload;
    return 0;
}

/* Of a text that describes other files, the size is not known. */
static int probe_vmdk(struct probe *probe)
{
    if (probe->head[0] == '#')
        return 0;
    uint64_t sectors = load_le(probe->head + 12, probe->head[0] == 'K' ? 8 : 4);
    probe->out->capacity = sectors > INT64_MAX / SECTOR ? 0 : sectors * SECTOR;
    return 0;
}

static int probe_vdi(struct probe *probe)
{
    probe->out->capacity = load_le(probe->head + 368, 8);
    return 0;
}

static int probe_vpc(struct probe *probe)
{
    probe->out->capacity = load_be(probe->head + 48, 8);
    return 0;
}

static int probe_qed(struct probe *probe)
{
    probe->out->capacity = load_le(probe->head + 48, 8);
    return 0;
}

/* Its size lies in a table behind tables: the engine's reader knows them. */
static int probe_vhdx(struct probe *probe)
{
    struct block_node *node;
    struct kv_error err = {0};
    const struct block_open_options options = {
        .fd = fcntl(probe->fd, F_DUPFD_CLOEXEC, 3),
        .format = "vhdx",
        .readonly = true,
        .unlocked = true,
        .no_backing = true,
        .aio = BLOCK_AIO_THREADS,
    };
    if (options.fd >= 0 && block_open(&node, &options, &err) == 0) {
        probe->out->capacity = block_get_info(node)->size;
        block_close(node);
    }
    return 0;
}

/* The first that fits. Formats that the engine reads are known as it knows them. */
static const struct {
    const char *format;
    const char *magic; /* the file begins with it */
    size_t magic_len;
    int version; /* big-endian in the 4 bytes behind the magic; -1: any */
    int (*knows)(const uint8_t *head, size_t len, const char *name); /* instead of a magic */
    int (*read)(struct probe *probe);
} signatures[] = {
#define MAGIC(text) text, sizeof(text) - 1
    {"qcow2", MAGIC("QFI\xfb"), 2, NULL, probe_qcow2},
    {"qcow2", MAGIC("QFI\xfb"), 3, NULL, probe_qcow2},
    {"qcow", MAGIC("QFI\xfb"), 1, NULL, probe_qcow},
    {"raw", MAGIC("LUKS\xba\xbe"), -1, NULL, probe_luks},
    {"vmdk", NULL, 0, -1, vmdk_probe, probe_vmdk},
    {"vdi", NULL, 0, -1, vdi_probe, probe_vdi},
    {"vpc", NULL, 0, -1, vpc_probe, probe_vpc},
    {"vhdx", NULL, 0, -1, vhdx_probe, probe_vhdx},
    {"qed", MAGIC("QED\0"), -1, NULL, probe_qed},
    {"bochs", MAGIC("Bochs Virtual HD Image"), -1, NULL, NULL},
    {"cloop", MAGIC("#!/bin/sh\n#V2.0 Format\n"), -1, NULL, NULL},
    {"cow", MAGIC("OOOM"), -1, NULL, NULL},
    {"ploop", MAGIC("WithoutFreeSpace"), -1, NULL, NULL},
#undef MAGIC
};

static bool fits(const struct probe *probe, size_t row)
{
    size_t len = signatures[row].magic_len;
    if (signatures[row].knows)
        return signatures[row].knows(probe->head, probe->len, NULL) > 0;
    return memcmp(probe->head, signatures[row].magic, len) == 0 &&
           (signatures[row].version < 0 ||
            load_be(probe->head + len, 4) == (uint64_t)signatures[row].version);
}

static int probe_format(struct probe *probe)
{
    char iso[5];
    for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
        if (!fits(probe, i))
            continue;
        probe->out->format = model_volume_format_find(signatures[i].format);
        return signatures[i].read ? signatures[i].read(probe) : 0;
    }
    bool is_iso = pread(probe->fd, iso, sizeof(iso), ISO_MAGIC_AT) == sizeof(iso) &&
                  memcmp(iso, "CD001", sizeof(iso)) == 0;
    probe->out->format = model_volume_format_find(is_iso ? "iso" : "raw");
    return 0;
}

/* ----------------------------------------------------------------- file system */

static struct timespec time_of(const struct statx_timestamp *time)
{
    return (struct timespec){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

static void take_stat(struct model_volume *out, const struct statx *st)
{
    bool dir = S_ISDIR(st->stx_mode);
    out->type = dir ? VIR_STORAGE_VOL_DIR : VIR_STORAGE_VOL_FILE;
    out->allocation = dir ? 0 : st->stx_blocks * SECTOR;
    out->physical = dir ? 0 : st->stx_size;
    out->has_physical = !dir;
    out->permissions.mode = st->stx_mode & 07777;
    out->permissions.owner = st->stx_uid;
    out->permissions.group = st->stx_gid;
    out->has_times = true;
    out->times = (struct model_volume_times){
        .access = time_of(&st->stx_atime),
        .change = time_of(&st->stx_ctime),
        .modification = time_of(&st->stx_mtime),
    };
    if (st->stx_mask & STATX_BTIME)
        out->times.birth = time_of(&st->stx_btime);
}

static int stat_file(int fd, const char *path, struct statx *st)
{
    return statx(fd, path, fd < 0 ? 0 : AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, st) < 0
               ? -errno
               : 0;
}

int probe_sizes(struct model_volume *config)
{
    struct statx st;
    int r = stat_file(AT_FDCWD, config->path, &st);
    if (r == 0)
        take_stat(config, &st);
    return r;
}

static int open_volume(const char *path, struct statx *st)
{
    /* Opening a device or a pipe may do something, or wait. */
    int r = stat_file(AT_FDCWD, path, st);
    if (r < 0)
        return r;
    if (!S_ISREG(st->stx_mode) && !S_ISDIR(st->stx_mode))
        return -EINVAL;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    mode_t before = st->stx_mode & S_IFMT;
    r = stat_file(fd, "", st);
    if (r == 0 && (st->stx_mode & S_IFMT) != before)
        r = -EINVAL;
    if (r < 0)
        close(fd);
    return r < 0 ? r : fd;
}

/* What the file decides; the rest belongs to the definition. */
static void forget_file(struct model_volume *config)
{
    free(take_ptr(config->compat));
    free(take_ptr(config->backing_path));
    config->backing_format = NULL;
    config->has_features = config->lazy_refcounts = config->extended_l2 = config->luks = false;
    config->cluster_size = 0;
}

int probe_volume(struct model_volume *config)
{
    struct statx st;
    struct probe probe = {.out = config};
    cleanup_fd int fd = open_volume(config->path, &st);
    if (fd < 0)
        return fd;
    forget_file(config);
    take_stat(config, &st);
    config->capacity = config->physical;
    if (config->type == VIR_STORAGE_VOL_DIR) {
        config->format = model_volume_format_find("dir");
        return 0;
    }
    ssize_t n = pread(fd, probe.head, sizeof(probe.head), 0);
    if (n < 0)
        return -errno;
    probe.fd = fd;
    probe.len = (size_t)n;
    return probe_format(&probe);
}
