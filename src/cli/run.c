/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run: from a disk image or a Linux kernel to a machine in one line. The machine is described
 * here, started for this once (--keep: defined first) and, with --console, talked to from its
 * first byte on. An image without a kernel starts by the BIOS.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "cli/args.h"
#include "cli/console.h"
#include "cli/output.h"
#include "cli/seed.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define DEFAULT_MEMORY MIB(256)

struct machine {
    const char *name, *kernel, *initrd, *cmdline, *network;
    const char *disks[2]; /* the image, the other disk; NULL: none */
    const char *seed;     /* an image for cloud-init; NULL: none */
    const char *uuid;     /* NULL: the daemon chooses */
    int cpus;
    uint64_t memory;
};

enum contents {
    KERNEL,
    QCOW2,
    RAW,
    OTHER_FORMAT, /* machines read and write the first two */
    NO_BOOT,      /* raw, and its first sector has no boot signature */
};

/* What a file begins with. Linux's boot header is described in Documentation/arch/x86/boot.rst. */
static const struct {
    size_t offset, len;
    const char *bytes;
    enum contents contents;
} signatures[] = {
    {0, 4, "\177ELF", KERNEL},
    {0x202, 4, "HdrS", KERNEL},
    {0, 4, "QFI\xfb", QCOW2},
    {0, 4, "KDMV", OTHER_FORMAT},
    {0, 8, "vhdxfile", OTHER_FORMAT},
    {0, 8, "conectix", OTHER_FORMAT},
    {0x40, 4, "\x7f\x10\xda\xbe", OTHER_FORMAT},
    {510, 2, "\x55\xaa", RAW},
};
#define HEAD_BYTES 0x206

static int look_at(struct cli *cli, const char *path, enum contents *out)
{
    unsigned char head[HEAD_BYTES];
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
    if (n < 0)
        return cli_error(cli, "cannot open '%s': %s", path, strerror(errno));
    *out = NO_BOOT;
    for (size_t i = 0; i < ARRAY_SIZE(signatures) && *out == NO_BOOT; i++)
        if (signatures[i].offset + signatures[i].len <= (size_t)n &&
            memcmp(head + signatures[i].offset, signatures[i].bytes, signatures[i].len) == 0)
            *out = signatures[i].contents;
    return 0;
}

static const char *absolute(struct cli *cli, const char *path)
{
    char *whole = path ? realpath(path, NULL) : NULL;
    if (!whole)
        return path;
    const char *kept = cli_text(cli, "%s", whole);
    free(whole);
    return kept;
}

/* The file's name as far as a machine may be called so, and a number when it is taken. */
static const char *free_name(struct cli *cli, const char *path)
{
    const char *base = strrchr(path, '/');
    char *name = cli_text(cli, "%s", base ? base + 1 : path);
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_+", *p))
            *p = '-';
    const REMOTE_RET(CONNECT_LIST_ALL_DOMAINS) *all =
        CALL(cli, CONNECT_LIST_ALL_DOMAINS, .want_list = 1);
    const char *candidate = name;
    for (unsigned i = 2; all; i++) {
        unsigned k = 0;
        while (k < all->domains.domains_len &&
               strcmp(all->domains.domains_val[k].name, candidate) != 0)
            k++;
        if (k == all->domains.domains_len)
            return candidate;
        candidate = cli_text(cli, "%s-%u", name, i);
    }
    return candidate;
}

/* NULL: told. */
static const char *disk_xml(struct cli *cli, const char *path, unsigned n)
{
    enum contents contents;
    if (look_at(cli, path, &contents) < 0)
        return NULL;
    if (contents == OTHER_FORMAT) {
        cli_error(cli, "'%s' is an image of a format that machines do not write to", path);
        cli_hint(cli, "kvasir-img convert -O qcow2 %s image.qcow2", path);
        return NULL;
    }
    return cli_text(cli,
                    "    <disk type='file' device='disk'><driver name='qemu' type='%s'/>"
                    "<source file='%s'/><target dev='vd%c' bus='virtio'/></disk>\n",
                    contents == QCOW2 ? "qcow2" : "raw", xml_escape(cli, path), 'a' + (int)n);
}

