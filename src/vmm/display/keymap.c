/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One keyboard, four names for its keys: a row is Linux's code, the number of
 * scan code set 1, QMP's name, and the keysyms that the key has on an American
 * keyboard without and with shift. A viewer with another layout sends keysyms
 * of that; those that are on this keyboard come through. See input.h.
 */
#include <linux/input-event-codes.h>
#include <string.h>

#include "base/util.h"
#include "vmm/display/input.h"

#define E0 0x80

static const struct key {
    uint8_t code, number;
    const char *name;
    uint16_t plain, shifted; /* keysyms; 0: none */
} keys[] = {
    {KEY_ESC, 0x01, "esc", 0xff1b, 0},
    {KEY_1, 0x02, "1", '1', '!'},
    {KEY_2, 0x03, "2", '2', '@'},
    {KEY_3, 0x04, "3", '3', '#'},
    {KEY_4, 0x05, "4", '4', '$'},
    {KEY_5, 0x06, "5", '5', '%'},
    {KEY_6, 0x07, "6", '6', '^'},
    {KEY_7, 0x08, "7", '7', '&'},
    {KEY_8, 0x09, "8", '8', '*'},
    {KEY_9, 0x0a, "9", '9', '('},
    {KEY_0, 0x0b, "0", '0', ')'},
    {KEY_MINUS, 0x0c, "minus", '-', '_'},
    {KEY_EQUAL, 0x0d, "equal", '=', '+'},
    {KEY_BACKSPACE, 0x0e, "backspace", 0xff08, 0},
    {KEY_TAB, 0x0f, "tab", 0xff09, 0xfe20},
    {KEY_Q, 0x10, "q", 'q', 'Q'},
    {KEY_W, 0x11, "w", 'w', 'W'},
    {KEY_E, 0x12, "e", 'e', 'E'},
    {KEY_R, 0x13, "r", 'r', 'R'},
    {KEY_T, 0x14, "t", 't', 'T'},
    {KEY_Y, 0x15, "y", 'y', 'Y'},
    {KEY_U, 0x16, "u", 'u', 'U'},
    {KEY_I, 0x17, "i", 'i', 'I'},
    {KEY_O, 0x18, "o", 'o', 'O'},
    {KEY_P, 0x19, "p", 'p', 'P'},
    {KEY_LEFTBRACE, 0x1a, "bracket_left", '[', '{'},
    {KEY_RIGHTBRACE, 0x1b, "bracket_right", ']', '}'},
    {KEY_ENTER, 0x1c, "ret", 0xff0d, 0},
    {KEY_LEFTCTRL, 0x1d, "ctrl", 0xffe3, 0},
    {KEY_A, 0x1e, "a", 'a', 'A'},
    {KEY_S, 0x1f, "s", 's', 'S'},
    {KEY_D, 0x20, "d", 'd', 'D'},
    {KEY_F, 0x21, "f", 'f', 'F'},
    {KEY_G, 0x22, "g", 'g', 'G'},
    {KEY_H, 0x23, "h", 'h', 'H'},
    {KEY_J, 0x24, "j", 'j', 'J'},
    {KEY_K, 0x25, "k", 'k', 'K'},
    {KEY_L, 0x26, "l", 'l', 'L'},
    {KEY_SEMICOLON, 0x27, "semicolon", ';', ':'},
    {KEY_APOSTROPHE, 0x28, "apostrophe", '\'', '"'},
    {KEY_GRAVE, 0x29, "grave_accent", '`', '~'},
    {KEY_LEFTSHIFT, 0x2a, "shift", 0xffe1, 0},
    {KEY_BACKSLASH, 0x2b, "backslash", '\\', '|'},
    {KEY_Z, 0x2c, "z", 'z', 'Z'},
    {KEY_X, 0x2d, "x", 'x', 'X'},
    {KEY_C, 0x2e, "c", 'c', 'C'},
    {KEY_V, 0x2f, "v", 'v', 'V'},
    {KEY_B, 0x30, "b", 'b', 'B'},
    {KEY_N, 0x31, "n", 'n', 'N'},
    {KEY_M, 0x32, "m", 'm', 'M'},
    {KEY_COMMA, 0x33, "comma", ',', '<'},
    {KEY_DOT, 0x34, "dot", '.', '>'},
    {KEY_SLASH, 0x35, "slash", '/', '?'},
    {KEY_RIGHTSHIFT, 0x36, "shift_r", 0xffe2, 0},
    {KEY_KPASTERISK, 0x37, "kp_multiply", 0xffaa, 0},
    {KEY_LEFTALT, 0x38, "alt", 0xffe9, 0xffe7},
    {KEY_SPACE, 0x39, "spc", ' ', 0},
    {KEY_CAPSLOCK, 0x3a, "caps_lock", 0xffe5, 0},
    {KEY_F1, 0x3b, "f1", 0xffbe, 0},
    {KEY_F2, 0x3c, "f2", 0xffbf, 0},
    {KEY_F3, 0x3d, "f3", 0xffc0, 0},
    {KEY_F4, 0x3e, "f4", 0xffc1, 0},
    {KEY_F5, 0x3f, "f5", 0xffc2, 0},
    {KEY_F6, 0x40, "f6", 0xffc3, 0},
    {KEY_F7, 0x41, "f7", 0xffc4, 0},
    {KEY_F8, 0x42, "f8", 0xffc5, 0},
    {KEY_F9, 0x43, "f9", 0xffc6, 0},
    {KEY_F10, 0x44, "f10", 0xffc7, 0},
    {KEY_NUMLOCK, 0x45, "num_lock", 0xff7f, 0},
    {KEY_SCROLLLOCK, 0x46, "scroll_lock", 0xff14, 0},
    {KEY_KP7, 0x47, "kp_7", 0xffb7, 0xff95},
    {KEY_KP8, 0x48, "kp_8", 0xffb8, 0xff97},
    {KEY_KP9, 0x49, "kp_9", 0xffb9, 0xff9a},
    {KEY_KPMINUS, 0x4a, "kp_subtract", 0xffad, 0},
    {KEY_KP4, 0x4b, "kp_4", 0xffb4, 0xff96},
    {KEY_KP5, 0x4c, "kp_5", 0xffb5, 0xff9d},
    {KEY_KP6, 0x4d, "kp_6", 0xffb6, 0xff98},
    {KEY_KPPLUS, 0x4e, "kp_add", 0xffab, 0},
    {KEY_KP1, 0x4f, "kp_1", 0xffb1, 0xff9c},
    {KEY_KP2, 0x50, "kp_2", 0xffb2, 0xff99},
    {KEY_KP3, 0x51, "kp_3", 0xffb3, 0xff9b},
    {KEY_KP0, 0x52, "kp_0", 0xffb0, 0xff9e},
    {KEY_KPDOT, 0x53, "kp_decimal", 0xffae, 0xff9f},
    {KEY_102ND, 0x56, "less", 0, 0},
    {KEY_F11, 0x57, "f11", 0xffc8, 0},
    {KEY_F12, 0x58, "f12", 0xffc9, 0},
    {KEY_RO, 0x73, "ro", 0, 0},
    {KEY_KATAKANAHIRAGANA, 0x70, "katakanahiragana", 0, 0},
    {KEY_HENKAN, 0x79, "henkan", 0xff23, 0},
    {KEY_MUHENKAN, 0x7b, "muhenkan", 0xff22, 0},
    {KEY_YEN, 0x7d, "yen", 0xa5, 0},
    {KEY_KPENTER, E0 | 0x1c, "kp_enter", 0xff8d, 0},
    {KEY_RIGHTCTRL, E0 | 0x1d, "ctrl_r", 0xffe4, 0},
    {KEY_KPSLASH, E0 | 0x35, "kp_divide", 0xffaf, 0},
    {KEY_SYSRQ, E0 | 0x37, "print", 0xff61, 0xff15},
    {KEY_SYSRQ, E0 | 0x37, "sysrq", 0, 0},
    {KEY_RIGHTALT, E0 | 0x38, "alt_r", 0xffea, 0xfe03},
    {KEY_HOME, E0 | 0x47, "home", 0xff50, 0},
    {KEY_UP, E0 | 0x48, "up", 0xff52, 0},
    {KEY_PAGEUP, E0 | 0x49, "pgup", 0xff55, 0},
    {KEY_LEFT, E0 | 0x4b, "left", 0xff51, 0},
    {KEY_RIGHT, E0 | 0x4d, "right", 0xff53, 0},
    {KEY_END, E0 | 0x4f, "end", 0xff57, 0},
    {KEY_DOWN, E0 | 0x50, "down", 0xff54, 0},
    {KEY_PAGEDOWN, E0 | 0x51, "pgdn", 0xff56, 0},
    {KEY_INSERT, E0 | 0x52, "insert", 0xff63, 0},
    {KEY_DELETE, E0 | 0x53, "delete", 0xffff, 0},
    {KEY_PAUSE, E0 | 0x46, "pause", 0xff13, 0xff6b},
    {KEY_LEFTMETA, E0 | 0x5b, "meta_l", 0xffeb, 0},
    {KEY_RIGHTMETA, E0 | 0x5c, "meta_r", 0xffec, 0},
    {KEY_COMPOSE, E0 | 0x5d, "compose", 0xff67, 0},
    {KEY_COMPOSE, E0 | 0x5d, "menu", 0, 0},
    {KEY_POWER, E0 | 0x5e, "power", 0, 0},
    {KEY_SLEEP, E0 | 0x5f, "sleep", 0, 0},
    {KEY_WAKEUP, E0 | 0x63, "wake", 0, 0},
    {KEY_MUTE, E0 | 0x20, "audiomute", 0, 0},
    {KEY_VOLUMEDOWN, E0 | 0x2e, "volumedown", 0, 0},
    {KEY_VOLUMEUP, E0 | 0x30, "volumeup", 0, 0},
};

unsigned input_of_number(unsigned number)
{
    for (size_t i = 0; number && i < ARRAY_SIZE(keys); i++)
        if (keys[i].number == number)
            return keys[i].code;
    return 0;
}

unsigned input_number_of(unsigned code)
{
    for (size_t i = 0; code && i < ARRAY_SIZE(keys); i++)
        if (keys[i].code == code)
            return keys[i].number;
    return 0;
}

unsigned input_of_keysym(uint32_t keysym)
{
    for (size_t i = 0; keysym && i < ARRAY_SIZE(keys); i++)
        if (keys[i].plain == keysym || keys[i].shifted == keysym)
            return keys[i].code;
    return 0;
}

unsigned input_of_name(const char *qcode)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (strcmp(keys[i].name, qcode) == 0)
            return keys[i].code;
    return 0;
}
