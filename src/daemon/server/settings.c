/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line, --help and defaults; the file is settings_file.c's. See settings.h. */
#include "daemon/server/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/util.h"
#include "base/version.h"

#define USUAL_FILE "/etc/kvasir/kvasird.conf"

#define OPTION(name_, argument_, field_, help_)                                            \
    {                                                                                      \
        .name = name_, .argument = argument_, .offset = offsetof(struct settings, field_), \
        .help = help_                                                                      \
    }
const struct settings_option settings_options[] = {
    OPTION("config", "FILE", config_file,
           "read FILE instead of " USUAL_FILE " (in a session: kvasir/kvasird.conf below "
           "$XDG_CONFIG_HOME)"),
    OPTION("socket-dir", "DIR", socket_dir,
           "sockets and other run-time files lie in DIR and only there (/run/kvasir; in a session "
           "kvasir below $XDG_RUNTIME_DIR)"),
    OPTION("state-dir", "DIR", state_dir,
           "definitions and what else has to last lie in DIR (/var/lib/kvasir; in a session kvasir "
           "below $XDG_DATA_HOME)"),
    OPTION("log", "LEVEL", log, "error, warning, info (the default), debug or trace, on stderr"),
    OPTION(
        "session", NULL, session,
        "serve qemu:///session of the user who runs it, without privileges (always so for others "
        "than root)"),
    OPTION("listen", NULL, listen, "listen on TLS and TCP, as the configuration says"),
    OPTION("timeout", "SECONDS", timeout,
           "end after so many seconds without a client and without a running machine"),
    OPTION("dump-api", NULL, dump_api,
           "print all procedures of libvirt's protocol and whether they are served, and exit"),
    OPTION("help", NULL, help, "print this and exit"),
    OPTION("version", NULL, version, "print the version and exit"),
    {.name = NULL},
};

void settings_help(FILE *to)
{
    fputs("kvasird " KVASIR_VERSION "\n"
          "usage: kvasird [OPTION]...\n"
          "Manages virtual machines; serves virsh and everything else that speaks libvirt's "
          "protocol.\n\n",
          to);
    for (const struct settings_option *option = settings_options; option->name; option++)
        fprintf(to, "  --%s%s%s\n        %s\n", option->name, option->argument ? " " : "",
                option->argument ? option->argument : "", option->help);
}

static const struct settings_option *find_option(const char *name, size_t len)
{
    for (const struct settings_option *option = settings_options; option->name; option++) {
        if (strlen(option->name) == len && memcmp(option->name, name, len) == 0)
            return option;
    }
    return NULL;
}

static int set_option(struct settings *settings, const struct settings_option *option,
                      const char *value, struct kv_error *err)
{
    void *field = (char *)settings + option->offset;
    uint64_t number;
    if (!option->argument) {
        *(bool *)field = true;
        return 0;
    }
    if (field == &settings->timeout) {
        if (parse_u64(value, &number) < 0 || number > 86400 * 365)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "--timeout '%s': seconds are a number up to a year", value);
        settings->timeout = (unsigned)number;
        return 0;
    }
    free(*(char **)field);
    *(char **)field = strdup(value);
    return *(char **)field ? 0 : kv_error_errno(err, KV_ERR_BASE, ENOMEM, "--%s", option->name);
}

static int read_arguments(struct settings *settings, int argc, char **argv, struct kv_error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i], *equals = strchr(text, '=');
        size_t len = equals ? (size_t)(equals - text) : strlen(text);
        const struct settings_option *option =
            len > 2 && memcmp(text, "--", 2) == 0 ? find_option(text + 2, len - 2) : NULL;
        if (!option)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "'%s' is no option; 'kvasird --help' lists them", text);
        const char *value = equals ? equals + 1 : NULL;
        if (!option->argument && value)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "--%s takes no argument", option->name);
        if (option->argument && !value)
            value = i + 1 < argc ? argv[++i] : NULL;
        if (option->argument && !value)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "--%s needs a %s", option->name,
                                option->argument);
        int r = set_option(settings, option, value, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_defaults(struct settings *settings)
{
    *settings = (struct settings){
        .listen_tls = 1,
        .libvirt_sockets = 1,
        .tls_port = strdup("16514"),
        .tcp_port = strdup("16509"),
        .unix_sock_ro_perms = strdup("0777"),
        .unix_sock_admin_perms = strdup("0700"),
        .auth_tcp = strdup("sasl"),
        .auth_tls = strdup("none"),
        .ca_file = strdup("/etc/pki/CA/cacert.pem"),
        .vnc_tls_x509_cert_dir = strdup("/etc/pki/libvirt-vnc"),
        .cert_file = strdup("/etc/pki/libvirt/servercert.pem"),
        .key_file = strdup("/etc/pki/libvirt/private/serverkey.pem"),
        .max_clients = 5000,
        .max_anonymous_clients = 20,
        .max_client_requests = 5,
        .min_workers = 5,
        .max_workers = 20,
        .prio_workers = 5,
        .admin_max_clients = 5,
        .admin_max_client_requests = 5,
        .admin_min_workers = 1,
        .admin_max_workers = 5,
        .keepalive_interval = 5,
        .keepalive_count = 5,
    };
    return settings->tls_port && settings->tcp_port && settings->unix_sock_ro_perms &&
                   settings->unix_sock_admin_perms && settings->auth_tcp && settings->auth_tls &&
                   settings->ca_file && settings->cert_file && settings->key_file &&
                   settings->vnc_tls_x509_cert_dir
               ? 0
               : -ENOMEM;
}

static int read_usual_file(struct settings *settings, struct kv_error *err)
{
    char path[4096] = USUAL_FILE;
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (settings->session && config && *config)
        snprintf(path, sizeof(path), "%s/kvasir/kvasird.conf", config);
    else if (settings->session)
        snprintf(path, sizeof(path), "%s/.config/kvasir/kvasird.conf", home ? home : "");
    return access(path, F_OK) == 0 ? settings_read_file(settings, path, err) : 0;
}

int settings_read(struct settings *settings, int argc, char **argv, struct kv_error *err)
{
    int r = set_defaults(settings);
    if (r < 0)
        return kv_error_errno(err, KV_ERR_BASE, -r, "settings");
    settings->session = geteuid() != 0;
    r = read_arguments(settings, argc, argv, err);
    if (r < 0 || settings->help || settings->version || settings->dump_api)
        return r;
    return settings->config_file ? settings_read_file(settings, settings->config_file, err)
                                 : read_usual_file(settings, err);
}

static void free_list(char **list)
{
    for (char **text = list; text && *text; text++)
        free(*text);
    free(list);
}

void settings_free(struct settings *settings)
{
    for (const struct settings_option *option = settings_options; option->name; option++) {
        void *field = (char *)settings + option->offset;
        if (option->argument && field != &settings->timeout)
            free(*(char **)field);
    }
    for (const struct setting *setting = settings_table; setting->name; setting++) {
        void *field = (char *)settings + setting->offset;
        if (setting->type == SETTING_TEXT)
            free(*(char **)field);
        else if (setting->type == SETTING_LIST)
            free_list(*(char ***)field);
    }
    memset(settings, 0, sizeof(*settings));
}
