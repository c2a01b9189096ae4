/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of the storage procedures: the rows of call_*.c, one after the other. */
#include <string.h>

#include "base/util.h"
#include "daemon/storage/internal.h"

#define ROWS_MAX 64

struct rpc_handler storage_handlers[ROWS_MAX + 1];

/* Before main(), as the list of drivers names the table. */
__attribute__((constructor)) static void join(void)
{
    static const struct storage_rows *const lists[] = {&storage_pool_rows, &storage_list_rows,
                                                       &storage_volume_rows, &storage_make_rows,
                                                       &storage_transfer_rows};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        memcpy(storage_handlers + n, lists[i]->rows, lists[i]->count * sizeof(struct rpc_handler));
        n += lists[i]->count;
    }
}
