/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a viewer is let in: version, security, password, whether it shares (RFC 6143 7.1 to 7.3), and
 * VeNCrypt 0.2 (community protocol specification, 7.2.19) with X.509 certificates: where there are
 * such, nothing else is offered, and the password's challenge comes under TLS. See vnc_client.h.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/log.h"
#include "vmm/display/vnc_client.h"

#define SECURITY_NONE 1
#define SECURITY_PASSWORD 2
#define SECURITY_VENCRYPT 19
#define VENCRYPT_MAJOR 0
#define VENCRYPT_MINOR 2
#define VENCRYPT_X509_NONE 260
#define VENCRYPT_X509_PASSWORD 261

static bool needs_password(const struct vnc_client *client)
{
    return client->vnc->needs_password && !client->trusted;
}

static unsigned security_type(const struct vnc_client *client)
{
    if (client->vnc->tls && !client->trusted && !client->websocket)
        return SECURITY_VENCRYPT;
    return needs_password(client) ? SECURITY_PASSWORD : SECURITY_NONE;
}

const char *vnc_auth_name(bool vencrypt, bool password)
{
    if (vencrypt)
        return password ? "vencrypt+x509+vnc" : "vencrypt+x509+none";
    return password ? "vnc" : "none";
}

void vnc_client_tell(const struct vnc_client *client, const char *event)
{
    vnc_tell(client->vnc, event, client->link.fd,
             vnc_auth_name(security_type(client) == SECURITY_VENCRYPT, needs_password(client)),
             client->websocket);
}

/* Whether the viewer may look, as it wants to be alone or not. */
static bool share(struct vnc_client *client, bool alone)
{
    struct vnc *vnc = client->vnc;
    if (alone && vnc->share == VNC_SHARE_FORCE_SHARED)
        return false;
    if (vnc->share != VNC_SHARE_ALLOW_EXCLUSIVE)
        return true;
    list_for_each_safe (node, &vnc->clients) {
        struct vnc_client *other = vnc_client_of(node);
        if (other == client || !other->ready)
            continue;
        if (alone)
            vnc_client_free(other);
        else if (other->exclusive)
            return false;
    }
    client->exclusive = alone;
    return true;
}

static bool client_init(struct vnc_client *client, const uint8_t *bytes)
{
    static const uint8_t format[16] = {32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0};
    struct display *display = client->vnc->display;
    size_t len = strlen(client->vnc->name);
    loop_timer_cancel(&client->login);
    if (!share(client, !bytes[0]))
        return false;
    display_refresh(display);
    client->width = display->width;
    client->height = display->height;
    vnc_send_be16(client, display->width);
    vnc_send_be16(client, display->height);
    vnc_send(client, format, sizeof(format));
    vnc_send_be32(client, (uint32_t)len);
    vnc_send(client, client->vnc->name, len);
    client->ready = true;
    vnc_client_tell(client, "VNC_INITIALIZED");
    vnc_expect(client, 1, vnc_take_message);
    return true;
}

static bool begin_session(struct vnc_client *client)
{
    vnc_expect(client, 1, client_init);
    return true;
}

static bool check_password(struct vnc_client *client, const uint8_t *bytes)
{
    static const char reason[] = "the password is wrong";
    const struct vnc *vnc = client->vnc;
    uint8_t expected[VNC_CHALLENGE],
        differs = vnc_respond(vnc->password, client->challenge, expected) < 0;
    for (unsigned i = 0; i < VNC_CHALLENGE; i++)
        differs |= expected[i] ^ bytes[i];
    bool right =
        !differs && vnc->password[0] && (!vnc->password_until || time(NULL) < vnc->password_until);
    vnc_send_be32(client, !right);
    if (right)
        return begin_session(client);
    log_info("vnc: a viewer was refused: %s", reason);
    if (client->minor >= 8) {
        vnc_send_be32(client, sizeof(reason) - 1);
        vnc_send(client, reason, sizeof(reason) - 1);
    }
    client->ending = true;
    return true;
}

