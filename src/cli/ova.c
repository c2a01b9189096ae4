/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads OVA files: the tar archive's headers (POSIX ustar), then the OVF document. See ova.h. */
#include "cli/ova.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/parse.h"
#include "cli/xml.h"

#define BLOCK 512
#define MEMBERS_MAX 256
#define OVF_MAX MIB(1)

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], rest[249];
};
_Static_assert(sizeof(struct header) == BLOCK, "one block");

struct member {
    const char *name;
    uint64_t offset, size;
};

struct archive {
    struct member members[MEMBERS_MAX];
    unsigned n;
};

/* Octal digits, or with the highest bit set a big-endian number. */
static int read_size(const struct header *header, uint64_t *out)
{
    uint64_t value = 0;
    const unsigned char *field = (const unsigned char *)header->size;
    if (field[0] & 0x80) {
        for (size_t i = 4; i < sizeof(header->size); i++)
            value = value << 8 | field[i];
    } else {
        for (size_t i = 0; i < sizeof(header->size) && field[i] >= '0' && field[i] <= '7'; i++)
            value = value << 3 | (uint64_t)(field[i] - '0');
    }
    if (value > INT64_MAX - BLOCK)
        return -ERANGE;
    *out = value;
    return 0;
}

static int read_archive(struct cli *cli, int fd, const char *path, struct archive *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return cli_error(cli, "'%s': %s", path, strerror(errno));
    uint64_t at = 0, end = (uint64_t)st.st_size;
    out->n = 0;
    while (at + BLOCK <= end) {
        struct header header;
        uint64_t size;
        int r = fd_pread_all(fd, &header, sizeof(header), at);
        if (r < 0)
            return cli_error(cli, "'%s': %s", path, strerror(-r));
        if (!header.name[0])
            return 0; /* blocks of zeros end it */
        at += BLOCK;
        if (memcmp(header.magic, "ustar", 5) != 0 || read_size(&header, &size) < 0 ||
            size > end - at)
            return cli_error(cli, "'%s' is a broken archive: at byte %llu there is no member of it",
                             path, (unsigned long long)(at - BLOCK));
        if (header.type == '0' || header.type == '\0') {
            if (out->n == MEMBERS_MAX)
                return cli_error(cli, "'%s' has more than %d files", path, MEMBERS_MAX);
            const char *name = cli_strndup(cli, header.name, sizeof(header.name));
            out->members[out->n++] = (struct member){name, at, size};
        }
        at += ALIGN_UP(size, (uint64_t)BLOCK);
    }
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), tail = strlen(end);
    return len >= tail && strcasecmp(text + len - tail, end) == 0;
}

static const struct member *find_member(const struct archive *archive, const char *name)
{
    for (unsigned i = 0; name && i < archive->n; i++) {
        const char *have = archive->members[i].name;
        if (strcmp(strncmp(have, "./", 2) == 0 ? have + 2 : have, name) == 0)
            return &archive->members[i];
    }
    return NULL;
}

static struct xml *read_ovf(struct cli *cli, int fd, const char *path,
                            const struct archive *archive)
{
    const struct member *ovf = NULL;
    for (unsigned i = 0; i < archive->n && !ovf; i++)
        if (ends_with(archive->members[i].name, ".ovf"))
            ovf = &archive->members[i];
    if (!ovf || ovf->size > OVF_MAX) {
        cli_error(cli,
                  ovf ? "'%s': its OVF document has more than 1 MiB"
                      : "'%s' is a tar file without an OVF document, so no OVA",
                  path);
        return NULL;
    }
    char *text = cli_alloc(cli, ovf->size + 1);
    int r = fd_pread_all(fd, text, ovf->size, ovf->offset);
    if (r < 0) {
        cli_error(cli, "'%s': %s", path, strerror(-r));
        return NULL;
    }
    return xml_read(cli, text);
}

/* ------------------------------------------------------- the virtual hardware */

/* ResourceType of CIM_ResourceAllocationSettingData. */
enum {
    RESOURCE_PROCESSOR = 3,
    RESOURCE_MEMORY = 4,
    RESOURCE_ETHERNET = 10,
    RESOURCE_DISK = 17,
};

static uint64_t number_of(struct cli *cli, struct xml_node *item, const char *name)
{
    const char *text = xml_text(cli, xml_child(item, name));
    uint64_t value;
    return text && parse_u64(text, &value) == 0 ? value : 0;
}

/* "byte * 2^20", "MegaBytes", "GigaBytes" and the like; MiB when it says nothing. */
static unsigned unit_shift(const char *units)
{
    static const struct {
        const char *text;
        unsigned shift;
    } known[] = {{"2^10", 10}, {"2^20", 20}, {"2^30", 30},
                 {"Kilo", 10}, {"Mega", 20}, {"Giga", 30}};
    for (size_t i = 0; units && i < ARRAY_SIZE(known); i++)
        if (strstr(units, known[i].text))
            return known[i].shift;
    return 20;
}

