/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takes a monitor over that was built to be: has it do what its option says, waits for that. */
#include "payload.h"

#define HOSTILE_PORT 0x5ec0

void payload_main(void)
{
    outb(HOSTILE_PORT, 1);
    for (unsigned i = 0; i < 100000 && inb(HOSTILE_PORT) == 0; i++)
        ;
    finish();
}