/* "bridge=br0", "tap=tap0", "user". NULL: none of them (told). */
static const char *network_xml(struct cli *cli, const char *network)
{
    if (!network)
        return "";
    if (strncmp(network, "bridge=", 7) == 0)
        return cli_text(cli,
                        "    <interface type='bridge'><source bridge='%s'/>"
                        "<model type='virtio'/></interface>\n",
                        xml_escape(cli, network + 7));
    if (strncmp(network, "tap=", 4) == 0)
        return cli_text(cli,
                        "    <interface type='ethernet'><target dev='%s' managed='no'/>"
                        "<model type='virtio'/></interface>\n",
                        xml_escape(cli, network + 4));
    if (strcmp(network, "user") == 0)
        return "    <interface type='user'><backend type='passt'/><model type='virtio'/>"
               "</interface>\n";
    cli_error(cli, "network '%s': bridge=NAME, tap=NAME and user are known", network);
    return NULL;
}

static const char *element(struct cli *cli, const char *name, const char *text)
{
    return text ? cli_text(cli, "    <%s>%s</%s>\n", name, xml_escape(cli, text), name) : "";
}

static char *describe(struct cli *cli, const struct machine *machine)
{
    const char *network = network_xml(cli, machine->network), *disks = "";
    if (!network)
        return NULL;
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(machine->disks); i++) {
        if (!machine->disks[i])
            continue;
        const char *disk = disk_xml(cli, machine->disks[i], n++);
        if (!disk)
            return NULL;
        disks = cli_text(cli, "%s%s", disks, disk);
    }
    if (machine->seed)
        disks = cli_text(cli,
                         "%s    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/>"
                         "<source file='%s'/><target dev='sda' bus='sata'/><readonly/></disk>\n",
                         disks, xml_escape(cli, machine->seed));
    return cli_text(
        cli,
        "<domain type='kvm'>\n  <name>%s</name>\n%s"
        "  <memory unit='KiB'>%llu</memory>\n  <vcpu>%d</vcpu>\n"
        "  <os>\n    <type arch='x86_64' machine='q35'>hvm</type>\n%s%s%s  </os>\n"
        "  <features><acpi/><apic/></features>\n  <cpu mode='host-passthrough'/>\n"
        "  <devices>\n%s%s    <serial type='pty'><target port='0'/></serial>\n"
        "    <console type='pty'><target type='serial' port='0'/></console>\n"
        "    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n"
        "  </devices>\n</domain>\n",
        xml_escape(cli, machine->name), element(cli, "uuid", machine->uuid),
        (unsigned long long)machine->memory / 1024, machine->cpus,
        element(cli, "kernel", machine->kernel), element(cli, "initrd", machine->initrd),
        machine->kernel ? element(cli, "cmdline", machine->cmdline) : "    <boot dev='hd'/>\n",
        disks, network);
}

/* What cannot be had: refused rather than left out. */
static int refuse_unbuilt(struct cli *cli)
{
    if (arg_raw(cli, "share"))
        return cli_error(
            cli, "--share '%s': virtio-fs is not built, folders cannot be shared with guests",
            arg_raw(cli, "share"));
    if (arg_on(cli, "print-xml") && seed_is_wanted(cli))
        return cli_error(cli,
                         "--print-xml starts no machine, and a seed for cloud-init is made for "
                         "one that starts");
    return 0;
}

/* A kernel, an image with a kernel, or an image that starts by itself. */
static int choose_start(struct cli *cli, struct machine *out, const char *image, const char *kernel,
                        const char *initrd)
{
    enum contents contents;
    if (look_at(cli, image, &contents) < 0)
        return -1;
    bool is_kernel = contents == KERNEL;
    if (is_kernel && kernel)
        return cli_error(cli, "'%s' is a kernel already; --kernel names another one", image);
    if (!is_kernel && !kernel && (initrd || arg_raw(cli, "cmdline")))
        return cli_error(cli, "'%s' starts by itself; --initrd and --cmdline go with --kernel",
                         image);
    if (contents == NO_BOOT && !kernel) {
        cli_error(cli, "'%s' is neither a Linux kernel nor a disk that a BIOS starts from", image);
        cli_hint(cli,
                 "give the kernel as well: kvasir run %s --kernel vmlinuz --initrd initrd.img "
                 "--cmdline 'console=ttyS0 root=/dev/vda1'",
                 image);
        return -1;
    }
    out->kernel = absolute(cli, is_kernel ? image : kernel);
    out->disks[0] = is_kernel ? NULL : absolute(cli, image);
    return 0;
}

