/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that says "up" on COM1 and sleeps for ever: many of them cost nothing. */
#include "payload.h"

void payload_main(void)
{
    print("up\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}
