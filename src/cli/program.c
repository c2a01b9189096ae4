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

bool program_find(const char *name, char *out, size_t size)
{
    char self[512];
    if (strchr(name, '/')) {
        snprintf(out, size, "%s", name);
        return access(out, X_OK) == 0;
    }
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[MAX(len, 0)] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    const char *const folders[] = {
        self, "/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"};
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        snprintf(out, size, "%s/%s", folders[i], name);
        if (access(out, X_OK) == 0)
            return true;
    }
    return false;
}
