/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run: from a Linux kernel to a machine in one line. The machine is described here, started for
 * this once (--keep: defined first) and, with --console, talked to from its first byte on.
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
#include "cli/verbs.h"
#include "cli/xml.h"

#define DEFAULT_MEMORY MIB(256)

struct machine {
    const char *name, *kernel, *initrd, *cmdline, *disk, *network;
    int cpus;
    uint64_t memory;
};

/* What can be started without firmware: Linux's boot header ("HdrS" at 0x202) or an ELF file. */
static int is_kernel(struct cli *cli, const char *path, bool *kernel)
{
    unsigned char head[0x206];
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cli_error(cli, "cannot open '%s': %s", path, strerror(errno));
    ssize_t n = pread(fd, head, sizeof(head), 0);
    *kernel = (n >= 4 && memcmp(head, "\177ELF", 4) == 0) ||
              (n == (ssize_t)sizeof(head) && memcmp(head + 0x202, "HdrS", 4) == 0);
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

static const char *disk_format(const char *path)
{
    unsigned char magic[4] = {0};
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool qcow2 = fd >= 0 && pread(fd, magic, 4, 0) == 4 && memcmp(magic, "QFI\xfb", 4) == 0;
    return qcow2 ? "qcow2" : "raw";
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
    const char *network = network_xml(cli, machine->network), *disk = "";
    if (!network)
        return NULL;
    if (machine->disk)
        disk = cli_text(cli,
                        "    <disk type='file' device='disk'><driver name='qemu' type='%s'/>"
                        "<source file='%s'/><target dev='vda' bus='virtio'/></disk>\n",
                        disk_format(machine->disk), xml_escape(cli, machine->disk));
    return cli_text(cli,
                    "<domain type='kvm'>\n  <name>%s</name>\n"
                    "  <memory unit='KiB'>%llu</memory>\n  <vcpu>%d</vcpu>\n"
                    "  <os>\n    <type arch='x86_64' machine='q35'>hvm</type>\n%s%s%s  </os>\n"
                    "  <features><acpi/><apic/></features>\n  <cpu mode='host-passthrough'/>\n"
                    "  <devices>\n%s%s    <serial type='pty'><target port='0'/></serial>\n"
                    "    <console type='pty'><target type='serial' port='0'/></console>\n"
                    "    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n"
                    "  </devices>\n</domain>\n",
                    xml_escape(cli, machine->name), (unsigned long long)machine->memory / 1024,
                    machine->cpus, element(cli, "kernel", machine->kernel),
                    element(cli, "initrd", machine->initrd),
                    element(cli, "cmdline", machine->cmdline), disk, network);
}

static int read_options(struct cli *cli, struct machine *out)
{
    const char *image = NULL, *memory = NULL, *kernel = NULL, *initrd = NULL, *disk = NULL;
    bool bootable = false;
    *out = (struct machine){.cpus = 1, .memory = DEFAULT_MEMORY, .cmdline = "console=ttyS0"};
    if (arg_text(cli, "image", &image) < 0 || arg_text(cli, "name", &out->name) < 0 ||
        arg_int(cli, "cpus", &out->cpus) < 0 || arg_text(cli, "memory", &memory) < 0 ||
        arg_text(cli, "kernel", &kernel) < 0 || arg_text(cli, "initrd", &initrd) < 0 ||
        arg_text_or_empty(cli, "cmdline", &out->cmdline) < 0 || arg_text(cli, "disk", &disk) < 0 ||
        arg_text(cli, "network", &out->network) < 0 || is_kernel(cli, image, &bootable) < 0)
        return -1;
    if (out->cpus < 1)
        return cli_error(cli, "a machine has at least one vCPU");
    if (memory && (parse_size(memory, &out->memory) < 0 || out->memory < MIB(1)))
        return cli_error(cli, "memory '%s': a size such as 512M or 2G, at least 1M", memory);
    if (!bootable && !kernel) {
        cli_error(cli,
                  "'%s' is no Linux kernel: images that boot by themselves need firmware, which "
                  "is not there yet",
                  image);
        cli_hint(cli,
                 "give the kernel as well: kvasir run %s --kernel vmlinuz --initrd initrd.img "
                 "--cmdline 'console=ttyS0 root=/dev/vda1'",
                 image);
        return -1;
    }
    if (bootable && kernel)
        return cli_error(cli, "'%s' is a kernel already; --kernel names another one", image);
    if (!bootable && disk)
        return cli_error(cli, "the image is the machine's disk; --disk names another one");
    out->kernel = absolute(cli, bootable ? image : kernel);
    out->disk = absolute(cli, bootable ? disk : image);
    out->initrd = absolute(cli, initrd);
    if (!out->name)
        out->name = free_name(cli, image);
    return 0;
}

int run_machine(struct cli *cli)
{
    struct machine machine;
    bool console = arg_on(cli, "console"), keep = arg_on(cli, "keep");
    if (arg_exclusive(cli, "keep", "rm") < 0 || read_options(cli, &machine) < 0)
        return -1;
    char *xml = describe(cli, &machine);
    if (!xml)
        return -1;
    if (arg_on(cli, "print-xml"))
        return out_document(cli, "xml", xml);
    unsigned flags = console ? VIR_DOMAIN_START_PAUSED : 0;
    const wire_domain *domain = NULL;
    if (keep) {
        const REMOTE_RET(DOMAIN_DEFINE_XML) *defined = CALL(cli, DOMAIN_DEFINE_XML, .xml = xml);
        const REMOTE_RET(DOMAIN_CREATE_WITH_FLAGS) *started =
            defined ? CALL(cli, DOMAIN_CREATE_WITH_FLAGS, .dom = defined->dom, .flags = flags)
                    : NULL;
        domain = started ? &started->dom : NULL;
    } else {
        const REMOTE_RET(DOMAIN_CREATE_XML) *started =
            CALL(cli, DOMAIN_CREATE_XML, .xml_desc = xml, .flags = flags);
        domain = started ? &started->dom : NULL;
    }
    if (!domain)
        return cli_error(cli, "Failed to run '%s' as machine '%s'", machine.kernel, machine.name);
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
