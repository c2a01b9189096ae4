/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image import: images of other systems become ours by kvasir-img. What a file is its content
 * says. An OVA's disks are read where they lie in it; --xml prints a machine after its OVF
 * document.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/args.h"
#include "cli/image.h"
#include "cli/output.h"
#include "cli/ova.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define HEAD_BYTES 512
#define DEFAULT_MEMORY GIB(1)

/* What the formats begin with; a fixed VHD has only its last sector. */
static const struct {
    size_t offset;
    const char *bytes, *format;
} signatures[] = {
    {0, "KDMV", "vmdk"},     {0, "COWD", "vmdk"},     {0, "# Disk DescriptorFile", "vmdk"},
    {0, "vhdxfile", "vhdx"}, {0, "conectix", "vpc"},  {0x40, "\x7f\x10\xda\xbe", "vdi"},
    {257, "ustar", "ova"},   {0, "QFI\xfb", "qcow2"},
};

static const char *format_of(const unsigned char *head, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
        size_t bytes = strlen(signatures[i].bytes);
        if (signatures[i].offset + bytes <= len &&
            memcmp(head + signatures[i].offset, signatures[i].bytes, bytes) == 0)
            return signatures[i].format;
    }
    return NULL;
}

/* NULL: told. */
static const char *look_at(struct cli *cli, const char *path)
{
    unsigned char head[HEAD_BYTES];
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
    if (n < 0) {
        cli_error(cli, "cannot open '%s': %s", path, strerror(errno));
        return NULL;
    }
    const char *format = format_of(head, (size_t)n);
    off_t end = lseek(fd, 0, SEEK_END);
    if (!format && end >= HEAD_BYTES &&
        pread(fd, head, sizeof(head), end - HEAD_BYTES) == HEAD_BYTES &&
        memcmp(head, "conectix", 8) == 0)
        format = "vpc";
    if (format && strcmp(format, "qcow2") != 0)
        return format;
    cli_error(cli, "'%s' is none of VMDK, OVA, VHD, VHDX and VDI%s", path,
              format ? ", but qcow2, which machines use as it is" : "");
    if (!format)
        cli_hint(cli, "kvasir-img info %s tells what it is; machines use raw images as they are",
                 path);
    return NULL;
}

/* Of the n-th disk: "web.qcow2", "web-2.qcow2". */
static const char *output_name(struct cli *cli, const char *file, unsigned n)
{
    const char *base = strrchr(file, '/');
    const char *dot = strrchr(base ? base : file, '.');
    if (n == 0)
        return file;
    if (!dot)
        return cli_text(cli, "%s-%u", file, n + 1);
    return cli_text(cli, "%.*s-%u%s", (int)(dot - file), file, n + 1, dot);
}

static int convert(struct cli *cli, const char *const *source, const char *format, const char *file)
{
    progress_start(cli, "Importing", file);
    int r = image_convert(cli, source, format, file, -1);
    progress_end();
    if (r == 0)
        out_key(cli, "image", "%s", file);
    return r;
}

/* A text as part of a description "name=value,...", where a comma is written twice. */
static const char *description_text(struct cli *cli, const char *text)
{
    char *out = cli_alloc(cli, 2 * strlen(text) + 1), *to = out;
    for (; *text; text++) {
        *to++ = *text;
        if (*text == ',')
            *to++ = ',';
    }
    return out;
}

static int import_ova(struct cli *cli, const char *path, const struct ova *ova, const char *format,
                      const char *file)
{
    for (unsigned i = 0; i < ova->ndisks; i++) {
        const struct ova_disk *disk = &ova->disks[i];
        /* The archive's padding up to a sector belongs to nobody. */
        const char *const source[] = {
            "--image-opts",
            cli_text(cli,
                     "driver=vmdk,file.driver=raw,file.offset=%llu,file.size=%llu,"
                     "file.file.driver=file,file.file.filename=%s",
                     (unsigned long long)disk->offset,
                     (unsigned long long)ALIGN_UP(disk->size, UINT64_C(512)),
                     description_text(cli, path)),
            NULL};
        if (convert(cli, source, format, output_name(cli, file, i)) < 0)
            return -1;
    }
    return 0;
}

