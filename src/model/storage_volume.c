/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <volume>: read and written. See storage.h. */
#include <inttypes.h>
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/util.h"
#include "model/size.h"
#include "model/storage_read.h"

#define ANY_TIMES CARRIED("timestamps", NULL, .anything = true)

const char *const model_volume_formats[] = {
    "none", "raw",   "dir", "bochs", "cloop", "dmg", "iso",  "vpc",  "vdi", "fat",
    "vhd",  "ploop", "cow", "qcow",  "qcow2", "qed", "vmdk", "vhdx", NULL,
};

/* What a volume has of its own accord may stand in a document, as somebody got it from us. */
/* clang-format off */
static const struct element volume_element =
    ACTED("volume", "type",
          WITH(ACTED("name", NULL), CARRIED("key", NULL), ROW(CARRIED, "source", .attributes = NULL),
               ACTED("capacity", "unit"), ACTED("allocation", "unit"), CARRIED("physical", "unit"),
               ACTED("target", NULL,
                     WITH(CARRIED("path", NULL), ACTED("format", "type"), STORAGE_PERMISSIONS,
                          ANY_TIMES,
                          ACTED("encryption", "format engine",
                                WITH(ACTED("secret", "type uuid usage"),
                                     REFUSED("cipher", "aes-256 in XTS mode is what is used"),
                                     REFUSED("ivgen", "plain64 is what is used"))),
                          ACTED("compat", NULL), ACTED("clusterSize", "unit"),
                          ACTED("features", NULL, .anything = true), ACTED("nocow", NULL))),
               ACTED("backingStore", NULL,
                     WITH(ACTED("path", NULL), ACTED("format", "type"),
                          CARRIED("permissions", NULL, .anything = true), ANY_TIMES))));
/* clang-format on */

const char *model_volume_format_find(const char *name)
{
    for (const char *const *format = model_volume_formats; *format; format++) {
        if (strcmp(*format, name) == 0)
            return *format;
    }
    return NULL;
}

/* ------------------------------------------------------------------- reading */

static int read_size(const xmlNode *parent, const char *name, uint64_t *bytes, bool *given,
                     struct kv_error *err)
{
    const xmlNode *node = xml_child(parent, name);
    uint64_t value;
    if (!node)
        return 0;
    if (!xml_number(xml_text(node), UINT64_MAX, &value))
        return storage_error(err, VIR_ERR_XML_ERROR, "malformed %s element", name);
    *given = true;
    return size_scale(xml_attr(node, "unit"), value, bytes, err);
}

static int read_format(const xmlNode *parent, const char **out, struct kv_error *err)
{
    const char *name = xml_child_attr(parent, "format", "type");
    if (!name)
        return 0;
    *out = model_volume_format_find(name);
    return *out ? 0
                : storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "unknown volume format type %s",
                                name);
}

static int read_type(struct model_volume *volume, const xmlNode *root, struct kv_error *err)
{
    /* By VIR_STORAGE_VOL_*. */
    static const char *const types[] = {"file", "block", "dir", "network", "netdir", "ploop"};
    const char *type = xml_attr(root, "type");
    size_t i = 0;
    while (type && i < ARRAY_SIZE(types) && strcmp(types[i], type) != 0)
        i++;
    if (i == ARRAY_SIZE(types))
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Invalid value for attribute 'type' in element 'volume': '%s'.",
                              type);
    if (i != VIR_STORAGE_VOL_FILE && i != VIR_STORAGE_VOL_DIR)
        return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "volumes of type '%s'; 'file' and 'dir' are supported", type);
    volume->type = (int)i;
    return 0;
}

static int read_compat(struct model_volume *volume, const xmlNode *target, struct kv_error *err)
{
    int r = storage_copy_text(&volume->compat, target, "compat", err);
    if (r < 0 || !volume->compat)
        return r;
    if (volume->compat[strspn(volume->compat, "0123456789.")])
        return storage_error(err, VIR_ERR_XML_ERROR, "forbidden characters in 'compat' attribute");
    if (strcmp(volume->compat, "0.10") != 0 && strcmp(volume->compat, "1.1") != 0)
        return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "compat '%s'; '0.10' and '1.1' are supported", volume->compat);
    return 0;
}

static int read_features(struct model_volume *volume, const xmlNode *target, struct kv_error *err)
{
    const xmlNode *features = xml_child(target, "features");
    if (!features)
        return 0;
    volume->has_features = true;
    for (const xmlNode *node = xml_first(features); node; node = xml_next(node)) {
        if (xml_is(node, "lazy_refcounts"))
            volume->lazy_refcounts = true;
        else if (xml_is(node, "extended_l2"))
            volume->extended_l2 = true;
        else
            return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "unsupported feature %s",
                                 xml_name(node));
    }
    if (volume->compat)
        return strcmp(volume->compat, "1.1") == 0
                   ? 0
                   : storage_error(err, VIR_ERR_XML_ERROR, "features of qcow2 need compat 1.1");
    volume->compat = strdup("1.1");
    return volume->compat ? 0 : storage_error(err, VIR_ERR_NO_MEMORY, NULL);
}

