/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exits: 'p', PORT_WRITES writes to COM1's scratch register, 'P'; then 'm',
 * MMIO_WRITES writes to an address where no device is, 'M'; then halt. The
 * runner takes the time between the letters. Entered by PVH.
 */
#define PORT_WRITES 20000
#define MMIO_WRITES 20000
#define NOBODY 0xd0000000

    .code32
    .section .text.start, "ax"
    .globl _start
_start:
    movw    $0x3f8, %dx
    movb    $'p', %al
    outb    %al, %dx
    movl    $PORT_WRITES, %ecx
    movw    $0x3ff, %dx
1:  outb    %al, %dx
    decl    %ecx
    jnz     1b
    movw    $0x3f8, %dx
    movb    $'P', %al
    outb    %al, %dx

    movb    $'m', %al
    outb    %al, %dx
    movl    $MMIO_WRITES, %ecx
    movl    $NOBODY, %edi
2:  movl    %eax, (%edi)
    decl    %ecx
    jnz     2b
    movb    $'M', %al
    outb    %al, %dx
3:  hlt
    jmp     3b

    .section .note.pvh, "a", @note
    .balign 4
    .long   4, 4, 18
    .asciz  "Xen"
    .long   _start
    .section .note.GNU-stack, "", @progbits
