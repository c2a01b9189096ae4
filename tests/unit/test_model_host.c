/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The documents by which clients choose their defaults (src/model/host.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/api_error.h"
#include "model/cpu.h"
#include "model/domain.h"
#include "model/host.h"
#include "model/xml.h"

static const uint8_t uuid[16] = {1, 2, 3};

static struct model_host *host_at(const char *root)
{
    struct model_host *host;
    struct kv_error err;
    struct model_host_config config = {
        .emulator = "/opt/a&b/kvasir-vmm", .uuid = uuid, .root = root};
    assert_int_equal(model_host_create(&host, &config, &err), 0);
    return host;
}

static xmlDoc *document(char *text, const char *root)
{
    xmlDoc *doc;
    struct kv_error err = {0};
    assert_non_null(text);
    if (xml_parse(&doc, text, strlen(text), "(test)", root, &err) < 0)
        fail_msg("%s in\n%s", err.message, text);
    free(text);
    return doc;
}

static xmlNode *at(const xmlDoc *doc, const char *path)
{
    xmlNode *node = xmlDocGetRootElement(doc);
    char name[64];
    while (node && *path) {
        size_t n = strcspn(path, "/");
        snprintf(name, sizeof(name), "%.*s", (int)n, path);
        node = xml_child(node, name);
        path += n + (path[n] == '/');
    }
    if (!node)
        fail_msg("no %s", path);
    return node;
}

static void capabilities_tell_of_processor_cells_and_guests(void **state)
{
    struct model_host *host = host_at(NULL);
    xmlDoc *doc = document(model_host_capabilities(host), "capabilities");
    assert_string_equal(xml_text(at(doc, "host/uuid")), "01020300-0000-0000-0000-000000000000");
    assert_string_equal(xml_text(at(doc, "host/cpu/arch")), "x86_64");
    assert_string_equal(xml_text(at(doc, "host/cpu/model")), cpu_host_model());
    assert_true(xml_count(at(doc, "host/cpu"), "feature") > 20);
    xmlNode *cells = at(doc, "host/topology/cells");
    uint64_t cpus = 0, kib = 0;
    for (xmlNode *cell = xml_first(cells); cell; cell = xml_next(cell)) {
        uint64_t n, memory;
        assert_true(xml_number(xml_child_attr(cell, "cpus", "num"), 65536, &n));
        assert_true(xml_number(xml_child_text(cell, "memory"), UINT64_MAX, &memory));
        cpus += n;
        kib += memory;
    }
    assert_int_equal(cpus, sysconf(_SC_NPROCESSORS_ONLN));
    assert_true(kib > 100000);
    assert_string_equal(xml_attr(at(doc, "guest/arch/domain"), "type"), "kvm");
    assert_string_equal(xml_text(at(doc, "guest/arch/emulator")), "/opt/a&b/kvasir-vmm");
    xmlFreeDoc(doc);
    model_host_free(host);
}

static void write_file(const char *root, const char *dir, const char *name, const char *text)
{
    char command[512], path[512];
    snprintf(command, sizeof(command), "mkdir -p %s/%s", root, dir);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof(path), "%s/%s/%s", root, dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void cells_and_pages_of_a_large_host_are_told(void **state)
{
    char root[] = "/tmp/kvasir-host-XXXXXX", command[64];
    assert_non_null(mkdtemp(root));
    write_file(root, "sys/devices/system/cpu", "online", "0-3\n");
    write_file(root, "sys/devices/system/node", "online", "0-1\n");
    static const char *const nodes[][3] = {
        {"sys/devices/system/node/node0", "0-1\n", "10 21\n"},
        {"sys/devices/system/node/node1", "2-3\n", "21 10\n"},
    };
    for (unsigned i = 0; i < 2; i++) {
        char dir[128];
        write_file(root, nodes[i][0], "cpulist", nodes[i][1]);
        write_file(root, nodes[i][0], "distance", nodes[i][2]);
        write_file(root, nodes[i][0], "meminfo", "Node 0 MemTotal:       4194304 kB\n");
        snprintf(dir, sizeof(dir), "%s/hugepages/hugepages-2048kB", nodes[i][0]);
        write_file(root, dir, "nr_hugepages", "512\n");
    }
    struct model_host *host = host_at(root);
    xmlDoc *doc = document(model_host_capabilities(host), "capabilities");
    xmlNode *cell = xml_next(xml_first(at(doc, "host/topology/cells")));
    assert_string_equal(xml_attr(cell, "id"), "1");
    assert_string_equal(xml_child_attr(cell, "cpus", "num"), "2");
    xmlNode *pages = xml_child(cell, "pages");
    assert_string_equal(xml_text(pages), "786432");
    assert_string_equal(xml_text(xml_next_same(pages)), "512");
    assert_string_equal(xml_attr(xml_next(xml_first(xml_child(cell, "distances"))), "value"), "10");
    xmlFreeDoc(doc);
    model_host_free(host);
    snprintf(command, sizeof(command), "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

static void domain_capabilities_offer_what_is_there(void **state)
{
    struct model_host *host = host_at(NULL);
    struct kv_error err;
    char *text;
    assert_int_equal(
        model_host_domain_capabilities(host, NULL, "x86_64", "q35", "kvm", &text, &err), 0);
    xmlDoc *doc = document(text, "domainCapabilities");
    assert_string_equal(xml_text(at(doc, "machine")), "pc-q35-7.2");
    assert_string_equal(xml_attr(at(doc, "cpu/mode"), "name"), "host-passthrough");
    assert_string_equal(xml_attr(at(doc, "cpu/mode"), "supported"), "yes");
    assert_string_equal(xml_text(at(doc, "os/enum/value")), "bios");
    assert_string_equal(xml_attr(at(doc, "os/loader"), "supported"),
                        model_host_bios() ? "yes" : "no");
    assert_string_equal(xml_attr(at(doc, "devices/graphics"), "supported"), "yes");
    assert_string_equal(xml_text(at(doc, "devices/graphics/enum/value")), "vnc");
    assert_string_equal(xml_text(at(doc, "devices/video/enum/value")), "vga");
    assert_string_equal(xml_attr(at(doc, "devices/disk"), "supported"), "yes");
    xmlFreeDoc(doc);
    static const char *const wrong[][3] = {
        {"ppc64", NULL, NULL}, {NULL, "sun4u", NULL}, {NULL, NULL, "xen"}};
    for (unsigned i = 0; i < 3; i++) {
        assert_true(model_host_domain_capabilities(host, NULL, wrong[i][0], wrong[i][1],
                                                   wrong[i][2], &text, &err) < 0);
        assert_int_equal(err.code, VIR_ERR_INVALID_ARG);
        assert_null(text);
    }
    model_host_free(host);
}

#define DESCRIPTOR(code, features)                                                               \
    "{\"interface-types\": [\"uefi\"], \"mapping\": {\"device\": \"flash\", \"executable\": "    \
    "{\"filename\": \"/fw/" code "\", \"format\": \"raw\"}, \"nvram-template\": {\"filename\": " \
    "\"/fw/VARS.fd\", \"format\": \"raw\"}}, \"targets\": [{\"architecture\": \"x86_64\"}], "    \
    "\"features\": [" features "]}"

#define OS_WITH(attributes, children)                                         \
    "<domain type='kvm'><name>t</name><memory>524288</memory><os " attributes \
    "><type>hvm</type>" children "</os></domain>"

static struct model_domain *parse(const struct model_host *host, const char *xml,
                                  struct kv_error *err)
{
    struct model_domain *d = NULL;
    *err = (struct kv_error){0};
    model_domain_parse(&d, host, xml, strlen(xml), MODEL_PARSE_INACTIVE, err);
    return d;
}

/* Its folder is removed by the caller. */
static struct model_host *host_with_firmware(char *root)
{
    assert_non_null(mkdtemp(root));
    write_file(root, "fw", "CODE.fd", "");
    write_file(root, "fw", "CODE.smm.fd", "");
    write_file(root, "fw", "VARS.fd", "");
    write_file(root, "etc/qemu/firmware", "10-hidden.json", "");
    write_file(root, "usr/share/qemu/firmware", "10-hidden.json", DESCRIPTOR("CODE.fd", ""));
    write_file(root, "usr/share/qemu/firmware", "20-broken.json", "{\"mapping\": [");
    write_file(root, "usr/share/qemu/firmware", "30-smm.json",
               DESCRIPTOR("CODE.smm.fd", "\"requires-smm\""));
    write_file(root, "usr/share/qemu/firmware", "40-gone.json", DESCRIPTOR("GONE.fd", ""));
    write_file(root, "usr/share/qemu/firmware", "60-plain.json", DESCRIPTOR("CODE.fd", ""));
    return host_at(root);
}

static void uefi_is_what_a_descriptor_offers_without_smm(void **state)
{
    char root[] = "/tmp/kvasir-host-XXXXXX", command[64];
    struct model_host *host = host_with_firmware(root), *bare = host_at("/nowhere");
    struct model_uefi uefi;
    struct kv_error err;
    assert_true(model_host_uefi(host, NULL, &uefi));
    assert_string_equal(uefi.code, "/fw/CODE.fd");
    assert_string_equal(uefi.vars, "/fw/VARS.fd");
    assert_true(model_host_uefi(host, "/fw/CODE.smm.fd", &uefi));
    assert_true(uefi.needs_smm);
    assert_false(model_host_uefi(bare, NULL, &uefi));

    char *text;
    assert_int_equal(model_host_domain_capabilities(host, NULL, NULL, NULL, NULL, &text, &err), 0);
    assert_non_null(strstr(text, "<value>efi</value>"));
    assert_non_null(strstr(text, "<value>/fw/CODE.fd</value>"));
    assert_non_null(strstr(text, "<value>pflash</value>"));
    free(text);
    assert_int_equal(model_host_domain_capabilities(bare, NULL, NULL, NULL, NULL, &text, &err), 0);
    assert_null(strstr(text, "efi"));
    free(text);
    snprintf(command, sizeof(command), "rm -r %s", root);
    assert_int_equal(system(command), 0);
    model_host_free(host);
    model_host_free(bare);
}

static void a_domain_with_uefi_gets_an_image_and_a_file_for_its_variables(void **state)
{
    char root[] = "/tmp/kvasir-host-XXXXXX", command[64];
    struct model_host *host = host_with_firmware(root), *bare = host_at("/nowhere");
    struct kv_error err;
    struct model_domain *d = parse(host, OS_WITH("firmware='efi'", ""), &err);
    if (!d)
        fail_msg("%s", err.message);
    assert_string_equal(d->loader, "/fw/CODE.fd");
    assert_string_equal(d->nvram, "/var/lib/kvasir/nvram/t_VARS.fd");
    assert_string_equal(d->nvram_template, "/fw/VARS.fd");
    model_domain_free(d);
    d = parse(host,
              OS_WITH("", "<loader readonly='yes' type='pflash'>/fw/CODE.fd</loader>"
                          "<nvram>/v</nvram>"),
              &err);
    assert_non_null(d);
    assert_string_equal(d->nvram, "/v");
    assert_string_equal(d->nvram_template, "/fw/VARS.fd");
    model_domain_free(d);
    d = parse(bare,
              OS_WITH("", "<loader type='pflash'>/other</loader>"
                          "<nvram template='/its'/>"),
              &err);
    assert_non_null(d);
    assert_string_equal(d->loader, "/other");
    assert_string_equal(d->nvram_template, "/its");
    model_domain_free(d);
    assert_null(parse(bare, OS_WITH("firmware='efi'", ""), &err));
    assert_int_equal(err.code, VIR_ERR_OPERATION_FAILED);
    assert_null(parse(host, OS_WITH("", "<loader type='pflash'>/fw/CODE.smm.fd</loader>"), &err));
    assert_non_null(strstr(err.message, "needs system management mode"));
    snprintf(command, sizeof(command), "rm -r %s", root);
    assert_int_equal(system(command), 0);
    model_host_free(host);
    model_host_free(bare);
}

static void machine_types_have_full_names(void **state)
{
    assert_string_equal(model_host_machine("pc"), "pc-i440fx-7.2");
    assert_string_equal(model_host_machine("q35"), "pc-q35-7.2");
    assert_string_equal(model_host_machine("pc-q35-6.2"), "pc-q35-6.2");
    assert_string_equal(model_host_machine("microvm"), "microvm");
    static const char *const wrong[] = {"", "pc-", "pc-q35-", "pc-q35-x", "pc-q35-7.2.", "virt"};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_null(model_host_machine(wrong[i]));
}

static void cpu_models_are_listed_by_architecture(void **state)
{
    const char *const *names;
    unsigned count;
    struct kv_error err;
    assert_int_equal(model_host_cpu_models("x86_64", &names, &count, &err), 0);
    assert_true(count > 30);
    assert_non_null(names[count - 1]);
    assert_null(names[count]);
    assert_int_equal(model_host_cpu_models("aarch64", &names, &count, &err), 0);
    assert_int_equal(count, 0);
    assert_true(model_host_cpu_models("z80", &names, &count, &err) < 0);
    assert_int_equal(err.code, VIR_ERR_INVALID_ARG);
    assert_true(cpu_host_has("fpu"));
    assert_false(cpu_host_has("flux-capacitor"));
}

static char *baseline(const char *const *cpus, unsigned count, unsigned flags, int wanted)
{
    char *text;
    struct kv_error err = {0};
    int ret = cpu_baseline((char *const *)cpus, count, flags, &text, &err);
    if (wanted == 0 && ret < 0)
        fail_msg("%s", err.message);
    assert_int_equal(wanted, ret < 0 ? err.code : 0);
    return text;
}

#define CPU(model, features) \
    "<cpu><arch>x86_64</arch><model>" model "</model><vendor>AMD</vendor>" features "</cpu>"
#define HAS(name) "<feature name='" name "'/>"

static void a_baseline_is_what_all_processors_have(void **state)
{
    static const char *const alike[] = {
        CPU("EPYC", HAS("aes") HAS("avx") HAS("avx") HAS("invtsc")),
        CPU("EPYC", HAS("invtsc") HAS("avx") "<feature policy='disable' name='sha-ni'/>"),
    };
    char *text = baseline(alike, 2, 0, 0);
    assert_string_equal(text, "<cpu mode='custom' match='exact'>\n"
                              "  <model fallback='forbid'>EPYC</model>\n"
                              "  <vendor>AMD</vendor>\n"
                              "  <feature policy='require' name='avx'/>\n"
                              "  <feature policy='require' name='invtsc'/>\n"
                              "  <feature policy='disable' name='sha-ni'/>\n"
                              "</cpu>\n");
    free(text);
    text = baseline(alike, 2, 2 /* migratable */, 0);
    assert_null(strstr(text, "invtsc"));
    free(text);

    static const char *const unlike[] = {CPU("EPYC", HAS("avx")), CPU("EPYC-Rome", HAS("avx"))};
    text = baseline(unlike, 2, 0, 0);
    assert_non_null(strstr(text, "<model fallback='forbid'>kvm64</model>"));
    assert_non_null(strstr(text, "'avx'"));
    free(text);
}

static void processors_without_a_baseline_are_refused(void **state)
{
    static const char *const vendors[] = {
        CPU("EPYC", ""), "<cpu><model>Haswell</model><vendor>Intel</vendor></cpu>"};
    baseline(vendors, 2, 0, VIR_ERR_OPERATION_FAILED);
    static const char *const arch[] = {"<cpu><arch>s390x</arch><model>z14</model></cpu>"};
    baseline(arch, 1, 0, VIR_ERR_NO_SUPPORT);
    static const char *const nothing[] = {"<cpu/>"};
    baseline(nothing, 1, 0, VIR_ERR_XML_ERROR);
    static const char *const nameless[] = {CPU("EPYC", "<feature/>")};
    baseline(nameless, 1, 0, VIR_ERR_XML_ERROR);
    static const char *const broken[] = {CPU("EPYC", ""), "<cpu>"};
    baseline(broken, 2, 0, VIR_ERR_XML_DETAIL);
    baseline(NULL, 0, 0, VIR_ERR_INVALID_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capabilities_tell_of_processor_cells_and_guests),
        cmocka_unit_test(cells_and_pages_of_a_large_host_are_told),
        cmocka_unit_test(domain_capabilities_offer_what_is_there),
        cmocka_unit_test(uefi_is_what_a_descriptor_offers_without_smm),
        cmocka_unit_test(a_domain_with_uefi_gets_an_image_and_a_file_for_its_variables),
        cmocka_unit_test(machine_types_have_full_names),
        cmocka_unit_test(cpu_models_are_listed_by_architecture),
        cmocka_unit_test(a_baseline_is_what_all_processors_have),
        cmocka_unit_test(processors_without_a_baseline_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
