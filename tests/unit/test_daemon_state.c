/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's database: what was answered is there after a kill, changes are whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/state/state.h"
#include "unit.h"

static char dir[64];

static int setup(void **unused)
{
    strcpy(dir, "/tmp/kvasir-state-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **unused)
{
    return nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct state *open_state(void)
{
    struct state *state = NULL;
    struct kv_error err = {0};
    int ret = state_open(&state, dir, &err);
    if (ret)
        fail_msg("%s", err.message);
    return state;
}

static struct state_object object(unsigned n, const char *name, const char *document)
{
    struct state_object o = {.kind = STATE_DOMAIN, .name = name, .document = document};
    memcpy(o.uuid, &n, sizeof(n));
    return o;
}

static void what_was_put_is_read_after_reopening(void **unused)
{
    struct state *state = open_state();
    struct state_object o = object(1, "one", "<domain/>");
    o.extra = "abc";
    o.extra_len = 3;
    assert_int_equal(state_put(state, &o, NULL), 0);
    assert_int_equal(state_set_autostart(state, STATE_DOMAIN, o.uuid, true, NULL), 0);
    state_close(state);
    state = open_state();
    char *document;
    assert_int_equal(state_read_document(state, STATE_DOMAIN, o.uuid, &document, NULL), 0);
    assert_string_equal(document, "<domain/>");
    free(document);
    void *extra;
    size_t len;
    assert_int_equal(state_read_extra(state, STATE_DOMAIN, o.uuid, &extra, &len, NULL), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(extra, "abc", 3);
    free(extra);
    assert_int_equal(state_read_document(state, STATE_SECRET, o.uuid, &document, NULL), -ENOENT);
    state_close(state);
}

static int collect(void *opaque, const struct state_object *o)
{
    char *names = opaque;
    strcat(names, o->name);
    strcat(names, o->autostart ? "! " : " ");
    return 0;
}

static void each_comes_by_name_and_only_of_its_kind(void **unused)
{
    struct state *state = open_state();
    struct state_object b = object(2, "b", "<b/>"), a = object(3, "a", "<a/>"),
                        s = object(4, "s", "<s/>");
    s.kind = STATE_SECRET;
    a.autostart = true;
    assert_int_equal(state_put(state, &b, NULL), 0);
    assert_int_equal(state_put(state, &a, NULL), 0);
    assert_int_equal(state_put(state, &s, NULL), 0);
    char names[64] = "";
    assert_int_equal(state_each(state, STATE_DOMAIN, collect, names, NULL), 0);
    assert_string_equal(names, "a! b ");
    state_close(state);
}

static void a_taken_name_is_refused_and_nothing_of_the_change_stays(void **unused)
{
    struct state *state = open_state();
    struct state_object one = object(1, "one", "<one/>");
    assert_int_equal(state_put(state, &one, NULL), 0);
    struct state_change both[] = {
        {STATE_PUT, object(2, "two", "<two/>")},
        {STATE_PUT, object(3, "one", "<three/>")},
    };
    struct kv_error err = {0};
    assert_int_equal(state_apply(state, both, 2, &err), -EEXIST);
    assert_non_null(strstr(err.message, "'one'"));
    char names[64] = "";
    assert_int_equal(state_each(state, STATE_DOMAIN, collect, names, NULL), 0);
    assert_string_equal(names, "one ");
    assert_int_equal(state_delete(state, STATE_DOMAIN, both[0].object.uuid, NULL), -ENOENT);
    assert_int_equal(state_delete(state, STATE_DOMAIN, one.uuid, NULL), 0);
    state_close(state);
}

static void a_directory_in_use_is_refused(void **unused)
{
    struct state *state = open_state(), *second = NULL;
    struct kv_error err = {0};
    assert_int_equal(state_open(&second, dir, &err), -EBUSY);
    assert_non_null(strstr(err.message, "another kvasird"));
    state_close(state);
}

static void overwrite(const char *name, off_t offset, const char *bytes, size_t len)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, len, offset), len);
    close(fd);
}

static void a_newer_version_is_refused(void **unused)
{
    state_close(open_state());
    overwrite("kvasir.db", 60, "\0\0\0\x63", 4); /* user_version, SQLite file format 1.3.14 */
    struct state *state = NULL;
    struct kv_error err = {0};
    assert_int_equal(state_open(&state, dir, &err), -ENOTSUP);
    assert_non_null(strstr(err.message, "version 99"));
}

static void a_damaged_database_is_refused(void **unused)
{
    struct state *state = open_state();
    for (unsigned i = 1; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%u", i);
        struct state_object o = object(i, name, "<domain>some text of some length</domain>");
        assert_int_equal(state_put(state, &o, NULL), 0);
    }
    state_close(state);
    char garbage[4096];
    memset(garbage, 0x5a, sizeof(garbage));
    overwrite("kvasir.db", 4096, garbage, sizeof(garbage));
    struct kv_error err = {0};
    assert_int_equal(state_open(&state, dir, &err), -EUCLEAN);
    assert_non_null(strstr(err.message, "damaged"));
}

#define THREADS 8
#define PER_THREAD 50

struct writer {
    struct state *state;
    unsigned number;
    int failed;
};

static void *write_some(void *opaque)
{
    struct writer *w = opaque;
    for (unsigned i = 0; i < PER_THREAD; i++) {
        char name[32];
        snprintf(name, sizeof(name), "t%u-%u", w->number, i);
        struct state_object o = object(1 + w->number * PER_THREAD + i, name, "<domain/>");
        if (state_put(w->state, &o, NULL))
            w->failed++;
        /* Everybody wants this name: all but one are refused, alone. */
        struct state_object taken = object(100000 + w->number, "common", "<domain/>");
        int ret = state_put(w->state, &taken, NULL);
        if (ret && ret != -EEXIST)
            w->failed++;
        char *document = NULL;
        if (state_read_document(w->state, STATE_DOMAIN, o.uuid, &document, NULL))
            w->failed++;
        free(document);
    }
    return NULL;
}

static int count_one(void *opaque, const struct state_object *o)
{
    ++*(unsigned *)opaque;
    return 0;
}

static void threads_share_a_sync_and_keep_their_own_errors(void **unused)
{
    struct state *state = open_state();
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){state, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(writers[i].failed, 0);
    }
    unsigned count = 0;
    assert_int_equal(state_each(state, STATE_DOMAIN, count_one, &count, NULL), 0);
    assert_int_equal(count, THREADS * PER_THREAD + 1);
    state_close(state);
}

