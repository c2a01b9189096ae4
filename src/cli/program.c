/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs other programs: editors, ssh, scp. See program.h. */
#include "cli/program.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANNOT_RUN 127 /* as the shell says it */

int program_run(struct cli *cli, const char *const *words)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        return cli_error(cli, "fork: %s", strerror(errno));
    if (pid == 0) {
        execvp(words[0], (char *const *)(uintptr_t)words);
        _exit(CANNOT_RUN);
    }
    /* What is typed to end it is meant for it alone. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, interrupt, leave;
    sigaction(SIGINT, &ignore, &interrupt);
    sigaction(SIGQUIT, &ignore, &leave);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGQUIT, &leave, NULL);
    if (WIFSIGNALED(status))
        return 128 + WTERMSIG(status);
    if (WEXITSTATUS(status) == CANNOT_RUN)
        return cli_error(cli, "cannot run '%s'", words[0]);
    return WEXITSTATUS(status);
}
