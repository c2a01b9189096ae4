/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmocka with the headers it wants in front. */
#ifndef KV_TESTS_UNIT_H
#define KV_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
