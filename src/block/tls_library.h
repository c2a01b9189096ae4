/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of GnuTLS that servers take (NBD, VNC), loaded with the first
 * credentials: a process whose servers are plain, or that has none, carries no
 * TLS library.
 */
#ifndef KV_BLOCK_TLS_LIBRARY_H
#define KV_BLOCK_TLS_LIBRARY_H

#include <gnutls/gnutls.h>

#include "base/error.h"

/* clang-format off */
#define TLS_LIBRARY_FUNCTIONS(F)             \
    F(bye)                                  \
    F(certificate_allocate_credentials)     \
    F(certificate_free_credentials)         \
    F(certificate_server_set_request)       \
    F(certificate_set_x509_crl_file)        \
    F(certificate_set_x509_key_file)        \
    F(certificate_set_x509_trust_file)      \
    F(credentials_set)                      \
    F(deinit)                               \
    F(error_is_fatal)                       \
    F(handshake)                            \
    F(init)                                 \
    F(psk_allocate_server_credentials)      \
    F(psk_free_server_credentials)          \
    F(psk_set_server_credentials_file)      \
    F(record_cork)                          \
    F(record_get_direction)                 \
    F(record_recv)                          \
    F(record_send)                          \
    F(record_uncork)                        \
    F(session_set_verify_cert2)             \
    F(set_default_priority)                 \
    F(set_default_priority_append)          \
    F(strerror)                             \
    F(transport_set_int2)
/* clang-format on */

/* gnutls_NAME() is tls_lib.NAME(). */
struct tls_library {
#define TLS_LIBRARY_FIELD(name) __typeof__(gnutls_##name) *name;
    TLS_LIBRARY_FUNCTIONS(TLS_LIBRARY_FIELD)
#undef TLS_LIBRARY_FIELD
};
extern struct tls_library tls_lib;

/* Before anything of it is called; as library_load(). */
int tls_library_load(struct kv_error *err);

#endif
