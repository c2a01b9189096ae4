/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server as a whole: set up, loop, once-a-second chores, graceful end. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/log.h"
#include "rpc/admin_procedure.h"
#include "rpc/internal.h"
#include "rpc/qemu_procedure.h"

#define TICK_MS 1000
#define PROVE_SECONDS 60   /* for a client to prove who it is */
#define CROWDED_SECONDS 5  /* the same while others cannot get in for it */
#define LAST_WORDS_MS 2000 /* for clients to read what waits for them when we end */

const struct rpc_server_config rpc_server_defaults = {
    .services =
        {
            [RPC_SERVICE_MAIN] = {.clients = {.clients = 5000, .unproved = 20, .calls = 5},
                                  .workers_min = 5,
                                  .workers_max = 20,
                                  .workers_priority = 5},
            [RPC_SERVICE_ADMIN] = {.clients = {.clients = 5000, .unproved = 20, .calls = 5},
                                   .workers_min = 1,
                                   .workers_max = 5,
                                   .workers_priority = 5},
        },
    .keepalive_interval = 5,
    .keepalive_count = 5,
};

const struct rpc_handler *const rpc_own_handlers[] = {event_handlers, auth_handlers, NULL};

static int program_init(struct rpc_program *program, uint32_t number,
                        const struct rpc_procedure *rows, size_t n_rows)
{
    *program = (struct rpc_program){.number = number, .version = 1, .rows = rows, .n_rows = n_rows};
    program->slots = calloc(n_rows, sizeof(*program->slots));
    return program->slots ? 0 : -ENOMEM;
}

static int add_handlers(struct rpc_program *program, const struct rpc_handler *handlers,
                        void *opaque, struct kv_error *err)
{
    for (; handlers->procedure; handlers++) {
        unsigned number = handlers->procedure;
        if (number >= program->n_rows || !program->rows[number].name)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "there is no procedure %u", number);
        if (program->slots[number].fn)
            return kv_error_set(err, KV_ERR_CONFIG, EEXIST, "procedure %s has two handlers",
                                program->rows[number].name);
        program->slots[number] = (struct rpc_slot){handlers->fn, opaque, handlers->flags};
    }
    return 0;
}

int rpc_server_register(struct rpc_server *server, const struct rpc_handler *handlers, void *opaque,
                        struct kv_error *err)
{
    return add_handlers(&server->remote, handlers, opaque, err);
}

int rpc_server_register_qemu(struct rpc_server *server, const struct rpc_handler *handlers,
                             void *opaque, struct kv_error *err)
{
    return add_handlers(&server->qemu, handlers, opaque, err);
}

/* ---------------------------------------------------------------- the loop's */

void server_post_task(struct rpc_server *server, struct server_task *task)
{
    pthread_mutex_lock(&server->post_lock);
    list_add_tail(&server->tasks, &task->node);
    pthread_mutex_unlock(&server->post_lock);
    uv_async_send(&server->wake);
}

static void run_tasks(struct rpc_server *server)
{
    for (;;) {
        struct server_task *task = NULL;
        pthread_mutex_lock(&server->post_lock);
        if (!list_empty(&server->tasks)) {
            task = list_entry(server->tasks.next, struct server_task, node);
            list_del(&task->node);
        }
        pthread_mutex_unlock(&server->post_lock);
        if (!task)
            return;
        task->fn(task);
    }
}

static void on_wake(uv_async_t *wake)
{
    struct rpc_server *server = wake->data;
    if (server->stopping)
        uv_stop(&server->loop);
    for (;;) {
        pthread_mutex_lock(&server->post_lock);
        if (list_empty(&server->posted)) {
            pthread_mutex_unlock(&server->post_lock);
            break;
        }
        struct rpc_client *client = list_entry(server->posted.next, struct rpc_client, posted_node);
        list_del(&client->posted_node);
        unsigned why = client->posted;
        client->posted = 0;
        pthread_mutex_unlock(&server->post_lock);
        client_posted(client, why);
        rpc_client_unref(client);
    }
    run_tasks(server);
}