/* ----------------------------------------------------------- the description */

static const char *absolute(struct cli *cli, const char *path)
{
    cleanup_free char *whole = realpath(path, NULL);
    return whole ? cli_text(cli, "%s", whole) : path;
}

/* SATA disks and user networks: what any guest has drivers for, and any host has. */
static char *describe(struct cli *cli, const struct ova *ova, const char *format, const char *file)
{
    const char *disks = "", *nics = "";
    for (unsigned i = 0; i < ova->ndisks; i++)
        disks = cli_text(cli,
                         "%s    <disk type='file' device='disk'><driver name='qemu' type='%s'/>"
                         "<source file='%s'/><target dev='sd%c' bus='sata'/></disk>\n",
                         disks, format, xml_escape(cli, absolute(cli, output_name(cli, file, i))),
                         'a' + (int)i);
    for (unsigned i = 0; i < ova->nics; i++)
        nics = cli_text(cli,
                        "%s    <interface type='user'><backend type='passt'/>"
                        "<model type='virtio'/></interface>\n",
                        nics);
    uint64_t memory = ova->memory ? ova->memory : DEFAULT_MEMORY;
    return cli_text(
        cli,
        "<domain type='kvm'>\n  <name>%s</name>\n  <memory unit='KiB'>%llu</memory>\n"
        "  <vcpu>%u</vcpu>\n  <os%s>\n    <type arch='x86_64' machine='q35'>hvm</type>\n"
        "    <boot dev='hd'/>\n  </os>\n  <features><acpi/><apic/></features>\n"
        "  <cpu mode='host-passthrough'/>\n  <devices>\n%s%s"
        "    <serial type='pty'><target port='0'/></serial>\n"
        "    <console type='pty'><target type='serial' port='0'/></console>\n"
        "  </devices>\n</domain>\n",
        xml_escape(cli, ova->name ? ova->name : "imported"), (unsigned long long)memory / 1024,
        MAX(ova->vcpus, 1U), ova->efi ? " firmware='efi'" : "", disks, nics);
}

int image_import(struct cli *cli)
{
    const char *path = NULL, *file = NULL, *target = "qcow2", *format;
    struct ova ova = {.ndisks = 1};
    if (arg_text(cli, "image", &path) < 0 || arg_text(cli, "file", &file) < 0 ||
        arg_text(cli, "format", &target) < 0)
        return -1;
    if (strcmp(target, "qcow2") != 0 && strcmp(target, "raw") != 0)
        return cli_error(cli, "--format '%s': machines use qcow2 and raw", target);
    format = look_at(cli, path);
    if (!format)
        return -1;
    bool is_ova = strcmp(format, "ova") == 0, xml = arg_on(cli, "xml");
    if (xml && !is_ova)
        return cli_error(cli, "'%s' (%s) describes no machine; --xml goes with an OVA", path,
                         format);
    if (is_ova && ova_read(cli, path, &ova) < 0)
        return -1;
    for (unsigned i = 0; i < ova.ndisks; i++)
        if (access(output_name(cli, file, i), F_OK) == 0)
            return cli_error(cli, "'%s' is there already", output_name(cli, file, i));
    const char *const source[] = {"-f", format, path, NULL};
    int r = is_ova ? import_ova(cli, path, &ova, target, file) : convert(cli, source, target, file);
    if (r < 0)
        return -1;
    if (xml)
        return out_document(cli, "xml", describe(cli, &ova, target, file));
    return out_done(cli, "Image '%s' made%s", file,
                    ova.ndisks > 1 ? ", and one for each other disk" : "");
}
