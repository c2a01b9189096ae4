/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debian onto an image's root: mmdebstrap makes the tree, as root or in a user namespace, and as
 * its last hook image_debian.sh, which is built in here, sets it up and lets mke2fs write it into
 * the disk. So nothing is mounted on this host and files keep their owners.
 */
#include <ctype.h>
#include <stdlib.h>

#include "cli/image.h"
#include "cli/progress.h"
#include "cli/tool.h"

static const char setup_script[] =
#include "cli/image_debian_text.h"
    ;

/* What an image has beside what the suite calls essential. */
#define PACKAGES                                                                               \
    "systemd-sysv,systemd-resolved,dbus,udev,kmod,login,passwd,iproute2,iputils-ping,netbase," \
    "ca-certificates,e2fsprogs,less,vim-tiny,sudo,initramfs-tools,zstd,grub-efi-amd64,grub-pc-bin"

/* A RAM disk with what starts a machine of Kvasir or of the usual others, a fifth of the size of
 * one with everything. It has to be said before the kernel comes. */
#define RAM_DISK                                                                              \
    "mkdir -p \"$1/etc/initramfs-tools/conf.d\" \"$1/usr/share/initramfs-tools/modules.d\";"  \
    "printf '%s\\n' MODULES=list RESUME=none >\"$1/etc/initramfs-tools/conf.d/kvasir\";"      \
    "printf '%s\\n' virtio_pci virtio_blk virtio_scsi ahci ata_piix nvme sd_mod sr_mod ext4 " \
    "crc32c_generic crc32c_intel vmw_pvscsi mptspi hv_storvsc xen_blkfront "                  \
    ">\"$1/usr/share/initramfs-tools/modules.d/kvasir\""

/* The next repository in what apt would fetch, "'URI/dists/SUITE/InRelease' ...". False: none. */
static bool next_repository(char **text, char **uri, char **suite)
{
    char *line;
    while ((line = strsep(text, "\n"))) {
        char *end = strstr(line, "/InRelease'"), *between = strstr(line, "/dists/");
        if (line[0] != '\'' || !end || !between || between > end)
            continue;
        *between = *end = '\0';
        *uri = line + 1;
        *suite = between + strlen("/dists/");
        return true;
    }
    return false;
}

/* Whether it is the suite, or its updates or security fixes. */
static bool is_of_suite(const char *suite, const char *wanted)
{
    size_t len = strlen(wanted);
    return strncmp(suite, wanted, len) == 0 &&
           (!suite[len] || strcmp(suite + len, "-updates") == 0 ||
            strcmp(suite + len, "-security") == 0);
}

/* Lines of a sources.list after this machine's apt: what it has of the suite, else the suite from
 * its first mirror. NULL: told. */
static const char *known_sources(struct cli *cli, const char *suite)
{
    static const char *const words[] = {"apt-get", "update", "--print-uris", NULL};
    char *said = NULL, *uri, *of;
    if (!tool_there(cli, words[0], "apt") ||
        tool_run(cli, &(struct tool){.words = words, .said = &said}) < 0)
        return NULL;
    const char *all = "", *first = NULL;
    bool whole = false; /* the suite itself is among them */
    while (said && next_repository(&said, &uri, &of)) {
        first = first ? first : uri;
        if (!is_of_suite(of, suite))
            continue;
        whole = whole || strcmp(of, suite) == 0;
        all = cli_text(cli, "%sdeb %s %s main\n", all, uri, of);
    }
    if (whole)
        return all;
    if (first)
        return cli_text(cli, "deb %s %s main\n", first, suite);
    cli_error(cli, "this machine's apt knows no mirror; --mirror names one");
    return NULL;
}

/* Its steps, as it names them. */
static const struct {
    const char *begins, *step;
} steps[] = {
    {"I: running apt-get update", "the lists of packages"},
    {"I: downloading", "packages that come"},
    {"I: extracting", "packages that are unpacked"},
    {"I: installing essential", "packages that are set up"},
    {"I: installing remaining", "more packages that come and are set up"},
    {"I: running --customize-hook", "the disk"},
};

static void show_step(struct cli *cli, const char *line)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        if (strncmp(line, steps[i].begins, strlen(steps[i].begins)) != 0)
            continue;
        progress_end();
        progress_start(cli, "Debian:", steps[i].step);
    }
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

int image_install_debian(struct cli *cli, const struct image *image)
{
    const char *sources = image->mirror
                              ? cli_text(cli, "deb %s %s main\n", image->mirror, image->suite)
                              : known_sources(cli, image->suite);
    if (!sources)
        return -1;
    bool open = !image->root_password && !image->ssh_key;
    const char *const environment[] = {
        cli_text(cli, "KV_HOSTNAME=%s", image->hostname),
        cli_text(cli, "KV_ROOT_UUID=%s", image->root_uuid),
        cli_text(cli, "KV_ESP_ID=%04X-%04X", image->esp_id >> 16, image->esp_id & 0xffff),
        cli_text(cli, "KV_USER=%s", text_or_empty(image->user)),
        cli_text(cli, "KV_SSH_KEY=%s", text_or_empty(image->ssh_key)),
        cli_text(cli, "KV_ROOT_PASSWORD=%s", text_or_empty(image->root_password)),
        cli_text(cli, "KV_NO_PASSWORD=%s", open ? "1" : ""),
        cli_text(cli, "KV_ROOT_OFFSET=%llu", (unsigned long long)IMAGE_ROOT_START),
        cli_text(cli, "KV_ROOT_KIB=%llu",
                 (unsigned long long)(image->size - IMAGE_ROOT_START - IMAGE_TAIL) / 1024),
        NULL};
    const char *include = cli_text(cli, "--include=linux-image-%s," PACKAGES "%s%s%s",
                                   strcmp(image->kernel, "cloud") == 0 ? "cloud-amd64" : "amd64",
                                   image->ssh_key ? ",openssh-server" : "",
                                   image->packages ? "," : "", text_or_empty(image->packages));
    const char *const words[] = {
        "mmdebstrap", "--variant=minbase", "--architectures=amd64", "--format=null",
        /* the tree is thrown away as it is */
        "--skip=cleanup/apt,cleanup/reproducible", "--dpkgopt=force-unsafe-io", include,
        "--essential-hook=" RAM_DISK, cli_text(cli, "--customize-hook=%s", setup_script),
        image->suite, "/dev/null", "-", NULL};
    const struct tool tool = {
        .words = words,
        .environment = environment,
        .input = sources,
        .fds = {{image->disk, IMAGE_FD_DISK},
                {image->bios, IMAGE_FD_BIOS},
                {image->uefi, IMAGE_FD_UEFI}},
        .nfds = 3,
        .line = show_step,
    };
    int r = tool_run(cli, &tool);
    progress_end();
    return r;
}