static void check_client(struct rpc_client *client, bool crowded, int64_t now_ms)
{
    int64_t seconds = crowded ? CROWDED_SECONDS : PROVE_SECONDS;
    bool proves_slowly = (!atomic_load(&client->proved) || !tls_session_ready(client)) &&
                         !atomic_load(&client->asked) &&
                         now_ms - client->arrived_at > seconds * 1000;
    if (proves_slowly || !keepalive_tick(client, now_ms)) {
        log_info("client %llu: %s", (unsigned long long)client->id,
                 proves_slowly ? "did not prove in time who it is" : "does not answer any more");
        client_post(client, POST_CLOSE);
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct rpc_server *server = tick->data;
    unsigned clients = 0;
    for (int i = 0; i < RPC_SERVICES; i++) {
        struct rpc_service *service = &server->services[i];
        pthread_mutex_lock(&service->lock);
        unsigned strangers = service->limits.unproved;
        bool crowded = strangers && service->n_strangers >= strangers;
        pthread_mutex_unlock(&service->lock);
        list_for_each (node, &service->clients)
            check_client(list_entry(node, struct rpc_client, node), crowded,
                         (int64_t)uv_now(&server->loop));
        clients += service->n_clients;
    }
    server->no_files = false;
    listeners_update(server);
    server->idle_for = clients ? 0 : server->idle_for + 1;
    unsigned timeout = atomic_load(&server->idle_timeout);
    if (timeout && server->idle_for >= timeout && !atomic_load(&server->inhibited)) {
        log_info("no client for %u seconds", timeout);
        uv_stop(&server->loop);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct rpc_server *server = handle->data;
    log_info("signal %d: no more calls are taken", number);
    atomic_store(&server->stopping, true);
    uv_stop(&server->loop);
}

void rpc_server_stop(struct rpc_server *server)
{
    atomic_store(&server->stopping, true);
    uv_async_send(&server->wake);
}

void rpc_server_inhibit(struct rpc_server *server, bool inhibit)
{
    if (inhibit)
        atomic_fetch_add(&server->inhibited, 1);
    else
        atomic_fetch_sub(&server->inhibited, 1);
}

/* ------------------------------------------------------------ life and end */

static int init_loop(struct rpc_server *server)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    int r = uv_loop_init(&server->loop);
    if (r < 0)
        return r;
    r = uv_async_init(&server->loop, &server->wake, on_wake);
    server->wake.data = server;
    uv_timer_init(&server->loop, &server->patience);
    uv_timer_init(&server->loop, &server->tick);
    server->tick.data = server;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        if (r == 0)
            r = uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
    return r < 0 ? r : uv_timer_start(&server->tick, on_tick, TICK_MS, TICK_MS);
}

static int init_service(struct rpc_server *server, int id, const struct rpc_service_config *config,
                        struct kv_error *err)
{
    static const char *const names[] = {"libvirtd", "admin"};
    struct rpc_service *service = &server->services[id];
    service->server = server;
    service->name = names[id];
    service->limits = config->clients;
    const struct pool_limits limits = {config->workers_min, config->workers_max,
                                       config->workers_priority};
    return pool_new(&service->pool, &limits, err);
}

static int init_programs(struct rpc_server *server, struct kv_error *err)
{
    int r = program_init(&server->remote, REMOTE_PROGRAM, remote_procedures, REMOTE_PROC_END);
    if (r == 0)
        r = program_init(&server->qemu, QEMU_PROGRAM, qemu_procedures, QEMU_PROC_END);
    if (r == 0)
        r = program_init(&server->admin, ADMIN_PROGRAM, admin_procedures, ADMIN_PROC_END);
    if (r < 0)
        return kv_error_errno(err, KV_ERR_BASE, -r, "programs");
    server->services[RPC_SERVICE_MAIN].programs[0] = &server->remote;
    server->services[RPC_SERVICE_MAIN].programs[1] = &server->qemu;
    server->services[RPC_SERVICE_ADMIN].programs[0] = &server->admin;
    for (const struct rpc_handler *const *own = rpc_own_handlers; *own && r == 0; own++)
        r = add_handlers(&server->remote, *own, NULL, err);
    if (r == 0)
        r = add_handlers(&server->admin, admin_handlers, NULL, err);
    return r;
}

int rpc_server_new(struct rpc_server **out, const struct rpc_server_config *config,
                   struct kv_error *err)
{
    struct rpc_server *server = calloc(1, sizeof(*server));
    if (!server)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "server");
    pthread_mutex_init(&server->post_lock, NULL);
    list_init(&server->posted);
    list_init(&server->tasks);
    for (int i = 0; i < RPC_SERVICES; i++) {
        pthread_mutex_init(&server->services[i].lock, NULL);
        list_init(&server->services[i].clients);
        list_init(&server->services[i].listeners);
    }
    server->keepalive_interval = config->keepalive_interval;
    server->keepalive_count = config->keepalive_count;
    server->idle_timeout = config->idle_timeout;
    int r = init_loop(server);
    if (r < 0) {
        kv_error_errno(err, KV_ERR_BASE, -r, "event loop");
        free(server);
        return r;
    }
    r = events_init(server);
    for (int i = 0; i < RPC_SERVICES && r == 0; i++)
        r = init_service(server, i, &config->services[i], err);
    if (r == 0)
        r = init_programs(server, err);
    if (r < 0) {
        rpc_server_free(server);
        return r;
    }
    *out = server;
    return 0;
}

