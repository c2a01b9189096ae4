/* SPDX-License-Identifier: GPL-2.0-or-later */
/* undefine, with the disks of the machine when that is asked for. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

/* A disk that goes with the machine. */
struct doomed {
    const char *target, *source;
    const wire_volume *volume;
    struct doomed *next;
};

static bool is_listed(struct cli *cli, const char *list, const char *target, const char *source)
{
    char *words = cli_text(cli, "%s", list);
    for (char *word; (word = strsep(&words, ","));)
        if (strcmp(word, target) == 0 || (source && strcmp(word, source) == 0))
            return true;
    return false;
}

/* The volumes of the disks that were asked for; one that no pool has is told and left. */
static int find_doomed(struct cli *cli, const wire_domain *domain, const char *list,
                       struct doomed **out)
{
    struct xml *xml = xml_of_domain(cli, domain, 0);
    struct xml_node *root = xml ? xml_root(xml) : NULL;
    if (!root)
        return -1;
    *out = NULL;
    unsigned found = 0;
    for (struct xml_node *disk = NULL; (disk = xml_next(root, "devices/disk", disk));) {
        const char *target = xml_attribute(cli, xml_child(disk, "target"), "dev");
        struct xml_node *source_node = xml_child(disk, "source");
        const char *source = xml_attribute(cli, source_node, "file");
        if (!source)
            source = xml_attribute(cli, source_node, "dev");
        if (!target || (list && !is_listed(cli, list, target, source)) || !source)
            continue;
        found++;
        const REMOTE_RET(STORAGE_VOL_LOOKUP_BY_PATH) *volume =
            CALL(cli, STORAGE_VOL_LOOKUP_BY_PATH, .path = (char *)(uintptr_t)source);
        cli_forget_error(cli);
        if (!volume) {
            cli_error(cli,
                      "Storage volume '%s'(%s) is not managed by libvirt. Remove it manually.\n",
                      target, source);
            continue;
        }
        struct doomed *more = cli_alloc(cli, sizeof(*more));
        *more = (struct doomed){.target = target, .source = source, .volume = &volume->volume};
        *out = more;
        out = &more->next;
    }
    if (list && !found)
        return cli_error(cli, "Volume '%s' was not found in domain's definition.\n", list);
    return 0;
}

static int remove_doomed(struct cli *cli, const struct doomed *doomed)
{
    int r = 0;
    for (; doomed; doomed = doomed->next) {
        if (arg_on(cli, "wipe-storage")) {
            out_print(cli, "Wiping volume '%s'(%s) ... ", doomed->target, doomed->source);
            fflush(stdout);
            if (!CALL(cli, STORAGE_VOL_WIPE, .volume = *doomed->volume)) {
                r = cli_error(cli, "Failed! Volume not removed.");
                continue;
            }
            out_print(cli, "Done.\n");
        }
        if (CALL(cli, STORAGE_VOL_DELETE, .volume = *doomed->volume))
            out_print(cli, "Volume '%s'(%s) removed.\n", doomed->target, doomed->source);
        else
            r = cli_error(cli, "Failed to remove storage volume '%s'(%s)", doomed->target,
                          doomed->source);
    }
    return r;
}

int domain_undefine(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"managed-save", VIR_DOMAIN_UNDEFINE_MANAGED_SAVE},
        {"snapshots-metadata", VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA},
        {"checkpoints-metadata", VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA},
        {"nvram", VIR_DOMAIN_UNDEFINE_NVRAM},
        {"keep-nvram", VIR_DOMAIN_UNDEFINE_KEEP_NVRAM},
        {"tpm", VIR_DOMAIN_UNDEFINE_TPM},
        {"keep-tpm", VIR_DOMAIN_UNDEFINE_KEEP_TPM},
        {NULL},
    };
    const char *storage = NULL;
    bool all = arg_on(cli, "remove-all-storage");
    if (arg_requires(cli, "delete-storage-volume-snapshots", "remove-all-storage") < 0 ||
        arg_exclusive(cli, "nvram", "keep-nvram") < 0 ||
        arg_exclusive(cli, "tpm", "keep-tpm") < 0 || arg_text(cli, "storage", &storage) < 0)
        return -1;
    if (arg_on(cli, "wipe-storage") && !storage && !all)
        return cli_error(
            cli, "'--wipe-storage' requires '--storage <string>' or '--remove-all-storage'");
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    const REMOTE_RET(DOMAIN_HAS_MANAGED_SAVE_IMAGE) *saved =
        CALL(cli, DOMAIN_HAS_MANAGED_SAVE_IMAGE, .dom = *domain);
    if (saved && saved->result && !arg_on(cli, "managed-save"))
        return cli_error(cli, "Refusing to undefine while domain managed save image exists");
    struct doomed *doomed = NULL;
    if (storage || all) {
        if (domain->id >= 0)
            return cli_error(cli, "Storage volume deletion is supported only on stopped domains");
        if (storage && all)
            return cli_error(cli, "Specified both --storage and --remove-all-storage");
        if (find_doomed(cli, domain, storage, &doomed) < 0)
            return -1;
    }
    unsigned flags = arg_flags(cli, flags_of);
    bool done = flags ? CALL(cli, DOMAIN_UNDEFINE_FLAGS, .dom = *domain, .flags = flags) != NULL
                      : CALL(cli, DOMAIN_UNDEFINE, .dom = *domain) != NULL;
    if (!done)
        return cli_error(cli, "Failed to undefine domain '%s'", domain->name);
    out_done(cli, "Domain '%s' has been undefined", domain->name);
    return remove_doomed(cli, doomed);
}
