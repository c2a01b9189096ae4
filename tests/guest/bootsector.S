/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector for tests/guest/firmware: 16-bit code that asks the BIOS for
 * what operating systems ask it for. It prints (INT 10h) the disk's name and
 * the text of its second sector (INT 13h), whether the BIOS has a memory map
 * (INT 15h) and ACPI tables. At the first run it notes that in the second
 * sector and resets the machine, at the second it switches it off.
 */
#include "sector.inc"

#define SECTOR 0x8000         /* where the second sector goes: "KVSR", runs, text */
#define RUNS (SECTOR + 4)
#define TEXT (SECTOR + 8)
#define MAP 0x9000
#define RESET_PORT 0xcf9

    .code16
    .text
    .globl _start
_start:
    ljmp    $0, $1f
name:                         /* at offset 5, written by the test */
    .asciz  "?"
1:  set_up_segments
    movb    %dl, drive
    movw    $hello, %si
    call    print
    movw    $name, %si
    call    print

    movb    $0x42, %ah
    call    transfer
    cmpl    $0x5253564b, SECTOR
    jne     failed
    movw    $colon, %si
    call    print
    movw    $TEXT, %si
    call    print

    xorl    %ebx, %ebx
    movl    $0xe820, %eax
    movl    $20, %ecx
    movl    $0x534d4150, %edx
    movw    $MAP, %di
    int     $0x15
    jc      failed
    movw    $map, %si
    call    print

    movw    $0xe000, %ax      /* the last 128 KiB of the first megabyte, by paragraphs */
2:  movw    %ax, %fs
    cmpl    $0x20445352, %fs:0
    je      3f
    incw    %ax
    jnz     2b
    jmp     failed
3:  movw    $acpi, %si
    call    print

    cmpb    $0, RUNS
    jne     off
    incb    RUNS
    movb    $0x43, %ah
    call    transfer
    movw    $RESET_PORT, %dx
    movb    $6, %al
    outb    %al, %dx
    jmp     stop
off:
    end_and_print

/* AH: 42h reads, 43h writes the second sector. */
transfer:
    xorb    %al, %al
    movb    drive, %dl
    movw    $packet, %si
    int     $0x13
    jc      failed
    ret

drive:
    .byte   0
packet:
    .byte   16, 0
    .word   1
    .word   SECTOR, 0
    .quad   1
hello:
    .asciz  "boot sector of "
colon:
    .asciz  ": "
map:
    .asciz  " map"
acpi:
    .asciz  " acpi    \r\n" /* SeaBIOS' serial console keeps the last characters back */
failure:
    .asciz  " failed\r\n"
    .org    510
    .word   0xaa55
