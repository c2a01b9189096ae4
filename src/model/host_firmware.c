/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UEFI firmware of the host, as the descriptors that packages install tell it
 * (QEMU's docs/interop/firmware.json): each file names an image in flash, the
 * template of its variables, and what it needs. Those of the administrator go
 * before those of packages; an empty one hides the one of the same name. Read
 * anew each time, so that a package installed later is found.
 */
#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "model/host.h"
#include "model/host_internal.h"

#define DESCRIPTORS_MAX 256 /* in a folder; more are not looked at */

static const char *const folders[] = {"/etc/qemu/firmware", "/usr/share/qemu/firmware"};

static bool has_word(const json_t *array, const char *word)
{
    size_t i;
    const json_t *value;
    json_array_foreach (array, i, value)
        if (json_is_string(value) && strcmp(json_string_value(value), word) == 0)
            return true;
    return false;
}

static bool is_for_us(const json_t *descriptor)
{
    size_t i;
    const json_t *target;
    if (!has_word(json_object_get(descriptor, "interface-types"), "uefi"))
        return false;
    json_array_foreach (json_object_get(descriptor, "targets"), i, target) {
        const char *arch = json_string_value(json_object_get(target, "architecture"));
        if (arch && strcmp(arch, "x86_64") == 0)
            return true;
    }
    return false;
}

/* A file of a mapping that is there, and raw. */
static const char *mapped_file(const char *root, const json_t *mapping, const char *name)
{
    char full[PATH_MAX];
    const json_t *file = json_object_get(mapping, name);
    const char *path = json_string_value(json_object_get(file, "filename"));
    const char *format = json_string_value(json_object_get(file, "format"));
    if (!path || strlen(path) >= MODEL_FIRMWARE_PATH || (format && strcmp(format, "raw") != 0))
        return NULL;
    snprintf(full, sizeof(full), "%s%s", root, path);
    return access(full, R_OK) == 0 ? path : NULL;
}

static bool read_descriptor(const char *root, const char *file, struct model_uefi *out)
{
    json_t *descriptor = json_load_file(file, 0, NULL);
    const json_t *mapping = json_object_get(descriptor, "mapping");
    const char *device = json_string_value(json_object_get(mapping, "device"));
    bool good = device && strcmp(device, "flash") == 0 && is_for_us(descriptor);
    const char *code = good ? mapped_file(root, mapping, "executable") : NULL;
    const char *vars = good ? mapped_file(root, mapping, "nvram-template") : NULL;
    if (code && vars) {
        strcpy(out->code, code);
        strcpy(out->vars, vars);
        out->needs_smm = has_word(json_object_get(descriptor, "features"), "requires-smm");
    }
    json_decref(descriptor);
    return code && vars;
}

/* ------------------------------------------------------------- all of them */

struct names {
    char *names[DESCRIPTORS_MAX * ARRAY_SIZE(folders)];
    unsigned count;
};

static void names_free(struct names *names)
{
    for (unsigned i = 0; i < names->count; i++)
        free(names->names[i]);
}

static bool add_name(struct names *names, const char *name)
{
    size_t len = strlen(name);
    if (len < 5 || strcmp(name + len - 5, ".json") != 0)
        return false;
    for (unsigned i = 0; i < names->count; i++)
        if (strcmp(names->names[i], name) == 0)
            return false;
    char *copy = strdup(name);
    if (copy)
        names->names[names->count++] = copy;
    return copy;
}

static void add_names(struct names *names, const char *root, const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s%s", root, folder);
    DIR *dir = opendir(path);
    unsigned added = 0;
    for (struct dirent *e; dir && added < DESCRIPTORS_MAX && (e = readdir(dir));)
        added += add_name(names, e->d_name);
    if (dir)
        closedir(dir);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool read_named(const char *root, const char *name, struct model_uefi *out)
{
    char path[PATH_MAX];
    for (unsigned i = 0; i < ARRAY_SIZE(folders); i++) {
        snprintf(path, sizeof(path), "%s%s/%s", root, folders[i], name);
        if (access(path, F_OK) == 0)
            return read_descriptor(root, path, out);
    }
    return false;
}

/* Also by another name of the same file: distributions have links. */
static bool is_same_file(const char *root, const char *a, const char *b)
{
    char full[2][PATH_MAX];
    snprintf(full[0], PATH_MAX, "%s%s", root, a);
    snprintf(full[1], PATH_MAX, "%s%s", root, b);
    cleanup_free char *x = realpath(full[0], NULL), *y = realpath(full[1], NULL);
    return strcmp(a, b) == 0 || (x && y && strcmp(x, y) == 0);
}

bool model_host_uefi(const struct model_host *host, const char *code, struct model_uefi *out)
{
    const char *root = host ? host->root : "";
    struct names names = {.count = 0};
    bool found = false;
    for (unsigned i = 0; i < ARRAY_SIZE(folders); i++)
        add_names(&names, root, folders[i]);
    qsort(names.names, names.count, sizeof(names.names[0]), by_name);
    for (unsigned i = 0; i < names.count && !found; i++)
        found = read_named(root, names.names[i], out) &&
                (code ? is_same_file(root, code, out->code) : !out->needs_smm);
    names_free(&names);
    return found;
}
