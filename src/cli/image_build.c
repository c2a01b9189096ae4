/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image build: a disk image with a system on it that starts by BIOS and UEFI. The system is put
 * together in files without a name beside the new image, so that whatever happens leaves nothing
 * behind.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "cli/args.h"
#include "cli/image.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/tool.h"
#include "cli/verbs.h"

#define SIZE_DEFAULT GIB(8)
#define SIZE_MIN GIB(1)
#define SIZE_MAX_GIB 65536

static const struct {
    const char *program, *package;
} needed[] = {
    {"mmdebstrap", "mmdebstrap"},
    {"sfdisk", "fdisk"},
    {"mke2fs", "e2fsprogs"},
    {"mformat", "mtools"},
};

/* Values that others than this program read are of these letters only. */
static int check_letters(struct cli *cli, const char *option, const char *value, const char *more,
                         bool upper)
{
    if (!value)
        return 0;
    bool good = *value && *value != '-' && *value != '.';
    for (const char *p = value; good && *p; p++)
        good = islower((unsigned char)*p) || isdigit((unsigned char)*p) || strchr(more, *p) ||
               (upper && isupper((unsigned char)*p));
    return good ? 0
                : cli_error(cli, "--%s '%s': %sletters, digits and %s are possible", option, value,
                            upper ? "" : "small ", more);
}

static int check_line(struct cli *cli, const char *option, const char *value)
{
    for (const char *p = value; p && *p; p++)
        if (iscntrl((unsigned char)*p))
            return cli_error(cli, "--%s: one line is possible", option);
    return 0;
}

/* The text of a public key's file. */
static int read_key(struct cli *cli, const char **key)
{
    static const char *const kinds[] = {"ssh-", "ecdsa-", "sk-"};
    const char *path = *key;
    char *text = path ? read_text_file(cli, path) : NULL;
    if (!path)
        return 0;
    if (!text)
        return -1;
    text[strcspn(text, "\r\n")] = '\0';
    *key = text;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strncmp(text, kinds[i], strlen(kinds[i])) == 0)
            return check_line(cli, "ssh-key", text);
    return cli_error(cli,
                     "--ssh-key '%s': a file with a public key is expected, such as "
                     "~/.ssh/id_ed25519.pub",
                     path);
}

/* "file:PATH": others on this host do not see it among the processes' arguments. */
static int read_password(struct cli *cli, const char **password)
{
    if (*password && strncmp(*password, "file:", 5) == 0) {
        char *text = read_text_file(cli, *password + 5);
        if (!text)
            return -1;
        text[strcspn(text, "\r\n")] = '\0';
        *password = text;
    }
    return check_line(cli, "root-password", *password);
}

static int read_options(struct cli *cli, struct image *out)
{
    const char *system = NULL, *size = NULL;
    *out = (struct image){.size = SIZE_DEFAULT,
                          .suite = "bookworm",
                          .kernel = "cloud",
                          .hostname = "debian",
                          .disk = -1,
                          .bios = -1,
                          .uefi = -1};
    if (arg_text(cli, "system", &system) < 0 || arg_text(cli, "file", &out->file) < 0 ||
        arg_text(cli, "size", &size) < 0 || arg_text(cli, "suite", &out->suite) < 0 ||
        arg_text(cli, "mirror", &out->mirror) < 0 ||
        arg_text(cli, "packages", &out->packages) < 0 ||
        arg_text(cli, "hostname", &out->hostname) < 0 || arg_text(cli, "user", &out->user) < 0 ||
        arg_text(cli, "ssh-key", &out->ssh_key) < 0 ||
        arg_text(cli, "root-password", &out->root_password) < 0 ||
        arg_text(cli, "kernel", &out->kernel) < 0)
        return -1;
    if (strcmp(system, "debian") != 0)
        return cli_error(cli, "system '%s': debian is known", system);
    if (strcmp(out->kernel, "cloud") != 0 && strcmp(out->kernel, "generic") != 0)
        return cli_error(cli, "--kernel '%s': cloud (for virtual machines) and generic are known",
                         out->kernel);
    if (size &&
        (parse_size(size, &out->size) < 0 || out->size < SIZE_MIN || out->size > GIB(SIZE_MAX_GIB)))
        return cli_error(cli, "--size '%s': a size such as 8G, 1G to 64T", size);
    out->size = ALIGN_DOWN(out->size, MIB(1));
    if (check_letters(cli, "suite", out->suite, "-._", false) < 0 ||
        check_letters(cli, "packages", out->packages, "+-.,:", false) < 0 ||
        check_letters(cli, "hostname", out->hostname, "-.", true) < 0 ||
        check_letters(cli, "user", out->user, "_-", false) < 0 ||
        check_line(cli, "mirror", out->mirror) < 0 || read_key(cli, &out->ssh_key) < 0 ||
        read_password(cli, &out->root_password) < 0)
        return -1;
    if (!out->file)
        out->file = cli_text(cli, "%s-%s.qcow2", system, out->suite);
    if (access(out->file, F_OK) == 0)
        return cli_error(cli, "'%s' is there already; --file names another one", out->file);
    return 0;
}

