/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables of the programs' procedures, made of *_procedures.def. */
#include "rpc/procedure.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "rpc/admin_procedure.h"
#include "rpc/qemu_procedure.h"

#define P(number_, name_, in, out, flags_)     \
    [number_] = {                              \
        .number = number_,                     \
        .name = #name_,                        \
        .flags = flags_,                       \
        .args_code = (xdrproc_t)xdr_wire_##in, \
        .ret_code = (xdrproc_t)xdr_wire_##out, \
        .args_size = sizeof(wire_##in),        \
        .ret_size = sizeof(wire_##out),        \
        .args_type = #in,                      \
        .ret_type = #out,                      \
    },

const struct rpc_procedure remote_procedures[REMOTE_PROC_END] = {
#include "rpc/remote_procedures.def"
};

const struct rpc_procedure qemu_procedures[QEMU_PROC_END] = {
#include "rpc/qemu_procedures.def"
};

const struct rpc_procedure admin_procedures[ADMIN_PROC_END] = {
#include "rpc/admin_procedures.def"
};

/* Words that libvirt's functions write otherwise than with one capital letter. */
static const char *const odd_words[] = {
    "CPU",      "DHCP", "FD",  "FS",       "FSFreeze", "FSThaw", "FSTrim", "ID",
    "IOThread", "MAC",  "NMI", "NWFilter", "OS",       "PM",     "SASL",   "SCSI",
    "SEV",      "SSH",  "TLS", "URI",      "UUID",     "WWN",    "XML",
};

static const char *odd_word(const char *word, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(odd_words); i++) {
        if (strlen(odd_words[i]) == len && strncasecmp(odd_words[i], word, len) == 0)
            return odd_words[i];
    }
    return NULL;
}

void rpc_procedure_api_name(const struct rpc_procedure *row, char out[RPC_API_NAME_SIZE])
{
    size_t used = (size_t)snprintf(out, RPC_API_NAME_SIZE, "vir");
    for (const char *word = row->name; *word && used + 1 < RPC_API_NAME_SIZE;) {
        size_t len = strcspn(word, "_");
        const char *odd = odd_word(word, len);
        for (size_t i = 0; i < len && used + 1 < RPC_API_NAME_SIZE; i++)
            out[used++] = odd ? odd[i] : (char)(i ? tolower((unsigned char)word[i]) : word[i]);
        word += len + (word[len] == '_');
    }
    out[used] = '\0';
}