static int read_encryption(struct model_volume *volume, const xmlNode *target, struct kv_error *err)
{
    const xmlNode *node = xml_child(target, "encryption");
    const char *format = node ? xml_attr(node, "format") : NULL;
    const char *engine = node ? xml_attr(node, "engine") : NULL;
    if (!node)
        return 0;
    if (!format || strcmp(format, "luks") != 0)
        return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "encryption format '%s'; 'luks' is supported", format ? format : "");
    if (engine && strcmp(engine, "qemu") != 0)
        return storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "encryption engine '%s'; 'qemu' is supported", engine);
    const xmlNode *secret = xml_child(node, "secret");
    const char *type = secret ? xml_attr(secret, "type") : NULL;
    const char *uuid = secret ? xml_attr(secret, "uuid") : NULL;
    const char *usage = secret ? xml_attr(secret, "usage") : NULL;
    if (!secret)
        return storage_error(err, VIR_ERR_XML_ERROR, "luks encryption needs a <secret>");
    if (!type || strcmp(type, "passphrase") != 0)
        return storage_error(err, VIR_ERR_XML_ERROR, "unknown volume encryption secret type %s",
                             type ? type : "(null)");
    if (!uuid == !usage)
        return storage_error(err, VIR_ERR_XML_ERROR,
                             "exactly one of uuid and usage must be given in <secret>");
    volume->luks = true;
    volume->secret_uuid = uuid ? strdup(uuid) : NULL;
    volume->secret_usage = usage ? strdup(usage) : NULL;
    return volume->secret_uuid || volume->secret_usage
               ? 0
               : storage_error(err, VIR_ERR_NO_MEMORY, NULL);
}

static int read_target(struct model_volume *volume, const xmlNode *target, struct kv_error *err)
{
    bool given = false;
    int r = read_format(target, &volume->format, err);
    if (r == 0)
        r = storage_read_permissions(&volume->permissions, target, err);
    if (r == 0)
        r = read_encryption(volume, target, err);
    if (r == 0)
        r = read_compat(volume, target, err);
    if (r == 0)
        r = read_size(target, "clusterSize", &volume->cluster_size, &given, err);
    if (r == 0)
        r = read_features(volume, target, err);
    volume->nocow = xml_child(target, "nocow") != NULL;
    return r;
}

static int read_backing(struct model_volume *volume, const xmlNode *backing, struct kv_error *err)
{
    int r = storage_copy_text(&volume->backing_path, backing, "path", err);
    return r < 0 || !volume->backing_path ? r : read_format(backing, &volume->backing_format, err);
}

static int read_sizes(struct model_volume *volume, const xmlNode *root, unsigned flags,
                      struct kv_error *err)
{
    int r = read_size(root, "capacity", &volume->capacity, &volume->has_capacity, err);
    if (r == 0 && !volume->has_capacity && !volume->backing_path &&
        !(flags & MODEL_VOLUME_NO_CAPACITY))
        return storage_error(err, VIR_ERR_XML_ERROR, "missing capacity element");
    if (r == 0)
        r = read_size(root, "allocation", &volume->allocation, &volume->has_allocation, err);
    if (!volume->has_allocation)
        volume->allocation = volume->capacity;
    return r;
}

static int read_volume(struct model_volume *volume, const xmlNode *root, unsigned flags,
                       struct kv_error *err)
{
    const xmlNode *target = xml_child(root, "target"), *backing = xml_child(root, "backingStore");
    storage_permissions_init(&volume->permissions);
    int r = storage_copy_text(&volume->name, root, "name", err);
    if (r == 0 && !volume->name)
        r = storage_error(err, VIR_ERR_XML_ERROR, "missing volume name element");
    if (r == 0)
        r = read_type(volume, root, err);
    if (r == 0 && backing)
        r = read_backing(volume, backing, err);
    if (r == 0)
        r = read_sizes(volume, root, flags, err);
    if (r == 0 && target)
        r = read_target(volume, target, err);
    if (r < 0)
        return r;
    if (!volume->format)
        volume->format = volume->type == VIR_STORAGE_VOL_DIR ? "dir" : "raw";
    if (strcmp(volume->format, "dir") == 0)
        volume->type = VIR_STORAGE_VOL_DIR;
    return 0;
}

int model_volume_parse(struct model_volume **out, const char *xml, unsigned flags,
                       struct kv_error *err)
{
    xmlDoc *document;
    int r = storage_document(&document, xml, "(storage_volume_definition)", &volume_element, err);
    if (r < 0)
        return r;
    struct model_volume *volume = calloc(1, sizeof(*volume));
    r = volume ? read_volume(volume, xmlDocGetRootElement(document), flags, err)
               : storage_error(err, VIR_ERR_NO_MEMORY, NULL);
    xmlFreeDoc(document);
    if (r < 0)
        model_volume_free(volume);
    else
        *out = volume;
    return r;
}

void model_volume_clear(struct model_volume *volume)
{
    free(volume->name);
    free(volume->path);
    free(volume->permissions.label);
    free(volume->compat);
    free(volume->secret_uuid);
    free(volume->secret_usage);
    free(volume->backing_path);
    *volume = (struct model_volume){0};
}

