/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first instructions of a guest: one byte to COM1, then halt. Entered by
 * PVH (32-bit protected mode), which QEMU, kvmtool's peers and we all have.
 */
    .code32
    .section .text.start, "ax"
    .globl _start
_start:
    movw    $0x3f8, %dx
    movb    $'K', %al
    outb    %al, %dx
1:  hlt
    jmp     1b

    .section .note.pvh, "a", @note
    .balign 4
    .long   4, 4, 18            /* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz  "Xen"
    .long   _start
    .section .note.GNU-stack, "", @progbits