static bool still_busy(struct rpc_server *server)
{
    bool busy = atomic_load(&server->later) > 0;
    for (int i = 0; i < RPC_SERVICES; i++) {
        list_for_each (node, &server->services[i].clients) {
            struct rpc_client *client = list_entry(node, struct rpc_client, node);
            pthread_mutex_lock(&client->lock);
            busy = busy || atomic_load(&client->in_flight) || !list_empty(&client->out);
            pthread_mutex_unlock(&client->lock);
        }
    }
    return busy;
}

static void close_clients(struct rpc_server *server)
{
    for (int i = 0; i < RPC_SERVICES; i++) {
        list_for_each_safe (node, &server->services[i].clients)
            client_close(list_entry(node, struct rpc_client, node));
    }
}

static void on_last_words(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Calls that run are answered, clients that want to are told, and what waits for them they can
 * read for a while; then every socket is closed. */
static void end_gracefully(struct rpc_server *server)
{
    bool over = false;
    server->ending = true;
    listeners_close(server);
    events_say_goodbye(server);
    server->patience.data = &over;
    uv_timer_start(&server->patience, on_last_words, LAST_WORDS_MS, 0);
    while (!over && still_busy(server))
        uv_run(&server->loop, UV_RUN_ONCE);
    uv_timer_stop(&server->patience);
    close_clients(server);
    for (int i = 0; i < RPC_SERVICES; i++)
        pool_drain(server->services[i].pool);
}

int rpc_server_run(struct rpc_server *server, void (*ready)(void *opaque), void *opaque,
                   struct kv_error *err)
{
    if (ready)
        ready(opaque);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    end_gracefully(server);
    return 0;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    listeners_close(server);
    close_clients(server);
    for (int i = 0; i < RPC_SERVICES; i++)
        pool_free(server->services[i].pool);
    on_wake(&server->wake);
    uv_walk(&server->loop, close_handle, NULL);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    uv_loop_close(&server->loop);
    for (int i = 0; i < RPC_SERVICES; i++)
        pthread_mutex_destroy(&server->services[i].lock);
    events_free(server);
    free(server->remote.slots);
    free(server->qemu.slots);
    free(server->admin.slots);
    tls_context_free(server->tls);
    sasl_settings_free(server->sasl);
    pthread_mutex_destroy(&server->post_lock);
    free(server);
}
