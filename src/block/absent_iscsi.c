/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In place of iscsi's files where its library's headers were not there; see absent.h. */
#include "block/absent.h"

BLOCK_ABSENT(iscsi, "iscsi", "iscsi:");
