/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files of a seed for cloud-init (docs of its data source NoCloud), from run's options. A user
 * and a key become a cloud-config, written as JSON, which is YAML as well. A file of one's own goes
 * in as it is; with a user or key beside it both are parts of one MIME message, and cloud-init
 * merges them.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/args.h"
#include "cli/base64.h"
#include "cli/seed.h"

#define USER_MAX 32
#define LABEL_MAX 63 /* RFC 1123, 2.1 */
#define HOSTNAME_MAX 253
#define BASE64_LINE 76 /* RFC 2045, 6.8 */

bool seed_is_wanted(const struct cli *cli)
{
    static const char *const options[] = {"user", "ssh-key", "hostname", "user-data",
                                          "network-config"};
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (arg_raw(cli, options[i]))
            return true;
    return false;
}

/* 128 bits that nobody else has. */
static const char *unique(struct cli *cli)
{
    uint64_t bits[2];
    if (getrandom(bits, sizeof(bits), 0) != sizeof(bits))
        abort();
    return cli_text(cli, "%016llx%016llx", (unsigned long long)bits[0],
                    (unsigned long long)bits[1]);
}

/* --------------------------------------------------------------- user-data */

static int check_user(struct cli *cli, const char *user)
{
    size_t len = strspn(user, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (!len || user[len] || len > USER_MAX || isdigit((unsigned char)*user) || *user == '-')
        return cli_error(cli,
                         "user '%s': 1 to %d small letters, digits, '_' and '-', a letter first",
                         user, USER_MAX);
    return 0;
}

/* A file of public keys, one a line. NULL: told. */
static json_t *read_keys(struct cli *cli, const char *path)
{
    char *text = read_text_file(cli, path);
    if (!text)
        return NULL;
    if (strstr(text, "PRIVATE KEY-----")) {
        cli_error(cli,
                  "'%s' is a private key, which stays with you; its public one is in a file "
                  "'.pub' beside it",
                  path);
        return NULL;
    }
    json_t *keys = json_array();
    for (char *line; (line = strsep(&text, "\r\n"));) {
        line += strspn(line, " \t");
        if (!*line || *line == '#')
            continue;
        json_t *key = strchr(line, ' ') ? json_string(line) : NULL;
        if (!key) {
            cli_error(cli, "'%s': a line is no public key: '%.60s'", path, line);
            json_decref(keys);
            return NULL;
        }
        json_array_append_new(keys, key);
    }
    if (json_array_size(keys))
        return keys;
    cli_error(cli, "'%s' has no public key", path);
    json_decref(keys);
    return NULL;
}

/* NULL in *out: neither a user nor a key is asked for. */
static int make_config(struct cli *cli, const char **out)
{
    const char *user = NULL, *path = NULL;
    *out = NULL;
    if (arg_text(cli, "user", &user) < 0 || arg_text(cli, "ssh-key", &path) < 0 ||
        (user && check_user(cli, user) < 0))
        return -1;
    if (user && !path && !arg_raw(cli, "user-data"))
        return cli_error(cli, "--user '%s' needs --ssh-key: nobody could log in without", user);
    json_t *keys = path ? read_keys(cli, path) : NULL;
    if (path && !keys)
        return -1;
    json_t *config = json_object();
    json_t *target = config;
    if (user) {
        target = json_pack("{s:s, s:s, s:s, s:b}", "name", user, "shell", "/bin/bash", "sudo",
                           "ALL=(ALL) NOPASSWD:ALL", "lock_passwd", 1);
        json_object_set_new(config, "users", json_pack("[o]", target));
    }
    if (user && strcmp(user, "root") == 0)
        json_object_set_new(config, "disable_root", json_false());
    if (keys)
        json_object_set_new(target, "ssh_authorized_keys", keys);
    char *text = user || keys ? json_dumps(config, JSON_INDENT(2)) : NULL;
    if (text)
        *out = cli_text(cli, "#cloud-config\n%s\n", text);
    free(text);
    json_decref(config);
    return 0;
}

/* What cloud-init takes a part for, by how it begins; longer ones first. */
static const struct {
    const char *begin, *type;
} kinds[] = {
    {"#cloud-config-archive", "text/cloud-config-archive"},
    {"#cloud-config", "text/cloud-config"},
    {"#cloud-boothook", "text/cloud-boothook"},
    {"#include-once", "text/x-include-once-url"},
    {"#include", "text/x-include-url"},
    {"#part-handler", "text/part-handler"},
    {"## template: jinja", "text/jinja2"},
    {"#!", "text/x-shellscript"},
};

static const char *kind_of(struct cli *cli, const char *path, const char *bytes)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strncmp(bytes, kinds[i].begin, strlen(kinds[i].begin)) == 0)
            return kinds[i].type;
    cli_error(cli,
              "'%s' begins with none of '#cloud-config', '#!' and cloud-init's other marks, so it "
              "cannot go together with --user and --ssh-key",
              path);
    return NULL;
}

