/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's processor by CPUID, in libvirt's names: features, vendor, nearest model. */
#ifndef KV_MODEL_CPU_H
#define KV_MODEL_CPU_H

#include <stdbool.h>

/* Whether the processor has a feature ("avx2"); false for names that nobody knows. */
bool cpu_host_has(const char *feature);

/* Calls fn for each feature that it has, in the table's order. */
void cpu_host_features(void (*fn)(void *opaque, const char *name), void *opaque);

const char *cpu_host_vendor(void); /* "Intel", "AMD", "Hygon", or what CPUID says */
const char *cpu_host_model(void);  /* the named model of its family: "EPYC-Rome"; else "kvm64" */

/* Family, model, stepping as leaf 1 says them; address bits as leaf 0x80000008. */
void cpu_host_signature(unsigned *family, unsigned *model, unsigned *stepping);
unsigned cpu_host_address_bits(void);

/* Names of all models of x86 that are known, NULL at the end. */
extern const char *const cpu_model_names[];
extern const unsigned cpu_model_count;

#endif
