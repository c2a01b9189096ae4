/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What native.c and the readers of each monitor's options share. */
#ifndef KV_MODEL_NATIVE_INTERNAL_H
#define KV_MODEL_NATIVE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define NATIVE_BACKENDS_MAX 64

/* A -drive, -netdev or -chardev that a -device may name. */
struct native_backend {
    const char *options; /* with id= in them */
    bool used;
};

struct native {
    struct kv_error *err;
    char name[64], uuid[40], machine[32], cmdline[2048], kernel[1024], initrd[1024];
    char loader[1024], nvram[1024];
    uint64_t memory_kib, cpus, iothreads;
    uint64_t sockets, cores, threads;
    unsigned disks, drives; /* those of virtio, those at controllers: their names */
    struct buffer devices;  /* their XML */
    unsigned backend_count;
    struct native_backend backends[NATIVE_BACKENDS_MAX];
};

struct native_option {
    const char *name;                                 /* as on the command line; NULL ends them */
    bool value;                                       /* a word follows (or "=...") */
    int (*read)(struct native *n, const char *value); /* NULL: says nothing about the domain */
};
extern const struct native_option native_kvasir_options[], native_qemu_options[];

/* After the last option. */
int native_qemu_finish(struct native *n);

int native_refuse(struct native *n, const char *what, const char *why);

/* "a=1,b=2": the value of key, ",," being a comma. key NULL: a first value without a key. false:
 * it is not there; out is then "". */
bool native_value(const char *options, const char *key, char *out, size_t size);

/* VIR_ERR_CONFIG_UNSUPPORTED when options have a key that is not among known (NULL at the end). */
int native_known(struct native *n, const char *options, const char *const *known);

int native_copy(struct native *n, char *out, size_t size, const char *value, const char *what);

/* What the command lines have in common. */
int native_name(struct native *n, const char *value);
int native_uuid(struct native *n, const char *value);
int native_kernel(struct native *n, const char *value);
int native_loader(struct native *n, const char *value);
int native_nvram(struct native *n, const char *value);
int native_initrd(struct native *n, const char *value);
int native_cmdline(struct native *n, const char *value);
int native_memory(struct native *n, const char *value, uint64_t unit);
int native_cpus(struct native *n, const char *value, const char *key);

struct native_disk {
    char path[1024], format[16], cache[16], serial[64], io[16], discard[16];
    char bus[16];                            /* "": virtio */
    char controller[16], target[8], unit[8]; /* unit "": by the disk's name */
    bool readonly, cdrom;
};
int native_add_disk(struct native *n, const struct native_disk *disk);
/* " attribute='value'" unless value is empty. */
void native_attribute(struct native *n, const char *name, const char *value);
/* "pty", "null", "file:PATH", "unix:PATH[,server...]" as <element>; target: XML behind the source.
 */
int native_add_chardev(struct native *n, const char *element, const char *chardev,
                       const char *target);

#endif