static const char *part(struct cli *cli, const char *type, const char *merge, const char *bytes,
                        size_t len)
{
    const char *coded = base64_encode(cli, bytes, len);
    size_t size = strlen(coded);
    char *lines = cli_alloc(cli, size + size / BASE64_LINE + 2), *to = lines;
    for (size_t i = 0; i < size; i += BASE64_LINE)
        to = stpcpy(stpncpy(to, coded + i, MIN(size - i, BASE64_LINE)), "\n");
    return cli_text(cli,
                    "Content-Type: %s; charset=\"utf-8\"\nMIME-Version: 1.0\n%s"
                    "Content-Transfer-Encoding: base64\n\n%s",
                    type, merge, lines);
}

/* The user's part first: lists of ours are added to it, and elsewhere it has the last word. */
static const char *both_parts(struct cli *cli, const char *path, const struct seed_file *file,
                              const char *config)
{
    const char *type = kind_of(cli, path, file->bytes), *boundary = unique(cli);
    if (!type)
        return NULL;
    const char *first = part(cli, type, "", file->bytes, file->len);
    const char *second =
        part(cli, "text/cloud-config", "Merge-Type: dict(recurse_array,no_replace)+list(append)\n",
             config, strlen(config));
    return cli_text(cli,
                    "Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n\n"
                    "--%s\n%s\n--%s\n%s\n--%s--\n",
                    boundary, boundary, first, boundary, second, boundary);
}

/* A file that may hold any bytes. */
static int read_into(struct cli *cli, const char *option, struct seed_file *file)
{
    const char *path = NULL;
    int r = arg_text(cli, option, &path);
    if (r > 0 && !(file->bytes = read_whole_file(cli, path, &file->len)))
        return -1;
    return r;
}

static int make_user_data(struct cli *cli, struct seed_file *file)
{
    const char *config;
    if (read_into(cli, "user-data", file) < 0 || make_config(cli, &config) < 0)
        return -1;
    if (file->bytes && !config)
        return 0;
    const char *text = file->bytes ? both_parts(cli, arg_raw(cli, "user-data"), file, config)
                       : config    ? config
                                   : "#cloud-config\n{}\n";
    if (!text)
        return -1;
    file->bytes = text;
    file->len = strlen(text);
    return 0;
}

/* --------------------------------------------------------------- meta-data */

static bool is_hostname(const char *name)
{
    if (!*name || strlen(name) > HOSTNAME_MAX)
        return false;
    for (;;) {
        size_t len = strcspn(name, ".");
        if (!len || len > LABEL_MAX || name[0] == '-' || name[len - 1] == '-')
            return false;
        for (size_t i = 0; i < len; i++)
            if (!isalnum((unsigned char)name[i]) && name[i] != '-')
                return false;
        if (!name[len])
            return true;
        name += len + 1;
    }
}

/* The machine's name as far as a host may be called so. */
static const char *default_hostname(struct cli *cli, const char *machine)
{
    char *name = cli_text(cli, "%.*s", LABEL_MAX, machine);
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p))
            *p = '-';
    name += strspn(name, "-");
    for (size_t len = strlen(name); len && name[len - 1] == '-'; len--)
        name[len - 1] = '\0';
    return *name ? name : "guest";
}

static int make_meta_data(struct cli *cli, const char *machine, struct seed_file *file)
{
    const char *hostname = NULL;
    if (arg_text(cli, "hostname", &hostname) < 0)
        return -1;
    if (hostname && !is_hostname(hostname))
        return cli_error(cli, "hostname '%s': letters, digits and '-', at most %d between two dots",
                         hostname, LABEL_MAX);
    file->bytes = cli_text(cli, "instance-id: kvasir-%s\nlocal-hostname: %s\n", unique(cli),
                           hostname ? hostname : default_hostname(cli, machine));
    file->len = strlen(file->bytes);
    return 0;
}

/* -------------------------------------------------------------------- file */

/* Where files of this user lie that are soon removed. Made when it is missing; NULL: told. */
static const char *folder(struct cli *cli)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (runtime && *runtime == '/' && access(runtime, W_OK) == 0)
        return runtime;
    if ((!state || *state != '/') && (!home || *home != '/')) {
        cli_error(cli, "there is no folder for the seed: neither XDG_RUNTIME_DIR, XDG_STATE_HOME "
                       "nor HOME names one");
        return NULL;
    }
    char *path = state && *state == '/' ? cli_text(cli, "%s/kvasir", state)
                                        : cli_text(cli, "%s/.local/state/kvasir", home);
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        cli_error(cli, "cannot make the folder '%s': %s", path, strerror(errno));
        return NULL;
    }
    return path;
}

int seed_make(struct cli *cli, const char *machine, const char **path)
{
    struct seed_file files[SEED_FILES] = {{"user-data"}, {"meta-data"}, {"network-config"}};
    if (make_user_data(cli, &files[0]) < 0 || make_meta_data(cli, machine, &files[1]) < 0 ||
        read_into(cli, "network-config", &files[2]) < 0)
        return -1;
    const char *place = folder(cli);
    if (!place)
        return -1;
    char *name = cli_text(cli, "%s/kvasir-seed-XXXXXX", place);
    cleanup_fd int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return cli_error(cli, "cannot make a file in '%s': %s", place, strerror(errno));
    if (seed_image_write(cli, fd, files, ARRAY_SIZE(files)) < 0) {
        unlink(name);
        return -1;
    }
    *path = name;
    return 0;
}
