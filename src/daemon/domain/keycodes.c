/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key codes of virDomainSendKey(), in libvirt's ten sets, to the numbers that the monitor's
 * keyboard has: scan code set 1, 0x80 for the prefix e0. The codes are those of the manual pages
 * virkeycode-*(7), for the keys of that keyboard. See keycodes.h.
 */
#include "daemon/domain/keycodes.h"

#include <libvirt/libvirt.h>
#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

#define E0 0x80
#define NONE 0xffff

enum column {
    LINUX,
    NUMBER,
    SET_2,
    SET_3,
    USB,
    WIN32,
    OS_X,
    COLUMNS,
};

static const struct {
    const char *name;
    enum column column;
    unsigned prefix; /* instead of E0 in column NUMBER */
} sets[] = {
    [VIR_KEYCODE_SET_LINUX] = {"linux", LINUX, 0},
    [VIR_KEYCODE_SET_XT] = {"xt", NUMBER, 0xe000},
    [VIR_KEYCODE_SET_ATSET1] = {"atset1", NUMBER, 0xe000},
    [VIR_KEYCODE_SET_ATSET2] = {"atset2", SET_2, 0},
    [VIR_KEYCODE_SET_ATSET3] = {"atset3", SET_3, 0},
    [VIR_KEYCODE_SET_OSX] = {"os_x", OS_X, 0},
    [VIR_KEYCODE_SET_XT_KBD] = {"xt_kbd", NUMBER, 0x100},
    [VIR_KEYCODE_SET_USB] = {"usb", USB, 0},
    [VIR_KEYCODE_SET_WIN32] = {"win32", WIN32, 0},
    [VIR_KEYCODE_SET_QNUM] = {"qnum", NUMBER, E0},
};

