/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A payload's first instructions. The monitor enters by the 64-bit Linux
 * protocol: long mode, the first 4 GiB mapped one to one, interrupts off, rsi
 * points to the zero page. We take our own stack and map, one to one with pages
 * of 2 MiB, the first 4 GiB and the 4 GiB from 32 GiB on, where 64-bit BARs are.
 */
    .section .text.start, "ax"
    .globl _start
_start:
    movl    $stack_top, %esp
    xorl    %ebp, %ebp
    movq    %rsi, zero_page(%rip)

    movl    $page_directories, %edi
    movq    $0x83, %rax             /* present, writable, 2 MiB page */
    xorl    %edx, %edx
1:  movq    %rax, (%rdi,%rdx,8)     /* 4 GiB: 2048 entries */
    leaq    (%rax), %rcx
    btsq    $35, %rcx               /* the same 32 GiB higher */
    movq    %rcx, 16384(%rdi,%rdx,8)
    addq    $0x200000, %rax
    incl    %edx
    cmpl    $2048, %edx
    jb      1b

    movl    $page_directory_pointers, %esi
    leal    3(%rdi), %eax
    xorl    %edx, %edx
2:  movq    %rax, (%rsi,%rdx,8)
    leaq    16384(%rax), %rcx
    movq    %rcx, 256(%rsi,%rdx,8)  /* entry 32 + n */
    addq    $4096, %rax
    incl    %edx
    cmpl    $4, %edx
    jb      2b
    leal    3(%rsi), %eax
    movq    %rax, page_map
    movl    $page_map, %eax
    movq    %rax, %cr3

    call    payload_main
3:  hlt
    jmp     3b

    .bss
    .balign 4096
page_map:
    .skip   4096
page_directory_pointers:
    .skip   4096
page_directories:
    .skip   32768
    .skip   16384
    .globl stack_top
stack_top:
    .globl zero_page
zero_page:
    .quad   0

    .section .note.GNU-stack, "", @progbits
