/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a CD-ROM boots (El Torito, no emulation) in tests/guest/firmware: it
 * reads the volume descriptor (INT 13h, blocks of 2048 bytes), prints the name
 * that stands there (INT 10h), and switches the machine off.
 */
#define LOAD 0x7c00
#define VOLUME 0x8000         /* where the descriptor goes */
#define IDENTIFIER (VOLUME + 40)
#define PM1_CONTROL 0x604
#define SWITCH_OFF 0x2000     /* S5 */

    .code16
    .text
    .globl _start
_start:
    ljmp    $0, $1f
1:  xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movw    $LOAD, %sp
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
    movw    $PM1_CONTROL, %dx
    movw    $SWITCH_OFF, %ax
    outw    %ax, %dx
stop:
    hlt
    jmp     stop

failed:
    movw    $failure, %si
    call    print
    jmp     off

print:
    lodsb
    testb   %al, %al
    jz      1f
    movb    $0x0e, %ah
    movw    $7, %bx
    int     $0x10
    jmp     print
1:  ret

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