static const struct key {
    uint16_t codes[COLUMNS];
} keys[] = {
    /* clang-format off */
    {{KEY_ESC, 0x01, 0x76, 0x08, 41, 27, 53}},
    {{KEY_1, 0x02, 0x16, 0x16, 30, 49, 18}},
    {{KEY_2, 0x03, 0x1e, 0x1e, 31, 50, 19}},
    {{KEY_3, 0x04, 0x26, 0x26, 32, 51, 20}},
    {{KEY_4, 0x05, 0x25, 0x25, 33, 52, 21}},
    {{KEY_5, 0x06, 0x2e, 0x2e, 34, 53, 23}},
    {{KEY_6, 0x07, 0x36, 0x36, 35, 54, 22}},
    {{KEY_7, 0x08, 0x3d, 0x3d, 36, 55, 26}},
    {{KEY_8, 0x09, 0x3e, 0x3e, 37, 56, 28}},
    {{KEY_9, 0x0a, 0x46, 0x46, 38, 57, 25}},
    {{KEY_0, 0x0b, 0x45, 0x45, 39, 48, 29}},
    {{KEY_MINUS, 0x0c, 0x4e, NONE, 45, 189, 27}},
    {{KEY_EQUAL, 0x0d, 0x55, 0x55, 46, 187, 24}},
    {{KEY_BACKSPACE, 0x0e, 0x66, 0x66, 42, 8, 51}},
    {{KEY_TAB, 0x0f, 0x0d, 0x0d, 43, 9, 48}},
    {{KEY_Q, 0x10, 0x15, 0x15, 20, 81, 12}},
    {{KEY_W, 0x11, 0x1d, 0x1d, 26, 87, 13}},
    {{KEY_E, 0x12, 0x24, 0x24, 8, 69, 14}},
    {{KEY_R, 0x13, 0x2d, 0x2d, 21, 82, 15}},
    {{KEY_T, 0x14, 0x2c, 0x2c, 23, 84, 17}},
    {{KEY_Y, 0x15, 0x35, 0x35, 28, 89, 16}},
    {{KEY_U, 0x16, 0x3c, 0x3c, 24, 85, 32}},
    {{KEY_I, 0x17, 0x43, 0x43, 12, 73, 34}},
    {{KEY_O, 0x18, 0x44, 0x44, 18, 79, 31}},
    {{KEY_P, 0x19, 0x4d, 0x4d, 19, 80, 35}},
    {{KEY_LEFTBRACE, 0x1a, 0x54, 0x54, 47, 219, 33}},
    {{KEY_RIGHTBRACE, 0x1b, 0x5b, 0x5b, 48, 221, 30}},
    {{KEY_ENTER, 0x1c, 0x5a, 0x5a, 40, 13, 36}},
    {{KEY_LEFTCTRL, 0x1d, 0x14, 0x11, 224, 17, 59}},
    {{KEY_A, 0x1e, 0x1c, 0x1c, 4, 65, 0}},
    {{KEY_S, 0x1f, 0x1b, 0x1b, 22, 83, 1}},
    {{KEY_D, 0x20, 0x23, 0x23, 7, 68, 2}},
    {{KEY_F, 0x21, 0x2b, 0x2b, 9, 70, 3}},
    {{KEY_G, 0x22, 0x34, 0x34, 10, 71, 5}},
    {{KEY_H, 0x23, 0x33, 0x33, 11, 72, 4}},
    {{KEY_J, 0x24, 0x3b, 0x3b, 13, 74, 38}},
    {{KEY_K, 0x25, 0x42, 0x42, 14, 75, 40}},
    {{KEY_L, 0x26, 0x4b, 0x4b, 15, 76, 37}},
    {{KEY_SEMICOLON, 0x27, 0x4c, 0x4c, 51, 186, 41}},
    {{KEY_APOSTROPHE, 0x28, 0x52, 0x52, 52, 222, 39}},
    {{KEY_GRAVE, 0x29, 0x0e, 0x0e, 53, 192, 50}},
    {{KEY_LEFTSHIFT, 0x2a, 0x12, 0x12, 225, 16, 56}},
    {{KEY_BACKSLASH, 0x2b, 0x5d, 0x5c, 49, 220, 42}},
    {{KEY_Z, 0x2c, 0x1a, 0x1a, 29, 90, 6}},
    {{KEY_X, 0x2d, 0x22, 0x22, 27, 88, 7}},
    {{KEY_C, 0x2e, 0x21, 0x21, 6, 67, 8}},
    {{KEY_V, 0x2f, 0x2a, 0x2a, 25, 86, 9}},
    {{KEY_B, 0x30, 0x32, 0x32, 5, 66, 11}},
    {{KEY_N, 0x31, 0x31, 0x31, 17, 78, 45}},
    {{KEY_M, 0x32, 0x3a, 0x3a, 16, 77, 46}},
    {{KEY_COMMA, 0x33, 0x41, 0x41, 54, 188, 43}},
    {{KEY_DOT, 0x34, 0x49, 0x49, 55, 190, 47}},
    {{KEY_SLASH, 0x35, 0x4a, NONE, 56, 191, 44}},
    {{KEY_RIGHTSHIFT, 0x36, 0x59, 0x59, 229, 161, 60}},
    {{KEY_KPASTERISK, 0x37, 0x7c, 0x7e, 85, 106, 67}},
    {{KEY_LEFTALT, 0x38, 0x11, 0x19, 226, 18, 58}},
    {{KEY_SPACE, 0x39, 0x29, 0x29, 44, 32, 49}},
    {{KEY_CAPSLOCK, 0x3a, 0x58, 0x14, 57, 20, 57}},
    {{KEY_F1, 0x3b, 0x05, 0x07, 58, 112, 122}},
    {{KEY_F2, 0x3c, 0x06, 0x0f, 59, 113, 120}},
    {{KEY_F3, 0x3d, 0x04, 0x17, 60, 114, 99}},
    {{KEY_F4, 0x3e, 0x0c, 0x1f, 61, 115, 118}},
    {{KEY_F5, 0x3f, 0x03, 0x27, 62, 116, 96}},
    {{KEY_F6, 0x40, 0x0b, 0x2f, 63, 117, 97}},
    {{KEY_F7, 0x41, 0x83, 0x37, 64, 118, 98}},
    {{KEY_F8, 0x42, 0x0a, 0x3f, 65, 119, 100}},
    {{KEY_F9, 0x43, 0x01, 0x47, 66, 120, 101}},
    {{KEY_F10, 0x44, 0x09, 0x4f, 67, 121, 109}},
    {{KEY_NUMLOCK, 0x45, 0x77, 0x76, 83, 144, 71}},
    {{KEY_SCROLLLOCK, 0x46, 0x7e, 0x5f, 71, 145, NONE}},
    {{KEY_KP7, 0x47, 0x6c, 0x6c, 95, 103, 89}},
    {{KEY_KP8, 0x48, 0x75, 0x75, 96, 104, 91}},
    {{KEY_KP9, 0x49, 0x7d, 0x7d, 97, 105, 92}},
    {{KEY_KPMINUS, 0x4a, 0x7b, 0x4e, 86, 109, 78}},
    {{KEY_KP4, 0x4b, 0x6b, 0x6b, 92, 100, 86}},
    {{KEY_KP5, 0x4c, 0x73, 0x73, 93, 101, 87}},
    {{KEY_KP6, 0x4d, 0x74, 0x74, 94, 102, 88}},
    {{KEY_KPPLUS, 0x4e, 0x79, 0x7c, 87, 107, 69}},
    {{KEY_KP1, 0x4f, 0x69, 0x69, 89, 97, 83}},
    {{KEY_KP2, 0x50, 0x72, 0x72, 90, 98, 84}},
    {{KEY_KP3, 0x51, 0x7a, 0x7a, 91, 99, 85}},
    {{KEY_KP0, 0x52, 0x70, 0x70, 98, 96, 82}},
    {{KEY_KPDOT, 0x53, 0x71, 0x71, 99, 110, 65}},
    {{KEY_102ND, 0x56, 0x61, 0x13, 100, 226, 10}},
    {{KEY_F11, 0x57, 0x78, 0x56, 68, 122, 103}},
    {{KEY_F12, 0x58, 0x07, 0x5e, 69, 123, 111}},
    {{KEY_RO, 0x73, 0x51, NONE, 135, NONE, 94}},
    {{KEY_KATAKANAHIRAGANA, 0x70, 0x13, 0x87, 136, NONE, NONE}},
    {{KEY_HENKAN, 0x79, 0x64, 0x86, 138, 28, NONE}},
    {{KEY_MUHENKAN, 0x7b, 0x67, 0x85, 139, 29, NONE}},
    {{KEY_YEN, 0x7d, 0x6a, 0x5d, 137, NONE, 93}},
    {{KEY_KPENTER, E0 | 0x1c, 0xe05a, 0x79, 88, NONE, 76}},
    {{KEY_RIGHTCTRL, E0 | 0x1d, 0xe014, 0x58, 228, 163, 62}},
    {{KEY_KPSLASH, E0 | 0x35, 0xe04a, 0x4a, 84, 111, 75}},
    {{KEY_SYSRQ, E0 | 0x37, 0x7f, 0x57, 70, 44, NONE}},
    {{KEY_RIGHTALT, E0 | 0x38, 0xe011, 0x39, 230, 165, 61}},
    {{KEY_HOME, E0 | 0x47, 0xe06c, 0x6e, 74, 36, 115}},
    {{KEY_UP, E0 | 0x48, 0xe075, 0x63, 82, 38, 126}},
    {{KEY_PAGEUP, E0 | 0x49, 0xe07d, 0x6f, 75, 33, 116}},
    {{KEY_LEFT, E0 | 0x4b, 0xe06b, 0x61, 80, 37, 123}},
    {{KEY_RIGHT, E0 | 0x4d, 0xe074, 0x6a, 79, 39, 124}},
    {{KEY_END, E0 | 0x4f, 0xe069, 0x65, 77, 35, 119}},
    {{KEY_DOWN, E0 | 0x50, 0xe072, 0x60, 81, 40, 125}},
    {{KEY_PAGEDOWN, E0 | 0x51, 0xe07a, 0x6d, 78, 34, 121}},
    {{KEY_INSERT, E0 | 0x52, 0xe070, 0x67, 73, 45, 114}},
    {{KEY_DELETE, E0 | 0x53, 0xe071, 0x64, 76, 46, 117}},
    {{KEY_PAUSE, E0 | 0x46, 0xe077, 0x62, 72, 19, NONE}},
    {{KEY_LEFTMETA, E0 | 0x5b, 0xe01f, 0x8b, 227, 91, 55}},
    {{KEY_RIGHTMETA, E0 | 0x5c, 0xe027, 0x8c, 231, 92, 54}},
    {{KEY_COMPOSE, E0 | 0x5d, 0xe02f, 0x8d, 101, 93, NONE}},
    {{KEY_POWER, E0 | 0x5e, 0xe037, NONE, 102, NONE, NONE}},
    {{KEY_SLEEP, E0 | 0x5f, 0xe03f, NONE, 248, 95, NONE}},
    {{KEY_WAKEUP, E0 | 0x63, 0xe05e, NONE, NONE, NONE, NONE}},
    {{KEY_MUTE, E0 | 0x20, 0xe023, 0x9c, 127, 173, 74}},
    {{KEY_VOLUMEDOWN, E0 | 0x2e, 0xe021, 0x9d, 129, 174, 73}},
    {{KEY_VOLUMEUP, E0 | 0x30, 0xe032, 0x95, 128, 175, 72}},
    /* clang-format on */
};

