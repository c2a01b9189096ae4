/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All commands of kvasir-img. A new one is a line here. */
#include "img/img.h"

const struct img_command *const img_commands[] = {
    &img_amend,   &img_bench,  &img_bitmap, &img_check,    &img_commit, &img_compare,
    &img_convert, &img_create, &img_dd,     &img_info,     &img_map,    &img_measure,
    &img_nbd,     &img_rebase, &img_resize, &img_snapshot, NULL,
};