static void what_was_answered_survives_a_kill(void **unused)
{
    for (unsigned round = 0; round < 5; round++) {
        int pipe_fds[2];
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t child = fork();
        if (child == 0) {
            struct state *state = NULL;
            if (state_open(&state, dir, NULL))
                _exit(1);
            for (unsigned i = 1;; i++) {
                char name[32];
                snprintf(name, sizeof(name), "r%u-%u", round, i);
                struct state_object o = object(round * 1000000 + i, name, "<domain/>");
                if (state_put(state, &o, NULL) || write(pipe_fds[1], &i, sizeof(i)) < 0)
                    _exit(1);
            }
        }
        close(pipe_fds[1]);
        unsigned last = 0, n;
        while (last < 40 + round * 13 && read(pipe_fds[0], &n, sizeof(n)) == sizeof(n))
            last = n;
        kill(child, SIGKILL);
        while (read(pipe_fds[0], &n, sizeof(n)) == sizeof(n))
            last = n;
        close(pipe_fds[0]);
        waitpid(child, NULL, 0);
        assert_true(last >= 40);
        struct state *state = open_state();
        for (unsigned i = 1; i <= last; i++) {
            struct state_object o = object(round * 1000000 + i, "", "");
            char *document = NULL;
            assert_int_equal(state_read_document(state, STATE_DOMAIN, o.uuid, &document, NULL), 0);
            free(document);
        }
        state_close(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_is_read_after_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(each_comes_by_name_and_only_of_its_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(a_taken_name_is_refused_and_nothing_of_the_change_stays,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_in_use_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_database_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_share_a_sync_and_keep_their_own_errors, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_answered_survives_a_kill, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
