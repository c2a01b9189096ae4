/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a CD-ROM boots (El Torito, no emulation) in tests/guest/firmware: it
 * reads the volume descriptor (INT 13h, blocks of 2048 bytes), prints the name
 * that stands there (INT 10h), and switches the machine off.
 */
#include "sector.inc"

#define VOLUME 0x8000         /* where the descriptor goes */
#define IDENTIFIER (VOLUME + 40)

    .code16
    .text
    .globl _start
_start:
    ljmp    $0, $1f
1:  set_up_segments
    movw    $hello, %si
    call    print
    movb    $0x42, %ah
    movw    $packet, %si
    int     $0x13
    jc      failed
    cmpl    $0x30304443, VOLUME + 1 /* "CD00" */
    jne     failed
    movw    $IDENTIFIER, %si
    call    print
off:
    movw    $end, %si
    call    print
    end_and_print

packet:
    .byte   16, 0
    .word   1
    .word   VOLUME, 0
    .quad   16
hello:
    .asciz  "boot sector of "
failure:
    .asciz  "failure"
end:
    .asciz  " cd          \r\n"

    .org    2048
