/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets of hashes; see flow_hash.h. */
#include "switch/forward/flow_hash.h"

#include <errno.h>
#include <sys/random.h>

int flow_secret_make(struct flow_secret *secret)
{
    return getrandom(secret, sizeof(*secret), 0) == (ssize_t)sizeof(*secret) ? 0 : -EIO;
}
