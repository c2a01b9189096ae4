/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions to the person at the terminal: who they are, passwords. */
#ifndef KV_CLI_ASK_H
#define KV_CLI_ASK_H

#include <kvasir/kvasir.h>

int ask_credentials(void *opaque, struct kvasir_credential *questions, size_t n);

/* A line that is not shown while it is typed, malloc()ed; NULL at the end of the input. */
char *ask_hidden(const char *prompt);

#endif
