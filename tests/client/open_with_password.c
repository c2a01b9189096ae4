/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens a connection as somebody with a password: open_with_password URI USER PASSWORD REALM */
#include <kvasir/kvasir.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int answer(void *opaque, struct kvasir_credential *questions, size_t n)
{
    char **words = opaque;
    for (size_t i = 0; i < n; i++) {
        int kind = questions[i].kind;
        const char *word = kind == KVASIR_CREDENTIAL_PASSPHRASE ? words[1]
                           : kind == KVASIR_CREDENTIAL_REALM    ? words[2]
                                                                : words[0];
        questions[i].answer = strdup(word);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    const struct kvasir_auth auth = {answer, argv + 2};
    struct kvasir_error err;
    struct kvasir_conn *conn;
    char *type, *capabilities;
    if (kvasir_open(argv[1], 0, &auth, &conn, &err) < 0 ||
        kvasir_conn_type(conn, &type, &err) < 0 ||
        kvasir_conn_capabilities(conn, &capabilities, &err) < 0) {
        fprintf(stderr, "error %d: %s\n", err.code, err.message);
        return 1;
    }
    printf("%s, %s\n", type, kvasir_conn_is_secure(conn) ? "encrypted" : "open");
    free(type);
    free(capabilities);
    kvasir_close(conn);
    return 0;
}
