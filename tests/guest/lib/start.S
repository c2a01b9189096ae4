/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A payload's first instructions. The monitor enters by the 64-bit Linux
 * protocol: long mode, the first 4 GiB mapped one to one, interrupts off, rsi
 * points to the zero page. We take our own stack and map 512 GiB one to one, so
 * that 64-bit BARs are in reach.
 */
    .section .text.start, "ax"
    .globl _start
_start:
    movl    $stack_top, %esp
    xorl    %ebp, %ebp
    movq    %rsi, zero_page(%rip)

    movl    $page_directory_pointers, %edi
    movq    $0x83, %rax             /* present, writable, 1 GiB page */
    movl    $512, %ecx
1:  movq    %rax, (%rdi)
    addq    $0x40000000, %rax
    addq    $8, %rdi
    decl    %ecx
    jnz     1b
    movl    $page_directory_pointers, %eax
    orl     $3, %eax
    movq    %rax, page_map
    movl    $page_map, %eax
    movq    %rax, %cr3

    call    payload_main
2:  hlt
    jmp     2b

    .bss
    .balign 4096
page_map:
    .skip   4096
page_directory_pointers:
    .skip   4096
    .skip   16384
    .globl stack_top
stack_top:
    .globl zero_page
zero_page:
    .quad   0

    .section .note.GNU-stack, "", @progbits