static bool ask_password(struct vnc_client *client)
{
    if (getrandom(client->challenge, VNC_CHALLENGE, 0) != VNC_CHALLENGE)
        return false;
    vnc_send(client, client->challenge, VNC_CHALLENGE);
    vnc_expect(client, VNC_CHALLENGE, check_password);
    return true;
}

static bool let_in(struct vnc_client *client)
{
    if (client->minor >= 8)
        vnc_send_be32(client, 0);
    return begin_session(client);
}

/* ---------------------------------------------------------------- VeNCrypt */

static uint32_t vencrypt_type(const struct vnc_client *client)
{
    return needs_password(client) ? VENCRYPT_X509_PASSWORD : VENCRYPT_X509_NONE;
}

bool vnc_greet_under_tls(struct vnc_client *client)
{
    if (client->websocket) /* it has not said anything yet */
        return true;
    return needs_password(client) ? ask_password(client) : let_in(client);
}

/* Until TLS stands there are no bytes to be taken. */
static bool choose_vencrypt(struct vnc_client *client, const uint8_t *bytes)
{
    static const uint8_t accepted = 1;
    if (vnc_be32(bytes) != vencrypt_type(client))
        return false;
    vnc_send(client, &accepted, sizeof(accepted));
    client->starts_tls = true;
    vnc_expect(client, SIZE_MAX, NULL);
    return true;
}

static bool take_vencrypt_version(struct vnc_client *client, const uint8_t *bytes)
{
    static const uint8_t accepted = 0, refused = 0xff, one = 1;
    if (bytes[0] != VENCRYPT_MAJOR || bytes[1] != VENCRYPT_MINOR) {
        vnc_send(client, &refused, sizeof(refused));
        client->ending = true;
        return true;
    }
    vnc_send(client, &accepted, sizeof(accepted));
    vnc_send(client, &one, sizeof(one));
    vnc_send_be32(client, vencrypt_type(client));
    vnc_expect(client, 4, choose_vencrypt);
    return true;
}

static bool begin_vencrypt(struct vnc_client *client)
{
    static const uint8_t version[] = {VENCRYPT_MAJOR, VENCRYPT_MINOR};
    vnc_send(client, version, sizeof(version));
    vnc_expect(client, sizeof(version), take_vencrypt_version);
    return true;
}

/* ---------------------------------------------------------------- version, type */

static bool begin_security(struct vnc_client *client, unsigned type)
{
    if (type == SECURITY_VENCRYPT)
        return begin_vencrypt(client);
    return type == SECURITY_PASSWORD ? ask_password(client) : let_in(client);
}

static bool choose_security(struct vnc_client *client, const uint8_t *bytes)
{
    return bytes[0] == security_type(client) && begin_security(client, bytes[0]);
}

/* There are no types but the old ones for a viewer of version 3.3. */
static bool begin_old(struct vnc_client *client)
{
    static const char reason[] = "the viewer cannot have TLS, which is needed here";
    unsigned type = security_type(client);
    client->minor = 3;
    if (type != SECURITY_VENCRYPT) {
        vnc_send_be32(client, type);
        return begin_security(client, type);
    }
    vnc_send_be32(client, 0);
    vnc_send_be32(client, sizeof(reason) - 1);
    vnc_send(client, reason, sizeof(reason) - 1);
    client->ending = true;
    return true;
}

/* 3.3 is told the type; later ones choose from a list, of one. */
bool vnc_greet(struct vnc_client *client, const uint8_t *bytes)
{
    char text[VNC_VERSION_LEN + 1] = {0};
    unsigned major;
    memcpy(text, bytes, VNC_VERSION_LEN);
    if (sscanf(text, "RFB %3u.%3u\n", &major, &client->minor) != 2 || major != 3)
        return false;
    const uint8_t list[] = {1, (uint8_t)security_type(client)};
    if (client->minor < 7)
        return begin_old(client);
    vnc_send(client, list, sizeof(list));
    vnc_expect(client, 1, choose_security);
    return true;
}
