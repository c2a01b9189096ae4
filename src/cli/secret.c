/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets: what they are for, and their values. */
#include <libvirt/libvirt.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/base64.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define VALUE_MAX 65536 /* of the wire */

static const char *usage_text(int type)
{
    static const char *const types[] = {"none", "volume", "ceph", "iscsi", "tls", "vtpm"};
    return type >= 0 && (size_t)type < ARRAY_SIZE(types) ? types[type] : "Unknown";
}

static int by_uuid(const void *a, const void *b)
{
    return memcmp(((const wire_secret *)a)->uuid, ((const wire_secret *)b)->uuid,
                  sizeof(wire_uuid));
}

int secret_list(struct cli *cli)
{
    static const struct arg_flag filters[] = {
        {"ephemeral", VIR_CONNECT_LIST_SECRETS_EPHEMERAL},
        {"no-ephemeral", VIR_CONNECT_LIST_SECRETS_NO_EPHEMERAL},
        {"private", VIR_CONNECT_LIST_SECRETS_PRIVATE},
        {"no-private", VIR_CONNECT_LIST_SECRETS_NO_PRIVATE},
        {NULL},
    };
    const REMOTE_RET(CONNECT_LIST_ALL_SECRETS) *got =
        CALL(cli, CONNECT_LIST_ALL_SECRETS, .want_list = 1, .flags = arg_flags(cli, filters));
    if (!got)
        return cli_error(cli, "Failed to list node secrets");
    wire_secret *list = got->secrets.secrets_val;
    if (got->secrets.secrets_len)
        qsort(list, got->secrets.secrets_len, sizeof(*list), by_uuid);
    struct table *table = TABLE(cli, "UUID", "Usage");
    for (unsigned i = 0; i < got->secrets.secrets_len; i++) {
        const char *uuid = uuid_to_text(cli, list[i].uuid);
        TABLE_ROW(cli, table, uuid,
                  list[i].usage_type
                      ? cli_text(cli, "%s %s", usage_text(list[i].usage_type), list[i].usage_id)
                      : "Unused");
    }
    return table_print(cli, table);
}

int secret_define(struct cli *cli)
{
    const char *file = NULL;
    if (arg_text(cli, "file", &file) < 0)
        return -1;
    char *xml = read_text_file(cli, file);
    if (!xml)
        return -1;
    unsigned flags = arg_on(cli, "validate") ? VIR_SECRET_DEFINE_VALIDATE : 0;
    const REMOTE_RET(SECRET_DEFINE_XML) *got =
        CALL(cli, SECRET_DEFINE_XML, .xml = xml, .flags = flags);
    if (!got)
        return cli_error(cli, "Failed to set attributes from %s", file);
    return out_done(cli, "Secret %s created", uuid_to_text(cli, got->secret.uuid));
}

int secret_xml(struct cli *cli)
{
    const wire_secret *secret = lookup_secret(cli);
    const REMOTE_RET(SECRET_GET_XML_DESC) *xml =
        secret ? CALL(cli, SECRET_GET_XML_DESC, .secret = *secret) : NULL;
    return xml ? xml_print(cli, xml->xml) : -1;
}

/* From a file, the command line or the terminal; in base64 unless plain. */
static char *secret_input(struct cli *cli, bool *plain)
{
    const char *file = NULL, *base64 = NULL;
    if (arg_text(cli, "file", &file) < 0 || arg_text(cli, "base64", &base64) < 0)
        return NULL;
    *plain = arg_on(cli, "plain");
    if (base64) {
        cli_error(cli, "Passing secret value as command-line argument is insecure!");
        return cli_text(cli, "%s", base64);
    }
    if (file)
        return read_text_file(cli, file);
    char *typed = NULL;
    if (arg_on(cli, "interactive"))
        typed = ask_hidden("Enter new value for secret:");
    if (!typed) {
        cli_error(cli, arg_on(cli, "interactive") ? "Failed to read secret"
                                                  : "Input secret value is missing");
        return NULL;
    }
    *plain = true;
    char *kept = cli_text(cli, "%s", typed);
    explicit_bzero(typed, strlen(typed));
    free(typed);
    return kept;
}

int secret_set_value(struct cli *cli)
{
    bool plain;
    if (arg_exclusive(cli, "file", "base64") < 0 || arg_exclusive(cli, "plain", "base64") < 0 ||
        arg_exclusive(cli, "interactive", "base64") < 0 ||
        arg_exclusive(cli, "interactive", "plain") < 0 ||
        arg_exclusive(cli, "interactive", "file") < 0 || arg_requires(cli, "plain", "file") < 0)
        return -1;
    const wire_secret *secret = lookup_secret(cli);
    char *input = secret ? secret_input(cli, &plain) : NULL;
    if (!input)
        return -1;
    size_t len = strlen(input);
    char *value = input;
    if (!plain)
        value = base64_decode(cli, input, &len);
    if (!value || len > VALUE_MAX)
        return cli_error(cli, "Failed to set secret value");
    bool done = CALL(cli, SECRET_SET_VALUE, .secret = *secret, .value = {(u_int)len, value});
    explicit_bzero(value, len);
    if (!done)
        return cli_error(cli, "Failed to set secret value");
    return out_done(cli, "Secret value set");
}

int secret_get_value(struct cli *cli)
{
    const wire_secret *secret = lookup_secret(cli);
    const REMOTE_RET(SECRET_GET_VALUE) *got =
        secret ? CALL(cli, SECRET_GET_VALUE, .secret = *secret) : NULL;
    if (!got)
        return -1;
    const char *value = got->value.value_val;
    unsigned len = got->value.value_len;
    out_key(cli, "value", "%s", base64_encode(cli, value, len));
    if (cli->json)
        return 0;
    if (!arg_on(cli, "plain"))
        fputs(base64_encode(cli, value, len), stdout);
    else if (fwrite(value, 1, len, stdout) != len)
        return cli_error(cli, "failed to write secret");
    return 0;
}

int secret_undefine(struct cli *cli)
{
    const wire_secret *secret = lookup_secret(cli);
    if (!secret)
        return -1;
    const char *uuid = arg_raw(cli, "secret");
    if (!CALL(cli, SECRET_UNDEFINE, .secret = *secret))
        return cli_error(cli, "Failed to delete secret %s", uuid);
    return out_done(cli, "Secret %s deleted", uuid);
}
