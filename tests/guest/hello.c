/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The smallest payload: one byte to COM1, then power-off. */
#include "payload.h"

void payload_main(void)
{
    outb(0x3f8, 'K');
    finish();
}
