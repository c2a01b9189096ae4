/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines to domains: words, options, and the XML that they make; see native.h. */
#include "model/native.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "model/api_error.h"
#include "model/domain.h"
#include "model/native_internal.h"
#include "model/xml.h"

#define WORDS_MAX 1024

int native_refuse(struct native *n, const char *what, const char *why)
{
    return api_error(n->err, VIR_ERR_CONFIG_UNSUPPORTED, "%s: %s", what, why);
}

/* -------------------------------------------------------------------- words */

/* Splits as a shell would (quotes, backslashes), in place. -1: an open quote or too many. */
static int split_words(char *text, char **words)
{
    unsigned count = 0;
    char *in = text, *out = text;
    while (*in) {
        while (isspace((unsigned char)*in) || (in[0] == '\\' && in[1] == '\n'))
            in += *in == '\\' ? 2 : 1;
        if (!*in)
            break;
        if (count == WORDS_MAX)
            return -1;
        words[count++] = out;
        char quote = 0;
        for (; *in && (quote || !isspace((unsigned char)*in)); in++) {
            if (quote ? *in == quote : *in == '\'' || *in == '"')
                quote = quote ? 0 : *in;
            else if (*in == '\\' && quote != '\'' && in[1] == '\n')
                in++;
            else if (*in == '\\' && quote != '\'' && in[1])
                *out++ = *++in;
            else
                *out++ = *in;
        }
        if (quote)
            return -1;
        in += *in != '\0';
        *out++ = '\0';
    }
    return (int)count;
}

bool native_value(const char *options, const char *key, char *out, size_t size)
{
    bool first = true;
    out[0] = '\0';
    for (const char *p = options; *p; first = false) {
        char word[2048];
        size_t len = 0;
        for (; *p && !(p[0] == ',' && p[1] != ','); p++) {
            if (len < sizeof(word) - 1)
                word[len++] = *p;
            p += p[0] == ',';
        }
        p += *p == ',';
        word[len] = '\0';
        char *equals = strchr(word, '=');
        if (!key && first && !equals) {
            snprintf(out, size, "%s", word);
            return true;
        }
        if (!key)
            return false;
        size_t n = equals ? (size_t)(equals - word) : len;
        if (n == strlen(key) && memcmp(word, key, n) == 0) {
            snprintf(out, size, "%s", equals ? equals + 1 : "on");
            return true;
        }
    }
    return false;
}

int native_known(struct native *n, const char *options, const char *const *known)
{
    bool first = true;
    for (const char *p = options; *p; first = false) {
        size_t len = strcspn(p, "=,");
        bool found = first && p[len] != '=';
        for (const char *const *k = known; !found && *k; k++)
            found = strlen(*k) == len && memcmp(*k, p, len) == 0;
        if (!found)
            return native_refuse(n, options, "has a part that no domain's XML can say");
        while (*p && !(p[0] == ',' && p[1] != ','))
            p += p[0] == ',' ? 2 : 1;
        p += *p == ',';
    }
    return 0;
}

int native_copy(struct native *n, char *out, size_t size, const char *value, const char *what)
{
    if (strlen(value) >= size)
        return native_refuse(n, what, "is too long");
    strcpy(out, value);
    return 0;
}

/* ------------------------------------------------------------------- common */

int native_name(struct native *n, const char *value)
{
    if (!native_value(value, NULL, n->name, sizeof(n->name)))
        native_value(value, "guest", n->name, sizeof(n->name));
    return 0;
}

int native_uuid(struct native *n, const char *value)
{
    return native_copy(n, n->uuid, sizeof(n->uuid), value, "the UUID");
}

int native_loader(struct native *n, const char *value)
{
    return native_copy(n, n->loader, sizeof(n->loader), value, "the firmware's path");
}

int native_nvram(struct native *n, const char *value)
{
    return native_copy(n, n->nvram, sizeof(n->nvram), value, "the variables' path");
}

int native_kernel(struct native *n, const char *value)
{
    return native_copy(n, n->kernel, sizeof(n->kernel), value, "the kernel's path");
}

int native_initrd(struct native *n, const char *value)
{
    return native_copy(n, n->initrd, sizeof(n->initrd), value, "the RAM disk's path");
}

int native_cmdline(struct native *n, const char *value)
{
    return native_copy(n, n->cmdline, sizeof(n->cmdline), value, "the kernel's command line");
}

int native_memory(struct native *n, const char *value, uint64_t unit)
{
    static const char *const known[] = {"size", NULL};
    char text[64];
    uint64_t bytes;
    if (native_known(n, value, known) < 0)
        return -EINVAL;
    if (!native_value(value, NULL, text, sizeof(text)))
        native_value(value, "size", text, sizeof(text));
    if (parse_size(text, &bytes) < 0)
        return native_refuse(n, value, "is not a size of memory");
    bool bare = text[strspn(text, "0123456789")] == '\0';
    if (bare && bytes > UINT64_MAX / unit)
        return native_refuse(n, value, "is too much memory");
    n->memory_kib = (bare ? bytes * unit : bytes) / 1024;
    return 0;
}