/* The file of a disk item: its HostResource ends with a disk's id, whose fileRef names a file. */
static const char *file_of_disk(struct cli *cli, struct xml_node *root, struct xml_node *item)
{
    const char *resource = xml_text(cli, xml_child(item, "HostResource"));
    const char *id = resource ? strrchr(resource, '/') : NULL;
    const char *reference = NULL;
    struct xml_node *node = NULL;
    while (id && !reference && (node = xml_next(root, "DiskSection/Disk", node))) {
        const char *have = xml_attribute(cli, node, "diskId");
        if (have && strcmp(have, id + 1) == 0)
            reference = xml_attribute(cli, node, "fileRef");
    }
    node = NULL;
    while (reference && (node = xml_next(root, "References/File", node))) {
        const char *have = xml_attribute(cli, node, "id");
        if (!have || strcmp(have, reference) != 0)
            continue;
        const char *packed = xml_attribute(cli, node, "compression");
        if (packed && strcmp(packed, "identity") != 0) {
            cli_error(cli, "disk '%s' is compressed as a whole (%s)", id + 1, packed);
            return NULL;
        }
        return xml_attribute(cli, node, "href");
    }
    cli_error(cli, "the OVF document names no file for the disk '%s'", id ? id + 1 : "");
    return NULL;
}

static int add_disk(struct cli *cli, const struct archive *archive, const char *name,
                    struct ova *out)
{
    const struct member *member = find_member(archive, name);
    if (!name)
        return -1;
    if (!member)
        return cli_error(cli, "the disk '%s' is not in the archive", name);
    if (out->ndisks == OVA_DISKS_MAX)
        return cli_error(cli, "more than %d disks", OVA_DISKS_MAX);
    out->disks[out->ndisks++] = (struct ova_disk){name, member->offset, member->size};
    return 0;
}

static int read_hardware(struct cli *cli, struct xml_node *root, const struct archive *archive,
                         struct ova *out)
{
    struct xml_node *system = xml_child(root, "VirtualSystem"), *item = NULL;
    if (!system || xml_child(root, "VirtualSystemCollection"))
        return cli_error(cli, "the OVF document does not describe one machine");
    const char *name = xml_text(cli, xml_child(system, "Name"));
    out->name = name ? name : xml_attribute(cli, system, "id");
    while ((item = xml_next(system, "VirtualHardwareSection/Item", item))) {
        uint64_t quantity = number_of(cli, item, "VirtualQuantity");
        unsigned shift;
        switch (number_of(cli, item, "ResourceType")) {
        case RESOURCE_PROCESSOR:
            out->vcpus = (unsigned)MIN(quantity, 254);
            break;
        case RESOURCE_MEMORY:
            shift = unit_shift(xml_text(cli, xml_child(item, "AllocationUnits")));
            out->memory = quantity < UINT64_MAX >> shift ? quantity << shift : 0;
            break;
        case RESOURCE_ETHERNET:
            out->nics = MIN(out->nics + 1, 8);
            break;
        case RESOURCE_DISK:
            if (add_disk(cli, archive, file_of_disk(cli, root, item), out) < 0)
                return -1;
            break;
        default: /* controllers, drives without a medium, sound: machines here have their own */
            break;
        }
    }
    /* VMware's elements in between have other names in front; these are found by their own. */
    struct xml_node *config = NULL;
    while ((config = xml_next(system, "VirtualHardwareSection/Config", config))) {
        const char *key = xml_attribute(cli, config, "key");
        const char *value = xml_attribute(cli, config, "value");
        out->efi =
            out->efi || (key && value && strcmp(key, "firmware") == 0 && strcmp(value, "efi") == 0);
    }
    item = NULL;
    while ((item = xml_next(system, "VirtualHardwareSection/StorageItem", item)))
        if (number_of(cli, item, "ResourceType") == RESOURCE_DISK &&
            add_disk(cli, archive, file_of_disk(cli, root, item), out) < 0)
            return -1;
    item = NULL;
    while ((item = xml_next(system, "VirtualHardwareSection/EthernetPortItem", item)))
        out->nics = MIN(out->nics + 1, 8);
    return out->ndisks ? 0 : cli_error(cli, "the OVF document names no disk");
}

int ova_read(struct cli *cli, const char *path, struct ova *out)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct archive *archive = cli_alloc(cli, sizeof(*archive));
    *out = (struct ova){.ndisks = 0};
    if (fd < 0)
        return cli_error(cli, "cannot open '%s': %s", path, strerror(errno));
    if (read_archive(cli, fd, path, archive) < 0)
        return -1;
    struct xml *ovf = read_ovf(cli, fd, path, archive);
    return ovf ? read_hardware(cli, xml_root(ovf), archive, out) : -1;
}
