/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vnc_link.h. */
#include "vmm/display/vnc_link.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "block/tls_library.h"
#include "block/tls_server.h"

static ssize_t of_tls(ssize_t status)
{
    if (status >= 0)
        return status;
    if (status == GNUTLS_E_PREMATURE_TERMINATION)
        return 0;
    return tls_lib.error_is_fatal((int)status) ? -EPROTO : -EAGAIN;
}

ssize_t vnc_link_read(struct vnc_link *link, void *bytes, size_t size)
{
    if (link->tls)
        return of_tls(tls_lib.record_recv(link->tls, bytes, size));
    ssize_t n = read(link->fd, bytes, size);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    return n;
}

ssize_t vnc_link_write(struct vnc_link *link, const void *bytes, size_t len)
{
    if (link->tls)
        return of_tls(tls_lib.record_send(link->tls, bytes, len));
    ssize_t n = send(link->fd, bytes, len, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    return n;
}

int vnc_link_start_tls(struct vnc_link *link, const struct tls_server *tls)
{
    int rc = tls_server_session(tls, &link->tls);
    if (rc < 0)
        return rc;
    tls_lib.transport_set_int2(link->tls, link->fd, link->fd);
    link->shaking = true;
    return 0;
}

int vnc_link_shake(struct vnc_link *link)
{
    int status = tls_lib.handshake(link->tls);
    if (status == GNUTLS_E_SUCCESS) {
        link->shaking = false;
        return 0;
    }
    if (!tls_lib.error_is_fatal(status))
        return -EAGAIN;
    log_info("vnc: TLS handshake: %s", tls_lib.strerror(status));
    return -EPROTO;
}

bool vnc_link_wants_to_write(const struct vnc_link *link)
{
    return link->shaking && tls_lib.record_get_direction(link->tls);
}

void vnc_link_close(struct vnc_link *link)
{
    if (link->tls) {
        if (!link->shaking)
            tls_lib.bye(link->tls, GNUTLS_SHUT_WR); /* one try: the viewer may not be reading */
        tls_lib.deinit(link->tls);
    }
    if (link->fd >= 0)
        close(link->fd);
}