int native_cpus(struct native *n, const char *value, const char *key)
{
    const char *known[] = {key, "maxcpus", "sockets", "cores", "threads", "dies", NULL};
    char text[32];
    if (native_known(n, value, known) < 0)
        return -EINVAL;
    if (!native_value(value, NULL, text, sizeof(text)) &&
        !native_value(value, key, text, sizeof(text)))
        strcpy(text, "1");
    if (parse_u64(text, &n->cpus) < 0)
        return native_refuse(n, value, "is not a number of processors");
    uint64_t *parts[] = {&n->sockets, &n->cores, &n->threads};
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        if (native_value(value, known[i + 2], text, sizeof(text)) && parse_u64(text, parts[i]) < 0)
            return native_refuse(n, value, "is not a topology");
    }
    return 0;
}

void native_attribute(struct native *n, const char *name, const char *value)
{
    if (!*value)
        return;
    buffer_printf(&n->devices, " %s='", name);
    xml_escape(&n->devices, value);
    buffer_printf(&n->devices, "'");
}

int native_add_disk(struct native *n, const struct native_disk *disk)
{
    struct buffer *b = &n->devices;
    bool block = strncmp(disk->path, "/dev/", 5) == 0, virtio = !*disk->bus;
    unsigned *number = virtio ? &n->disks : &n->drives;
    if (!*disk->path && !disk->cdrom)
        return native_refuse(n, "a disk", "has no file");
    if (*number >= 26)
        return native_refuse(n, "a disk", "is one too many");
    buffer_printf(b, "<disk type='%s' device='%s'><driver name='qemu'", block ? "block" : "file",
                  disk->cdrom ? "cdrom" : "disk");
    native_attribute(n, "type", *disk->format ? disk->format : "raw");
    native_attribute(n, "cache", disk->cache);
    native_attribute(n, "io", disk->io);
    native_attribute(n, "discard", disk->discard);
    buffer_printf(b, *disk->path ? "/><source" : "/>");
    native_attribute(n, block ? "dev" : "file", disk->path);
    buffer_printf(b, "%s<target dev='%cd%c'", *disk->path ? "/>" : "", virtio ? 'v' : 's',
                  'a' + (char)(*number)++);
    native_attribute(n, "bus", virtio ? "virtio" : disk->bus);
    buffer_printf(b, "/>");
    if (*disk->unit) {
        buffer_printf(b, "<address type='drive'");
        native_attribute(n, "controller", *disk->controller ? disk->controller : "0");
        native_attribute(n, "target", disk->target);
        native_attribute(n, "unit", disk->unit);
        buffer_printf(b, "/>");
    }
    if (*disk->serial) {
        buffer_printf(b, "<serial>");
        xml_escape(b, disk->serial);
        buffer_printf(b, "</serial>");
    }
    buffer_printf(b, "%s</disk>", disk->readonly ? "<readonly/>" : "");
    return 0;
}

int native_add_chardev(struct native *n, const char *element, const char *chardev,
                       const char *target)
{
    struct buffer *b = &n->devices;
    char path[1024];
    const char *colon = strchr(chardev, ':'), *type = NULL;
    snprintf(path, sizeof(path), "%.*s", colon ? (int)strcspn(colon + 1, ",") : 0,
             colon ? colon + 1 : "");
    bool append = strncmp(chardev, "append:", 7) == 0;
    if (strcmp(chardev, "pty") == 0 || strcmp(chardev, "stdio") == 0 ||
        strcmp(chardev, "mon:stdio") == 0)
        type = "pty";
    else if (strcmp(chardev, "null") == 0)
        type = "null";
    else if (append || strncmp(chardev, "file:", 5) == 0)
        type = "file";
    else if (strncmp(chardev, "unix:", 5) == 0)
        type = "unix";
    if (!type)
        return native_refuse(n, chardev, "is not a character device that is known here");
    buffer_printf(b, "<%s type='%s'>", element, type);
    if (*type == 'f' || *type == 'u') {
        buffer_printf(b, "<source%s", *type == 'u' ? " mode='bind'" : "");
        native_attribute(n, "path", path);
        buffer_printf(b, "%s/>", append ? " append='on'" : "");
    }
    buffer_printf(b, "%s</%s>", target, element);
    return 0;
}

/* ---------------------------------------------------------------------- XML */

static void put_text(struct buffer *b, const char *element, const char *text)
{
    if (!*text)
        return;
    buffer_printf(b, "<%s>", element);
    xml_escape(b, text);
    buffer_printf(b, "</%s>", element);
}

/* Variables make it an image in flash. */
static void put_loader(struct buffer *b, const struct native *n)
{
    if (!*n->nvram) {
        put_text(b, "loader", n->loader);
        return;
    }
    buffer_printf(b, "<loader readonly='yes' type='pflash'>");
    xml_escape(b, n->loader);
    buffer_printf(b, "</loader>");
    put_text(b, "nvram", n->nvram);
}

