/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The domain capabilities document (libvirt's formatdomaincaps page): what a domain of this host
 * may have, so that clients offer it and nothing else. Tables that agree with what the readers of
 * the document accept (device_*.c, domain_*.c).
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/util.h"
#include "model/api_error.h"
#include "model/cpu.h"
#include "model/host.h"
#include "model/host_internal.h"
#include "model/xml.h"

struct choice {
    const char *name;
    const char *values[16];
};

struct feature {
    const char *name; /* NULL ends them */
    bool supported;
    struct choice choices[6];
    bool (*is_there)(void); /* on this host; NULL: always */
};

static bool has_swtpm(void)
{
    return access("/usr/bin/swtpm", X_OK) == 0;
}

static bool kvm_has_hyperv(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    bool has = fd >= 0 && ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_HYPERV_CPUID) > 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static const struct feature devices[] = {
    {"disk",
     true,
     {{"diskDevice", {"disk", "cdrom"}},
      {"bus", {"scsi", "virtio", "sata", "nvme"}},
      {"model", {"virtio", "virtio-non-transitional"}}}},
    {"graphics", true, {{"type", {"vnc"}}}},
    {"video", true, {{"modelType", {"vga", "virtio", "none"}}}},
    {"hostdev", false, {{0}}},
    {"rng",
     true,
     {{"model", {"virtio", "virtio-non-transitional"}}, {"backendModel", {"random", "builtin"}}}},
    {"filesystem", false, {{0}}},
    {"tpm",
     true,
     {{"model", {"tpm-tis", "tpm-crb"}},
      {"backendModel", {"emulator"}},
      {"backendVersion", {"2.0"}}},
     has_swtpm},
    {"redirdev", false, {{0}}},
    {"channel", true, {{"type", {"pty", "unix", "qemu-vdagent"}}}},
    {NULL, false, {{0}}},
};

static const struct feature features[] = {
    {"gic", false, {{0}}},
    {"vmcoreinfo", false, {{0}}},
    {"genid", true, {{0}}},
    {"backingStoreInput", true, {{0}}},
    {"backup", false, {{0}}},
    {"sev", false, {{0}}},
    {"sgx", false, {{0}}},
    {"hyperv",
     true,
     {{"features",
       {"relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic", "stimer", "reset",
        "vendor_id", "frequencies", "reenlightenment", "tlbflush", "ipi"}}},
     kvm_has_hyperv},
    {NULL, false, {{0}}},
};

static void put_choices(struct buffer *text, const char *indent, const struct choice *choices)
{
    for (const struct choice *c = choices; c->name; c++) {
        buffer_printf(text, "%s<enum name='%s'>\n", indent, c->name);
        for (const char *const *v = c->values; *v; v++)
            buffer_printf(text, "%s  <value>%s</value>\n", indent, *v);
        buffer_printf(text, "%s</enum>\n", indent);
    }
}

static void put_features(struct buffer *text, const char *section, const struct feature *rows)
{
    buffer_printf(text, "  <%s>\n", section);
    for (const struct feature *f = rows; f->name; f++) {
        bool supported = f->supported && (!f->is_there || f->is_there());
        const char *yes = supported ? "yes" : "no";
        if (!supported || !f->choices[0].name) {
            buffer_printf(text, "    <%s supported='%s'/>\n", f->name, yes);
            continue;
        }
        buffer_printf(text, "    <%s supported='%s'>\n", f->name, yes);
        put_choices(text, "      ", f->choices);
        buffer_printf(text, "    </%s>\n", f->name);
    }
    buffer_printf(text, "  </%s>\n", section);
}

static void put_feature(void *opaque, const char *name)
{
    buffer_printf(opaque, "      <feature policy='require' name='%s'/>\n", name);
}

static void put_cpu(struct buffer *text)
{
    buffer_printf(text,
                  "  <cpu>\n"
                  "    <mode name='host-passthrough' supported='yes'>\n"
                  "      <enum name='hostPassthroughMigratable'>\n"
                  "        <value>on</value>\n"
                  "        <value>off</value>\n"
                  "      </enum>\n"
                  "    </mode>\n"
                  "    <mode name='maximum' supported='yes'>\n"
                  "      <enum name='maximumMigratable'>\n"
                  "        <value>on</value>\n"
                  "        <value>off</value>\n"
                  "      </enum>\n"
                  "    </mode>\n"
                  "    <mode name='host-model' supported='yes'>\n"
                  "      <model fallback='forbid'>%s</model>\n"
                  "      <vendor>%s</vendor>\n",
                  cpu_host_model(), cpu_host_vendor());
    cpu_host_features(put_feature, text);
    buffer_printf(text, "    </mode>\n"
                        "    <mode name='custom' supported='no'/>\n"
                        "  </cpu>\n");
}

static int check_asked(const struct model_host *host, const char *emulator, const char *arch,
                       const char *machine, const char *virttype, struct kv_error *err)
{
    if (virttype && strcmp(virttype, "kvm") != 0)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "the accel '%s' is not supported by '%s' on this host", virttype,
                         model_host_emulator(host));
    if (arch && strcmp(arch, "x86_64") != 0)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "architecture from emulator 'x86_64' doesn't match given architecture "
                         "'%s'",
                         arch);
    if (machine && !model_host_machine(machine))
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "the machine '%s' is not supported by emulator "
                         "'%s'",
                         machine, model_host_emulator(host));
    return 0;
}

