/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text that describes a VMDK image, in a file of its own or inside the
 * sparse file: lines "key=value", lines of extents, and comments.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "block/vmdk.h"

#define EXTENTS_MAX 4096u
#define SECTORS_MAX (IMPORT_SIZE_MAX / IMPORT_SECTOR)

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* The value of a line "key = value", quoted or not, into out. False: another key. */
static int take_value(const char *line, const char *key, char *out, size_t room)
{
    size_t len = strlen(key);
    if (strncasecmp(line, key, len) != 0)
        return 0;
    const char *p = skip_blanks(line + len);
    if (*p != '=')
        return 0;
    p = skip_blanks(p + 1);
    size_t value = *p == '"' ? strcspn(++p, "\"") : strcspn(p, " \t");
    if (value >= room)
        return -ENAMETOOLONG;
    memcpy(out, p, value);
    out[value] = '\0';
    return 1;
}

/* A word up to a blank. NULL: there is none, or it is too long. */
static const char *take_word(const char *p, char *out, size_t room)
{
    p = skip_blanks(p);
    size_t len = strcspn(p, " \t");
    if (len == 0 || len >= room)
        return NULL;
    memcpy(out, p, len);
    out[len] = '\0';
    return p + len;
}

static const char *take_number(const char *p, uint64_t *out)
{
    char *end;
    p = skip_blanks(p);
    if (*p < '0' || *p > '9')
        return NULL;
    errno = 0;
    *out = strtoull(p, &end, 10);
    return errno || *out > SECTORS_MAX || (*end && *end != ' ' && *end != '\t') ? NULL : end;
}

/* access sectors type ["name" [offset]]; what follows is of no interest. */
static bool parse_extent(const char *line, struct vmdk_extent_line *out)
{
    *out = (struct vmdk_extent_line){0};
    const char *p = take_word(line, out->access, sizeof(out->access));
    p = p ? take_number(p, &out->sectors) : NULL;
    p = p ? take_word(p, out->type, sizeof(out->type)) : NULL;
    if (!p || out->sectors == 0)
        return false;
    p = skip_blanks(p);
    if (*p == '\0')
        return true;
    size_t len = *p == '"' ? strcspn(++p, "\"") : sizeof(out->name);
    if (len == 0 || len >= sizeof(out->name) || p[len] != '"')
        return false;
    memcpy(out->name, p, len);
    p = skip_blanks(p + len + 1);
    return *p == '\0' || take_number(p, &out->offset);
}

static bool is_extent(const char *line)
{
    static const char *const accesses[] = {"RW ", "RDONLY ", "NOACCESS "};
    for (unsigned i = 0; i < ARRAY_SIZE(accesses); i++) {
        if (strncmp(line, accesses[i], strlen(accesses[i])) == 0)
            return true;
    }
    return false;
}

static int add_extent(const char *name, const char *line, struct vmdk_descriptor *out,
                      struct kv_error *err)
{
    struct vmdk_extent_line parsed;
    if (!parse_extent(line, &parsed))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': extent line '%.100s' is malformed",
                            name, line);
    if (out->count >= EXTENTS_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG, "'%s': more than %u extents", name,
                            EXTENTS_MAX);
    if (out->count == 0 || is_power_of_two(out->count)) {
        struct vmdk_extent_line *grown = realloc(out->lines, 2 * (out->count + 1) * sizeof(*grown));
        if (!grown)
            return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", name);
        out->lines = grown;
    }
    out->lines[out->count++] = parsed;
    return 0;
}

static int parse_line(const char *name, const char *line, struct vmdk_descriptor *out,
                      bool *has_cid, struct kv_error *err)
{
    char number[16] = "";
    int rc;
    if (is_extent(line))
        return add_extent(name, line, out, err);
    if ((rc = take_value(line, "createType", out->create_type, sizeof(out->create_type))) == 0 &&
        (rc = take_value(line, "parentFileNameHint", out->parent, sizeof(out->parent))) == 0 &&
        (rc = take_value(line, "parentCID", number, sizeof(number))) == 1)
        out->parent_cid = (uint32_t)strtoul(number, NULL, 16);
    else if (rc == 0 && (rc = take_value(line, "CID", number, sizeof(number))) == 1) {
        out->cid = (uint32_t)strtoul(number, NULL, 16);
        *has_cid = true;
    }
    if (rc < 0)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': descriptor line '%.60s' has too long a value", name, line);
    return 0;
}

int vmdk_parse_descriptor(const char *name, const char *text, struct vmdk_descriptor *out,
                          struct kv_error *err)
{
    bool has_cid = false;
    *out = (struct vmdk_descriptor){.parent_cid = VMDK_NO_PARENT};
    cleanup_free char *copy = strdup(text);
    if (!copy)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", name);
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        line[strcspn(line, "\r")] = '\0';
        int rc = parse_line(name, skip_blanks(line), out, &has_cid, err);
        if (rc < 0)
            return rc;
    }
    if (!out->create_type[0] || !has_cid)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': the descriptor does not say %s", name,
                            has_cid ? "createType" : "CID");
    for (char *c = out->parent; *c; c++)
        *c = *c == '\\' ? '/' : *c;
    return 0;
}
