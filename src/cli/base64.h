/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base64 (RFC 4648). */
#ifndef KV_CLI_BASE64_H
#define KV_CLI_BASE64_H

#include "cli/cli.h"

char *base64_encode(struct cli *cli, const char *bytes, size_t len);
/* White space is skipped. NULL: it is none. */
char *base64_decode(struct cli *cli, const char *text, size_t *len);

#endif