static const char *first_readable(const char *const *paths)
{
    while (*paths && access(*paths, R_OK) < 0)
        paths++;
    return *paths;
}

const char *model_host_bios(void)
{
    static const char *const paths[] = {"/usr/share/seabios/bios-256k.bin",
                                        "/usr/share/qemu/bios-256k.bin",
                                        "/usr/share/seabios/bios.bin", NULL};
    return first_readable(paths);
}

const char *model_host_network_rom(void)
{
    static const char *const paths[] = {"/usr/lib/ipxe/qemu/pxe-virtio.rom",
                                        "/usr/share/ipxe/1af41000.rom",
                                        "/usr/share/qemu/pxe-virtio.rom", NULL};
    return first_readable(paths);
}

static void put_value(struct buffer *text, const char *value)
{
    buffer_printf(text, "      <value>");
    xml_escape(text, value);
    buffer_printf(text, "</value>\n");
}

static void put_firmware(struct buffer *text, const char *bios, const struct model_uefi *uefi)
{
    buffer_printf(text,
                  "    <enum name='firmware'>\n"
                  "      <value>bios</value>\n"
                  "%s"
                  "    </enum>\n",
                  uefi ? "      <value>efi</value>\n" : "");
    if (!bios && !uefi) {
        buffer_printf(text, "    <loader supported='no'/>\n");
        return;
    }
    buffer_printf(text, "    <loader supported='yes'>\n");
    if (uefi)
        put_value(text, uefi->code);
    if (bios)
        put_value(text, bios);
    buffer_printf(text,
                  "      <enum name='type'>\n"
                  "        <value>rom</value>\n"
                  "%s"
                  "      </enum>\n"
                  "      <enum name='readonly'>\n"
                  "        <value>yes</value>\n"
                  "      </enum>\n"
                  "      <enum name='secure'>\n"
                  "        <value>no</value>\n"
                  "      </enum>\n"
                  "    </loader>\n",
                  uefi ? "        <value>pflash</value>\n" : "");
}

int model_host_domain_capabilities(const struct model_host *host, const char *emulator,
                                   const char *arch, const char *machine, const char *virttype,
                                   char **out, struct kv_error *err)
{
    *out = NULL;
    int ret = check_asked(host, emulator, arch, machine, virttype, err);
    if (ret < 0)
        return ret;
    struct buffer text = BUFFER_INIT(0);
    buffer_printf(&text, "<domainCapabilities>\n  <path>");
    xml_escape(&text, model_host_emulator(host));
    buffer_printf(&text,
                  "</path>\n"
                  "  <domain>kvm</domain>\n"
                  "  <machine>%s</machine>\n"
                  "  <arch>x86_64</arch>\n"
                  "  <vcpu max='%d'/>\n"
                  "  <iothreads supported='yes'/>\n"
                  "  <os supported='yes'>\n",
                  model_host_machine(machine ? machine : "pc"), HOST_VCPUS_MAX);
    struct model_uefi uefi;
    put_firmware(&text, model_host_bios(), model_host_uefi(host, NULL, &uefi) ? &uefi : NULL);
    buffer_printf(&text, "  </os>\n");
    put_cpu(&text);
    buffer_printf(&text, "  <memoryBacking supported='yes'>\n"
                         "    <enum name='sourceType'>\n"
                         "      <value>anonymous</value>\n"
                         "      <value>memfd</value>\n"
                         "    </enum>\n"
                         "  </memoryBacking>\n");
    put_features(&text, "devices", devices);
    put_features(&text, "features", features);
    buffer_printf(&text, "</domainCapabilities>\n");
    *out = xml_take(&text);
    return *out ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

int model_host_cpu_models(const char *arch, const char *const **out, unsigned *count,
                          struct kv_error *err)
{
    static const char *const others[] = {"aarch64", "armv7l", "ppc64", "ppc64le", "s390x",
                                         "riscv64", "mips",   "sparc", NULL};
    *out = NULL;
    *count = 0;
    if (strcmp(arch, "x86_64") == 0 || strcmp(arch, "i686") == 0) {
        *out = cpu_model_names;
        *count = cpu_model_count;
        return 0;
    }
    for (const char *const *o = others; *o; o++) {
        if (strcmp(*o, arch) == 0)
            return 0;
    }
    return api_error_from(err, VIR_FROM_CPU, VIR_ERR_INVALID_ARG, "cannot find architecture %s",
                          arch);
}