/* A key's second code in a set. */
static const struct {
    unsigned set;
    uint8_t code, number;
} seconds[] = {
    {VIR_KEYCODE_SET_XT, 0x54, E0 | 0x37},     {VIR_KEYCODE_SET_ATSET1, 0x54, E0 | 0x37},
    {VIR_KEYCODE_SET_XT_KBD, 0x54, E0 | 0x37}, {VIR_KEYCODE_SET_QNUM, 0x54, E0 | 0x37},
    {VIR_KEYCODE_SET_USB, 50, 0x2b},           {VIR_KEYCODE_SET_USB, 239, E0 | 0x20},
    {VIR_KEYCODE_SET_USB, 238, E0 | 0x2e},     {VIR_KEYCODE_SET_USB, 237, E0 | 0x30},
    {VIR_KEYCODE_SET_WIN32, 160, 0x2a},        {VIR_KEYCODE_SET_WIN32, 162, 0x1d},
    {VIR_KEYCODE_SET_WIN32, 164, 0x38},
};

static unsigned code_in(const struct key *key, unsigned set)
{
    unsigned code = key->codes[sets[set].column];
    bool prefixed = sets[set].column == NUMBER && code & E0;
    return prefixed ? sets[set].prefix | (code & ~(unsigned)E0) : code;
}

unsigned keycode_number(unsigned set, unsigned code)
{
    for (size_t i = 0; set < ARRAY_SIZE(sets) && code < NONE && i < ARRAY_SIZE(keys); i++) {
        if (code_in(&keys[i], set) == code)
            return keys[i].codes[NUMBER];
    }
    for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
        if (seconds[i].set == set && seconds[i].code == code)
            return seconds[i].number;
    }
    return 0;
}

const char *keycode_set_name(unsigned set)
{
    return set < ARRAY_SIZE(sets) ? sets[set].name : NULL;
}