void model_volume_free(struct model_volume *volume)
{
    if (volume)
        model_volume_clear(volume);
    free(volume);
}

/* ------------------------------------------------------------------- writing */

static int put_size(struct buffer *out, const char *name, uint64_t bytes)
{
    return buffer_printf(out, "  <%s unit='bytes'>%" PRIu64 "</%s>\n", name, bytes, name);
}

static int put_time(struct buffer *out, const char *name, const struct timespec *time)
{
    int r = buffer_printf(out, "      <%s>%lld", name, (long long)time->tv_sec);
    if (r == 0 && time->tv_nsec)
        r = buffer_printf(out, ".%09ld", time->tv_nsec);
    return r < 0 ? r : buffer_printf(out, "</%s>\n", name);
}

static int put_times(struct buffer *out, const struct model_volume_times *times)
{
    int r = buffer_printf(out, "    <timestamps>\n");
    if (r == 0)
        r = put_time(out, "atime", &times->access);
    if (r == 0)
        r = put_time(out, "mtime", &times->modification);
    if (r == 0)
        r = put_time(out, "ctime", &times->change);
    if (r == 0 && times->birth.tv_sec)
        r = put_time(out, "btime", &times->birth);
    return r < 0 ? r : buffer_printf(out, "    </timestamps>\n");
}

static int put_encryption(struct buffer *out, const struct model_volume *volume)
{
    const char *attribute = volume->secret_uuid ? "uuid" : "usage";
    const char *value = volume->secret_uuid ? volume->secret_uuid : volume->secret_usage;
    int r = buffer_printf(out, "    <encryption format='luks'>\n");
    if (r == 0 && value) {
        r = buffer_printf(out, "      <secret type='passphrase' %s='", attribute);
        if (r == 0)
            r = xml_escape(out, value);
        if (r == 0)
            r = buffer_printf(out, "'/>\n");
    }
    return r < 0 ? r : buffer_printf(out, "    </encryption>\n");
}

static int put_features(struct buffer *out, const struct model_volume *volume)
{
    if (!volume->lazy_refcounts && !volume->extended_l2)
        return buffer_printf(out, "    <features/>\n");
    return buffer_printf(out, "    <features>\n%s%s    </features>\n",
                         volume->lazy_refcounts ? "      <lazy_refcounts/>\n" : "",
                         volume->extended_l2 ? "      <extended_l2/>\n" : "");
}

static int put_target(struct buffer *out, const struct model_volume *volume)
{
    int r = buffer_printf(out, "  <target>\n");
    if (r == 0)
        r = storage_put_text(out, "    ", "path", volume->path);
    if (r == 0)
        r = buffer_printf(out, "    <format type='%s'/>\n", volume->format);
    if (r == 0)
        r = storage_put_permissions(out, &volume->permissions, "    ");
    if (r == 0 && volume->has_times)
        r = put_times(out, &volume->times);
    if (r == 0 && volume->luks)
        r = put_encryption(out, volume);
    if (r == 0 && volume->compat)
        r = storage_put_text(out, "    ", "compat", volume->compat);
    if (r == 0 && volume->cluster_size)
        r = buffer_printf(out, "    <clusterSize unit='B'>%" PRIu64 "</clusterSize>\n",
                          volume->cluster_size);
    if (r == 0 && volume->has_features)
        r = put_features(out, volume);
    if (r == 0 && volume->nocow)
        r = buffer_printf(out, "    <nocow/>\n");
    return r < 0 ? r : buffer_printf(out, "  </target>\n");
}

static int put_backing(struct buffer *out, const struct model_volume *volume)
{
    int r = buffer_printf(out, "  <backingStore>\n");
    if (r == 0)
        r = storage_put_text(out, "    ", "path", volume->backing_path);
    if (r == 0 && volume->backing_format)
        r = buffer_printf(out, "    <format type='%s'/>\n", volume->backing_format);
    return r < 0 ? r : buffer_printf(out, "  </backingStore>\n");
}

char *model_volume_format(const struct model_volume *volume)
{
    struct buffer out = BUFFER_INIT(0);
    int r = buffer_printf(&out, "<volume type='%s'>\n",
                          volume->type == VIR_STORAGE_VOL_DIR ? "dir" : "file");
    if (r == 0)
        r = storage_put_text(&out, "  ", "name", volume->name);
    if (r == 0)
        r = storage_put_text(&out, "  ", "key", volume->path);
    if (r == 0)
        r = put_size(&out, "capacity", volume->capacity);
    if (r == 0)
        r = put_size(&out, "allocation", volume->allocation);
    if (r == 0 && volume->has_physical)
        r = put_size(&out, "physical", volume->physical);
    if (r == 0)
        r = put_target(&out, volume);
    if (r == 0 && volume->backing_path)
        r = put_backing(&out, volume);
    if (r == 0)
        r = buffer_printf(&out, "</volume>\n");
    if (r == 0)
        return xml_take(&out);
    buffer_free(&out);
    return NULL;
}
