/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In place of http.c where libcurl's headers were not there; see absent.h. */
#include "block/absent.h"

BLOCK_ABSENT(http, "http", "http:");
BLOCK_ABSENT(https, "http", "https:");