/* A file of this size in the folder where the image will be, without a name. */
static int open_nameless(struct cli *cli, const struct image *image, uint64_t size)
{
    char *name = cli_text(cli, "%s/.kvasir-XXXXXX", dirname(cli_text(cli, "%s", image->file)));
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return cli_error(cli, "cannot make a file beside '%s': %s", image->file, strerror(errno));
    unlink(name);
    /* In a user namespace mmdebstrap is somebody else, who opens it anew by its descriptor. */
    if (fchmod(fd, 0666) < 0 || ftruncate(fd, (off_t)size) < 0) {
        cli_error(cli, "'%s' cannot have %llu bytes: %s", image->file, (unsigned long long)size,
                  strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static int choose_names(struct cli *cli, struct image *image)
{
    wire_uuid id;
    if (getrandom(id, sizeof(id), 0) != sizeof(id) ||
        getrandom(&image->esp_id, sizeof(image->esp_id), 0) != sizeof(image->esp_id))
        return cli_error(cli, "no random numbers: %s", strerror(errno));
    id[6] = (char)((id[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
    id[8] = (char)((id[8] & 0x3f) | 0x80);
    snprintf(image->root_uuid, sizeof(image->root_uuid), "%s", uuid_to_text(cli, id));
    return 0;
}

static int build(struct cli *cli, struct image *image)
{
    static const char *const source[] = {"-f", "raw", "/proc/self/fd/60", NULL};
    if (choose_names(cli, image) < 0 ||
        (image->disk = open_nameless(cli, image, image->size)) < 0 ||
        (image->bios = open_nameless(cli, image, 0)) < 0 ||
        (image->uefi = open_nameless(cli, image, 0)) < 0 || image_make_partitions(cli, image) < 0 ||
        image_install_debian(cli, image) < 0 || image_add_loaders(cli, image) < 0)
        return -1;
    progress_start(cli, "Debian:", "the image");
    int r = image_convert(cli, source, "qcow2", image->file, image->disk);
    progress_end();
    return r;
}

static void close_files(const struct image *image)
{
    const int files[] = {image->disk, image->bios, image->uefi};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        if (files[i] >= 0)
            close(files[i]);
}

int image_build(struct cli *cli)
{
    struct image image;
    if (read_options(cli, &image) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        if (!tool_there(cli, needed[i].program, needed[i].package))
            return -1;
    int r = build(cli, &image);
    close_files(&image);
    if (r < 0)
        return -1;
    const char *who = image.user ? image.user : "root";
    out_done(cli, "Image '%s' made", image.file);
    if (!image.root_password && !image.ssh_key)
        out_print(cli, "%s logs in at the console without a password\n", who);
    cli_hint(cli, "kvasir run %s --memory 1G --console", image.file);
    return 0;
}
