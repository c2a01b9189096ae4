/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See cpu.h. */
#include "model/cpu.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"
#include "model/cpu_features.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct {
    char vendor[13];
    unsigned family, model, stepping, address_bits;
    uint32_t words[64]; /* by the table of features */
} host;

struct model {
    const char *name, *vendor;
    unsigned family;
    uint8_t models[8]; /* 0 ends them */
    unsigned stepping_min;
};

/* Newest stepping first where a model number was used for several. */
static const struct model models[] = {
    {"SapphireRapids", "Intel", 6, {143, 207}, 0},
    {"Snowridge", "Intel", 6, {134}, 0},
    {"Icelake-Server", "Intel", 6, {106, 108}, 0},
    {"Icelake-Client", "Intel", 6, {125, 126}, 0},
    {"Cooperlake", "Intel", 6, {85}, 10},
    {"Cascadelake-Server", "Intel", 6, {85}, 5},
    {"Skylake-Server", "Intel", 6, {85}, 0},
    {"Skylake-Client", "Intel", 6, {78, 94, 142, 158, 165, 166}, 0},
    {"Broadwell", "Intel", 6, {61, 71, 79, 86}, 0},
    {"Haswell", "Intel", 6, {60, 63, 69, 70}, 0},
    {"IvyBridge", "Intel", 6, {58, 62}, 0},
    {"SandyBridge", "Intel", 6, {42, 45}, 0},
    {"Westmere", "Intel", 6, {37, 44, 47}, 0},
    {"Nehalem", "Intel", 6, {26, 30, 31, 46}, 0},
    {"Penryn", "Intel", 6, {23, 29}, 0},
    {"Conroe", "Intel", 6, {15, 22}, 0},
    {"EPYC-Genoa", "AMD", 25, {17}, 0},
    {"EPYC-Milan", "AMD", 25, {1, 8, 33, 80}, 0},
    {"EPYC-Rome", "AMD", 23, {49, 71, 96, 104, 113}, 0},
    {"EPYC", "AMD", 23, {1, 8, 17, 24}, 0},
    {"Dhyana", "Hygon", 24, {1, 2}, 0},
    {"Opteron_G5", "AMD", 21, {2, 16, 48, 96}, 0},
    {"Opteron_G4", "AMD", 21, {1}, 0},
    {"Opteron_G3", "AMD", 16, {2, 4, 6, 10}, 0},
};

const char *const cpu_model_names[] = {
    "486",
    "pentium",
    "pentium2",
    "pentium3",
    "pentiumpro",
    "coreduo",
    "n270",
    "core2duo",
    "qemu32",
    "kvm32",
    "cpu64-rhel5",
    "cpu64-rhel6",
    "qemu64",
    "kvm64",
    "Conroe",
    "Penryn",
    "Nehalem",
    "Nehalem-IBRS",
    "Westmere",
    "Westmere-IBRS",
    "SandyBridge",
    "SandyBridge-IBRS",
    "IvyBridge",
    "IvyBridge-IBRS",
    "Haswell-noTSX",
    "Haswell-noTSX-IBRS",
    "Haswell",
    "Haswell-IBRS",
    "Broadwell-noTSX",
    "Broadwell-noTSX-IBRS",
    "Broadwell",
    "Broadwell-IBRS",
    "Skylake-Client",
    "Skylake-Client-IBRS",
    "Skylake-Client-noTSX-IBRS",
    "Skylake-Server",
    "Skylake-Server-IBRS",
    "Skylake-Server-noTSX-IBRS",
    "Cascadelake-Server",
    "Cascadelake-Server-noTSX",
    "Icelake-Client",
    "Icelake-Client-noTSX",
    "Icelake-Server",
    "Icelake-Server-noTSX",
    "Cooperlake",
    "Snowridge",
    "SapphireRapids",
    "athlon",
    "phenom",
    "Opteron_G1",
    "Opteron_G2",
    "Opteron_G3",
    "Opteron_G4",
    "Opteron_G5",
    "EPYC",
    "EPYC-IBPB",
    "EPYC-Rome",
    "EPYC-Milan",
    "EPYC-Genoa",
    "Dhyana",
    NULL,
};
const unsigned cpu_model_count = ARRAY_SIZE(cpu_model_names) - 1;

static void probe_signature(void)
{
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        host.stepping = a & 15;
        host.family = (a >> 8) & 15;
        host.model = (a >> 4) & 15;
        if (host.family == 15 || host.family == 6)
            host.model |= ((a >> 16) & 15) << 4;
        if (host.family == 15)
            host.family += (a >> 20) & 255;
    }
    host.address_bits = __get_cpuid(0x80000008, &a, &b, &c, &d) ? a & 255 : 36;
    if (__get_cpuid(0, &a, &b, &c, &d)) {
        memcpy(host.vendor, &b, 4);
        memcpy(host.vendor + 4, &d, 4);
        memcpy(host.vendor + 8, &c, 4);
    }
}

static void probe(void)
{
    probe_signature();
    for (unsigned i = 0; i < cpu_feature_word_count && i < ARRAY_SIZE(host.words); i++) {
        const struct cpu_feature_word *w = &cpu_feature_words[i];
        unsigned r[4] = {0};
        if (__get_cpuid_count(w->leaf, w->subleaf, &r[0], &r[1], &r[2], &r[3]))
            host.words[i] = r[w->reg];
    }
}

bool cpu_host_has(const char *feature)
{
    pthread_once(&once, probe);
    for (unsigned i = 0; i < cpu_feature_word_count; i++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            const char *name = cpu_feature_words[i].names[bit];
            if (name && strcmp(name, feature) == 0)
                return host.words[i] & (1u << bit);
        }
    }
    return false;
}

void cpu_host_features(void (*fn)(void *opaque, const char *name), void *opaque)
{
    pthread_once(&once, probe);
    for (unsigned i = 0; i < cpu_feature_word_count; i++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            const char *name = cpu_feature_words[i].names[bit];
            if (name && host.words[i] & (1u << bit))
                fn(opaque, name);
        }
    }
}

const char *cpu_host_vendor(void)
{
    static const struct {
        const char *cpuid, *name;
    } names[] = {{"GenuineIntel", "Intel"}, {"AuthenticAMD", "AMD"}, {"HygonGenuine", "Hygon"}};
    pthread_once(&once, probe);
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(names[i].cpuid, host.vendor) == 0)
            return names[i].name;
    }
    return host.vendor;
}

static bool is_model(const struct model *m)
{
    if (m->family != host.family || strcmp(m->vendor, cpu_host_vendor()) != 0 ||
        host.stepping < m->stepping_min)
        return false;
    for (unsigned i = 0; i < sizeof(m->models) && m->models[i]; i++) {
        if (m->models[i] == host.model)
            return true;
    }
    return false;
}

const char *cpu_host_model(void)
{
    pthread_once(&once, probe);
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        if (is_model(&models[i]))
            return models[i].name;
    }
    return "kvm64";
}

void cpu_host_signature(unsigned *family, unsigned *model, unsigned *stepping)
{
    pthread_once(&once, probe);
    *family = host.family;
    *model = host.model;
    *stepping = host.stepping;
}

unsigned cpu_host_address_bits(void)
{
    pthread_once(&once, probe);
    return host.address_bits;
}
