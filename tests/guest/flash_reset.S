/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where processors start: the last 16 bytes of an image that ends at 4 GiB, in
 * 16-bit mode. Goes to 32 bits with flat segments, a stack in memory, and to C.
 */
#define CODE_OFFSET 0xfe00 /* of .reset_code in the segment, which begins 64 KiB below 4 GiB */

    .section .reset_code, "ax"
    .code16
start:
    cli
    lgdtl   %cs:gdt_pointer - start + CODE_OFFSET
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    ljmpl   $8, $flat

    .code32
flat:
    movw    $16, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movl    $0x7000, %esp
    call    rom_main
1:  hlt
    jmp     1b

    .balign 8
gdt:
    .quad   0
    .quad   0x00cf9b000000ffff
    .quad   0x00cf93000000ffff
gdt_pointer:
    .word   . - gdt - 1
    .long   gdt

    .section .reset_vector, "ax"
    .code16
    jmp     start
    .balign 16, 0xf4
