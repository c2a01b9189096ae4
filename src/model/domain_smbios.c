/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <sysinfo>, and which of it <os>'s <smbios> gives to the guest; see read.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"
#include "model/uuid.h"

#define TEXTS_MAX 512 /* the guest's tables have room for 255 strings of the user's own */

/* Entries of each element: what libvirt knows. */
static const struct section {
    const char *name;
    unsigned type;
    const char *entries[8]; /* NULL at the end */
} sections[] = {
    {"bios", 0, {"vendor", "version", "date", "release"}},
    {"system", 1, {"manufacturer", "product", "version", "serial", "uuid", "sku", "family"}},
    {"baseBoard", 2, {"manufacturer", "product", "version", "serial", "asset", "location"}},
    {"chassis", 3, {"manufacturer", "version", "serial", "asset", "sku"}},
    {"oemStrings", 11, {NULL}},
};

/* As libvirt, which wants a date that there is in no more detail. */
static int check_date(struct read *r, const char *text)
{
    unsigned month, day, year;
    char more;
    if (sscanf(text, "%2u/%2u/%4u%c", &month, &day, &year, &more) == 3 && month >= 1 &&
        month <= 12 && day >= 1 && day <= 31)
        return 0;
    return api_error_from(r->err, VIR_FROM_SYSINFO, VIR_ERR_XML_DETAIL,
                          "Invalid BIOS 'date' format");
}

static int check_release(struct read *r, const xmlNode *entry, const char *text)
{
    unsigned major, minor;
    char more;
    if (sscanf(text, "%3u.%3u%c", &major, &minor, &more) == 2 && major < 256 && minor < 256)
        return 0;
    return read_refuse(r, entry, NULL, "'%s': a release such as '4.2' is accepted", text);
}

/* The guest's UUID is the domain's. */
static int check_uuid(struct read *r, const char *text)
{
    unsigned char uuid[16];
    if (uuid_parse(text, uuid) < 0)
        return api_error_from(r->err, VIR_FROM_SYSINFO, VIR_ERR_XML_DETAIL,
                              "malformed <sysinfo> uuid element");
    if (memcmp(uuid, r->d->uuid, sizeof(uuid)) != 0)
        return api_error_from(r->err, VIR_FROM_SYSINFO, VIR_ERR_XML_DETAIL,
                              "UUID mismatch between <uuid> and <sysinfo>");
    return 0;
}

static int add_text(struct read *r, const struct section *section, const char *name,
                    const char *text)
{
    struct model_domain *d = r->d;
    if (!*text)
        return 0;
    if (d->smbios_text_count == TEXTS_MAX)
        return read_unsupported(r, "<sysinfo> has more than %d entries", TEXTS_MAX);
    d->smbios_texts[d->smbios_text_count++] = (struct model_smbios_text){section->type, name, text};
    return 0;
}

static int read_entry(struct read *r, const struct section *section, const xmlNode *entry)
{
    const char *name = xml_attr(entry, "name"), *text = xml_text(entry);
    int ret = 0;
    if (!section->entries[0])
        return add_text(r, section, "value", text);
    if (!name || !read_is_one_of(name, section->entries))
        return read_refuse(r, entry, "name", "'%s': <%s> has no such entry", name ? name : "",
                           section->name);
    if (strcmp(name, "uuid") == 0)
        return check_uuid(r, text);
    if (strcmp(name, "date") == 0)
        ret = check_date(r, text);
    if (strcmp(name, "release") == 0)
        ret = check_release(r, entry, text);
    return ret < 0 ? ret : add_text(r, section, name, text);
}

static int read_sysinfo(struct read *r, const xmlNode *sysinfo)
{
    static const char *const types[] = {"smbios", "fwcfg", NULL};
    const char *type = NULL;
    int ret = read_choice(r, sysinfo, "type", types, &type);
    if (ret < 0)
        return ret;
    if (!type || strcmp(type, "smbios") != 0)
        return read_refuse(r, sysinfo, "type", "'%s': 'smbios' is accepted", type ? type : "");
    r->d->smbios_texts = arena_alloc(r->d->arena, TEXTS_MAX * sizeof(*r->d->smbios_texts));
    if (!r->d->smbios_texts)
        return read_no_memory(r);
    for (unsigned i = 0; i < ARRAY_SIZE(sections); i++) {
        const xmlNode *section = xml_child(sysinfo, sections[i].name);
        const xmlNode *entry = section ? xml_child(section, "entry") : NULL;
        for (; ret == 0 && entry; entry = xml_next_same(entry))
            ret = read_entry(r, &sections[i], entry);
    }
    return ret;
}

int read_smbios(struct read *r, const xmlNode *os)
{
    static const char *const modes[] = {"emulate", "host", "sysinfo", NULL};
    const xmlNode *sysinfo = xml_child(r->root, "sysinfo");
    const char *mode = NULL;
    int ret = read_choice(r, xml_child(os, "smbios"), "mode", modes, &mode);
    if (ret < 0)
        return ret;
    r->d->smbios = !mode || *mode == 'e' ? MODEL_SMBIOS_EMULATE
                   : *mode == 'h'        ? MODEL_SMBIOS_HOST
                                         : MODEL_SMBIOS_SYSINFO;
    r->d->smbios_text_count = 0;
    return sysinfo ? read_sysinfo(r, sysinfo) : 0;
}
