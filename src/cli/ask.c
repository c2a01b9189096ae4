/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks at the terminal; what is secret is not echoed. */
#include "cli/ask.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static char *read_line(void)
{
    char *line = NULL;
    size_t room = 0;
    if (getline(&line, &room, stdin) < 0) {
        free(line);
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

char *ask_hidden(const char *prompt)
{
    struct termios before, hidden;
    bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    fputs(prompt, stdout);
    fflush(stdout);
    if (terminal) {
        hidden = before;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    char *line = read_line();
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        putchar('\n');
    }
    return line;
}

int ask_credentials(void *opaque, struct kvasir_credential *questions, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct kvasir_credential *question = &questions[i];
        char prompt[256];
        snprintf(prompt, sizeof(prompt), "%s:", question->prompt);
        if (question->kind == KVASIR_CREDENTIAL_PASSPHRASE ||
            question->kind == KVASIR_CREDENTIAL_NOECHO_PROMPT) {
            question->answer = ask_hidden(prompt);
        } else {
            fputs(prompt, stdout);
            fflush(stdout);
            question->answer = read_line();
        }
        if (question->answer && !*question->answer && question->preset) {
            free(question->answer);
            question->answer = strdup(question->preset);
        }
        if (!question->answer)
            return -1;
    }
    return 0;
}
