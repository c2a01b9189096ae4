/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a bare-metal payload may use: ports, MMIO, text on COM1, PCI config
 * space, a driver for virtio-pci that can be made to misbehave, and the protocol
 * with the runner: "ok NAME" or "not ok NAME: why" a line, "done" at the end,
 * then power-off.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Written by each payload. */
void payload_main(void);

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline void outw(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}
static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

/* Plain moves, so that an emulating KVM needs no more than it has. */
static inline void write8(uint64_t a, uint8_t v)
{
    __asm__ volatile("movb %0, (%1)" : : "q"(v), "r"(a) : "memory");
}
static inline void write16(uint64_t a, uint16_t v)
{
    __asm__ volatile("movw %0, (%1)" : : "r"(v), "r"(a) : "memory");
}
static inline void write32(uint64_t a, uint32_t v)
{
    __asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(a) : "memory");
}
static inline void write64(uint64_t a, uint64_t v)
{
    __asm__ volatile("movq %0, (%1)" : : "r"(v), "r"(a) : "memory");
}
static inline uint8_t read8(uint64_t a)
{
    uint8_t v;
    __asm__ volatile("movb (%1), %0" : "=q"(v) : "r"(a) : "memory");
    return v;
}
static inline uint16_t read16(uint64_t a)
{
    uint16_t v;
    __asm__ volatile("movw (%1), %0" : "=r"(v) : "r"(a) : "memory");
    return v;
}
static inline uint32_t read32(uint64_t a)
{
    uint32_t v;
    __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(a) : "memory");
    return v;
}
static inline uint64_t read64(uint64_t a)
{
    uint64_t v;
    __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(a) : "memory");
    return v;
}
static inline void barrier(void)
{
    __asm__ volatile("mfence" : : : "memory");
}

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* Text on COM1. %s %u %x %p(uint64_t) only. */
void print(const char *fmt, ...);

/* One result line. why is used when it failed. */
void result(const char *name, bool ok, const char *why);

/* Says "done" and powers off (ACPI S5). */
void finish(void) __attribute__((noreturn));

/* About a microsecond or more each: reads of an empty port. */
void pause_us(unsigned n);

/* PCI. devfn = slot << 3 | function on bus 0. */
uint32_t pci_read(unsigned devfn, unsigned offset, unsigned len);
void pci_write(unsigned devfn, unsigned offset, uint32_t value, unsigned len);
/* The nth function with this vendor and device, or -1. */
int pci_find(uint16_t vendor, uint16_t device, unsigned n);
unsigned pci_find_capability(unsigned devfn, uint8_t id, unsigned after);
uint64_t pci_bar(unsigned devfn, unsigned bar);

#endif