static char *make_xml(const struct native *n)
{
    struct buffer b = BUFFER_INIT(0);
    buffer_printf(&b, "<domain type='kvm'>");
    put_text(&b, "name", *n->name ? n->name : "unnamed");
    put_text(&b, "uuid", n->uuid);
    buffer_printf(&b, "<memory unit='KiB'>%ju</memory><vcpu>%ju</vcpu>", (uintmax_t)n->memory_kib,
                  (uintmax_t)n->cpus);
    if (n->iothreads)
        buffer_printf(&b, "<iothreads>%ju</iothreads>", (uintmax_t)n->iothreads);
    buffer_printf(&b, "<os><type arch='x86_64' machine='");
    xml_escape(&b, n->machine);
    buffer_printf(&b, "'>hvm</type>");
    put_loader(&b, n);
    put_text(&b, "kernel", n->kernel);
    put_text(&b, "initrd", n->initrd);
    put_text(&b, "cmdline", n->cmdline);
    buffer_printf(&b, "</os><features><acpi/><apic/></features>");
    if (n->sockets || n->cores || n->threads)
        buffer_printf(&b,
                      "<cpu mode='host-passthrough'><topology sockets='%ju' cores='%ju' "
                      "threads='%ju'/></cpu>",
                      (uintmax_t)MAX(n->sockets, UINT64_C(1)),
                      (uintmax_t)MAX(n->cores, UINT64_C(1)),
                      (uintmax_t)MAX(n->threads, UINT64_C(1)));
    buffer_printf(&b, "<devices>");
    if (n->devices.len)
        buffer_append(&b, buffer_bytes(&n->devices), n->devices.len);
    buffer_printf(&b, "</devices></domain>");
    return xml_take(&b);
}

static int read_words(struct native *n, const struct native_option *options, char **words,
                      int count)
{
    int i = 0;
    while (i < count && strchr(words[i], '=') && words[i][0] != '-' && words[i][0] != '/')
        i++; /* VARIABLE=value in front of the program */
    for (i++; i < count; i++) {
        const char *word = words[i], *value = NULL;
        char name[64];
        bool joined = strncmp(word, "--", 2) == 0 && strchr(word, '=');
        snprintf(name, sizeof(name), "%.*s", joined ? (int)strcspn(word, "=") : 63, word);
        const struct native_option *o = options;
        while (o->name && strcmp(o->name, name) != 0 &&
               !(name[0] == '-' && name[1] == '-' && strcmp(o->name, name + 1) == 0))
            o++;
        if (!o->name)
            return native_refuse(n, word, "this option has no counterpart in a domain's XML");
        if (joined)
            value = strchr(word, '=') + 1;
        else if (o->value)
            value = i + 1 < count ? words[++i] : NULL;
        if (o->value && !value)
            return native_refuse(n, word, "a value is missing");
        int ret = o->read ? o->read(n, value) : 0;
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int convert(struct native *n, const struct native_option *options, bool qemu, char *text)
{
    char **words = calloc(WORDS_MAX, sizeof(*words));
    if (!words)
        return api_error(n->err, VIR_ERR_NO_MEMORY, NULL);
    int count = split_words(text, words);
    int ret = count < 1 ? native_refuse(n, "the command line", "is empty or has an open quote")
                        : read_words(n, options, words, count);
    if (ret == 0 && qemu)
        ret = native_qemu_finish(n);
    free(words);
    return ret;
}

int model_domain_from_native(const struct model_host *host, const char *format, const char *text,
                             char **out, struct kv_error *err)
{
    *out = NULL;
    bool qemu = strcmp(format, "qemu-argv") == 0;
    if (!qemu && strcmp(format, "kvasir-argv") != 0)
        return api_error(err, VIR_ERR_INVALID_ARG, "unsupported config type %s", format);
    struct native *n = calloc(1, sizeof(*n));
    cleanup_free char *copy = strdup(text);
    if (!n || !copy) {
        free(n);
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    n->err = err;
    n->cpus = 1;
    n->memory_kib = qemu ? 128 * 1024 : 512 * 1024;
    strcpy(n->machine, qemu ? "pc" : "q35");
    int ret = convert(n, qemu ? native_qemu_options : native_kvasir_options, qemu, copy);
    cleanup_free char *xml = ret == 0 ? make_xml(n) : NULL;
    buffer_free(&n->devices);
    free(n);
    if (ret < 0)
        return ret;
    struct model_domain *domain = NULL;
    if (!xml)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    ret = model_domain_parse(&domain, host, xml, strlen(xml), MODEL_PARSE_INACTIVE, err);
    if (ret < 0)
        return ret;
    *out = model_domain_format(domain, MODEL_FORMAT_INACTIVE);
    model_domain_free(domain);
    return *out ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}