static int read_options(struct cli *cli, struct machine *out)
{
    const char *image = NULL, *memory = NULL, *kernel = NULL, *initrd = NULL, *disk = NULL;
    *out = (struct machine){.cpus = 1, .memory = DEFAULT_MEMORY, .cmdline = "console=ttyS0"};
    if (arg_text(cli, "image", &image) < 0 || arg_text(cli, "name", &out->name) < 0 ||
        arg_int(cli, "cpus", &out->cpus) < 0 || arg_text(cli, "memory", &memory) < 0 ||
        arg_text(cli, "kernel", &kernel) < 0 || arg_text(cli, "initrd", &initrd) < 0 ||
        arg_text_or_empty(cli, "cmdline", &out->cmdline) < 0 || arg_text(cli, "disk", &disk) < 0 ||
        arg_text(cli, "network", &out->network) < 0 || refuse_unbuilt(cli) < 0 ||
        choose_start(cli, out, image, kernel, initrd) < 0)
        return -1;
    if (out->cpus < 1)
        return cli_error(cli, "a machine has at least one vCPU");
    if (memory && (parse_size(memory, &out->memory) < 0 || out->memory < MIB(1)))
        return cli_error(cli, "memory '%s': a size such as 512M or 2G, at least 1M", memory);
    out->disks[1] = absolute(cli, disk);
    out->initrd = absolute(cli, initrd);
    if (!out->name)
        out->name = free_name(cli, image);
    return 0;
}

/* NULL: told, or in cli->error. */
static const wire_domain *start_transient(struct cli *cli, char *xml, unsigned flags)
{
    const REMOTE_RET(DOMAIN_CREATE_XML) *started =
        CALL(cli, DOMAIN_CREATE_XML, .xml_desc = xml, .flags = flags);
    return started ? &started->dom : NULL;
}

static const wire_domain *define(struct cli *cli, char *xml)
{
    const REMOTE_RET(DOMAIN_DEFINE_XML) *defined = CALL(cli, DOMAIN_DEFINE_XML, .xml = xml);
    return defined ? &defined->dom : NULL;
}

static const wire_domain *start_kept(struct cli *cli, char *xml, unsigned flags)
{
    const wire_domain *domain = define(cli, xml);
    const REMOTE_RET(DOMAIN_CREATE_WITH_FLAGS) *started =
        domain ? CALL(cli, DOMAIN_CREATE_WITH_FLAGS, .dom = *domain, .flags = flags) : NULL;
    return started ? &started->dom : NULL;
}

/* The seed is for the first boot only: it is removed while the machine has it open, and the
 * definition is one without it. */
static const wire_domain *start_seeded(struct cli *cli, struct machine *machine, unsigned flags,
                                       bool keep)
{
    if (seed_make(cli, machine->name, &machine->seed) < 0)
        return NULL;
    char *xml = describe(cli, machine);
    const wire_domain *domain = xml ? start_transient(cli, xml, flags) : NULL;
    unlink(machine->seed);
    if (!domain || !keep)
        return domain;
    machine->seed = NULL;
    machine->uuid = uuid_to_text(cli, domain->uuid);
    xml = describe(cli, machine);
    if (xml && define(cli, xml))
        return domain;
    cli_error(cli, "machine '%s' runs, but was not defined", domain->name);
    return NULL;
}

int run_machine(struct cli *cli)
{
    struct machine machine;
    bool console = arg_on(cli, "console"), keep = arg_on(cli, "keep");
    if (arg_exclusive(cli, "keep", "rm") < 0 || read_options(cli, &machine) < 0)
        return -1;
    unsigned flags = console ? VIR_DOMAIN_START_PAUSED : 0;
    const wire_domain *domain;
    if (seed_is_wanted(cli)) {
        domain = start_seeded(cli, &machine, flags, keep);
    } else {
        char *xml = describe(cli, &machine);
        if (!xml)
            return -1;
        if (arg_on(cli, "print-xml"))
            return out_document(cli, "xml", xml);
        domain = keep ? start_kept(cli, xml, flags) : start_transient(cli, xml, flags);
    }
    if (!domain)
        return cli_error(cli, "Failed to run '%s' as machine '%s'", arg_raw(cli, "image"),
                         machine.name);
    out_done(cli, "Machine '%s' runs", domain->name);
    if (!console)
        return 0;
    int r = console_run_resumed(cli, domain);
    if (arg_on(cli, "rm") && kvasir_conn_is_alive(cli->conn)) {
        CALL(cli, DOMAIN_DESTROY, .dom = *domain);
        cli_forget_error(cli); /* it may have ended by itself */
    }
    return r;
}
