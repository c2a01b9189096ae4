/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's facts that do not change; see host.h. */
#include "model/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "model/api_error.h"
#include "model/cpu.h"
#include "model/host_internal.h"
#include "model/uuid.h"

#define EMULATOR "kvasir-vmm"
#define EMULATOR_INSTALLED "/usr/bin/" EMULATOR
#define NVRAM_DIR "/var/lib/kvasir/nvram"

/* ------------------------------------------------------------ machine types */

const struct machine_family machine_families[] = {
    {"pc", "pc-i440fx-7.2", "pc-i440fx-"},
    {"q35", "pc-q35-7.2", "pc-q35-"},
    {"microvm", "microvm", NULL},
    {NULL, NULL, NULL},
};

static bool is_version(const char *text)
{
    size_t n = strspn(text, "0123456789.");
    return n > 0 && n < 12 && !text[n] && text[0] != '.' && text[n - 1] != '.';
}

const char *model_host_machine(const char *name)
{
    for (const struct machine_family *f = machine_families; f->alias; f++) {
        if (strcmp(f->alias, name) == 0 || strcmp(f->canonical, name) == 0)
            return f->canonical;
        size_t len = f->prefix ? strlen(f->prefix) : 0;
        if (len && strncmp(name, f->prefix, len) == 0 && is_version(name + len))
            return name;
    }
    return NULL;
}

/* ---------------------------------------------------------------- the host */

/* Beside this program, as in a build folder; else where packages put it. */
static char *find_emulator(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(EMULATOR) - 1);
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    if (slash) {
        strcpy(slash + 1, EMULATOR);
        if (access(path, X_OK) == 0)
            return strdup(path);
    }
    return strdup(EMULATOR_INSTALLED);
}

bool host_read_line(const struct model_host *host, const char *path, char *line, size_t size)
{
    char full[PATH_MAX];
    snprintf(full, sizeof(full), "%s%s", host->root, path);
    FILE *f = fopen(full, "re");
    bool good = f && fgets(line, (int)size, f);
    if (f)
        fclose(f);
    if (good)
        line[strcspn(line, "\n")] = '\0';
    return good;
}

static void find_uuid(struct model_host *host, const uint8_t *given)
{
    static const char *const files[] = {"/sys/class/dmi/id/product_uuid", "/etc/machine-id"};
    char line[64];
    if (given) {
        memcpy(host->uuid, given, sizeof(host->uuid));
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
        if (host_read_line(host, files[i], line, sizeof(line)) && uuid_parse(line, host->uuid) == 0)
            return;
    }
    uuid_generate(host->uuid);
}

int model_host_create(struct model_host **out, const struct model_host_config *config,
                      struct kv_error *err)
{
    static const struct model_host_config nothing;
    if (!config)
        config = &nothing;
    *out = NULL;
    struct model_host *host = calloc(1, sizeof(*host));
    if (!host)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    host->session = config->session;
    host->root = strdup(config->root ? config->root : "");
    host->emulator = config->emulator ? strdup(config->emulator) : find_emulator();
    host->nvram_dir = strdup(config->nvram_dir ? config->nvram_dir : NVRAM_DIR);
    if (!host->root || !host->emulator || !host->nvram_dir) {
        model_host_free(host);
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    find_uuid(host, config->uuid);
    *out = host;
    return 0;
}

void model_host_free(struct model_host *host)
{
    if (!host)
        return;
    free(host->root);
    free(host->emulator);
    free(host->nvram_dir);
    free(host);
}

const char *model_host_emulator(const struct model_host *host)
{
    return host ? host->emulator : EMULATOR_INSTALLED;
}

void model_host_nvram(const struct model_host *host, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s_VARS.fd", host ? host->nvram_dir : NVRAM_DIR, name);
}

const char *model_host_cpu_model(const struct model_host *host)
{
    return cpu_host_model();
}

const uint8_t *model_host_uuid(const struct model_host *host)
{
    return host->uuid;
}
