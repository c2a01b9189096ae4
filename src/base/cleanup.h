/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Resources that free themselves when their variable leaves scope, on every
 * path. Ownership is handed on with take_fd() and take_ptr().
 */
#ifndef KV_BASE_CLEANUP_H
#define KV_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_fd_fn(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_free_fn(void *p)
{
    free(*(void **)p);
}

#define cleanup_fd __attribute__((cleanup(cleanup_fd_fn), unused))
#define cleanup_free __attribute__((cleanup(cleanup_free_fn), unused))

/* Returns *fd and leaves -1 behind: the caller now owns the descriptor. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Evaluates to the pointer and leaves NULL behind. */
#define take_ptr(p)                 \
    ({                              \
        __typeof__(p) taken_ = (p); \
        (p) = NULL;                 \
        taken_;                     \
    })

#endif
