/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvasird's command line and configuration file. The file has libvirtd.conf's form and names
 * ("key = value"; numbers, "texts", [ "lists" ]); unknown names are refused. Two tables
 * say what there is, and make --help and the manual page.
 */
#ifndef KV_DAEMON_SERVER_SETTINGS_H
#define KV_DAEMON_SERVER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

struct settings {
    /* Command line. */
    char *config_file, *socket_dir, *state_dir, *log;
    bool session, listen, help, version, dump_api;
    unsigned timeout;

    /* Sockets. */
    unsigned listen_tls, listen_tcp;
    char *listen_addr, *tls_port, *tcp_port;
    unsigned libvirt_sockets;
    char *unix_sock_group, *unix_sock_ro_perms, *unix_sock_rw_perms, *unix_sock_admin_perms;

    /* Who is let in. */
    char *auth_unix_ro, *auth_unix_rw, *auth_tcp, *auth_tls;
    char *ca_file, *cert_file, *key_file, *crl_file, *tls_priority;
    unsigned tls_no_verify_certificate;
    char **tls_allowed_dn_list, **sasl_allowed_username_list; /* NULL at the end */

    /* Screens of machines. */
    unsigned vnc_tls, vnc_tls_x509_verify;
    char *vnc_tls_x509_cert_dir;

    char *metrics_listen; /* NULL: nowhere */

    /* How many, how long. */
    unsigned max_clients, max_anonymous_clients, max_client_requests;
    unsigned min_workers, max_workers, prio_workers;
    unsigned admin_max_clients, admin_max_client_requests, admin_min_workers, admin_max_workers;
    unsigned keepalive_interval, keepalive_count;
    unsigned log_level; /* libvirt's: 1 debug, 2 information, 3 warning, 4 error; 0: not said */
};

/* Of the command line. */
struct settings_option {
    const char *name;     /* without "--" */
    const char *argument; /* "FILE"; NULL: none */
    size_t offset;
    const char *help;
};
extern const struct settings_option settings_options[]; /* a name of NULL at the end */

enum setting_type {
    SETTING_NUMBER, /* unsigned */
    SETTING_TEXT,   /* char *, allocated */
    SETTING_LIST,   /* char **, allocated */
};

/* Of the file. */
struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;
    unsigned most; /* NUMBER: largest value */
    const char *help;
};
extern const struct setting settings_table[]; /* a name of NULL at the end */

/* Defaults, then the command line, then the file (--config, else the usual one if it is there).
 * 0, or negative with err filled. settings_free() either way. */
int settings_read(struct settings *settings, int argc, char **argv, struct kv_error *err);
int settings_read_file(struct settings *settings, const char *path, struct kv_error *err);
void settings_free(struct settings *settings);

void settings_help(FILE *to);

#endif
