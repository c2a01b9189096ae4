/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Windows wants of a domain: enlightenments and a clock that shows local time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libvirt/libvirt.h>

#include "domain_document.h"
#include "model/api_error.h"
#include "model/domain.h"

static struct model_domain *parse(const char *xml)
{
    struct model_domain *d;
    struct kv_error err = {0};
    if (model_domain_parse(&d, NULL, xml, strlen(xml), MODEL_PARSE_INACTIVE, &err) < 0)
        fail_msg("%s\n%s", err.message, xml);
    return d;
}

static void what_virt_install_writes_for_windows_is_acted_on(void **state)
{
    struct model_domain *d = parse(
        BEGIN OS "<features><acpi/><apic/><hyperv><relaxed state='on'/><vapic state='on'/>"
                 "<spinlocks state='on' retries='8191'/><vpindex state='on'/><runtime state='off'/>"
                 "<synic state='on'/><stimer state='on'><direct state='on'/></stimer>"
                 "<vendor_id state='on' value='KVM Hv'/><evmcs state='off'/></hyperv></features>"
                 "<clock offset='localtime'><timer name='rtc' tickpolicy='catchup'/>"
                 "<timer name='pit' tickpolicy='delay'/><timer name='hpet' present='no'/>"
                 "<timer name='hypervclock' present='yes'/></clock>"
                 "<devices><panic model='hyperv'/></devices></domain>");
    const struct model_hyperv *h = &d->hyperv;
    assert_true(h->relaxed && h->vapic && h->vpindex && h->synic && h->stimer && h->stimer_direct);
    assert_true(h->time && h->crash);
    assert_false(h->runtime || h->passthrough || h->ipi);
    assert_int_equal(h->spinlocks, 8191);
    assert_string_equal(h->vendor_id, "KVM Hv");
    assert_true(d->clock.localtime);
    assert_int_equal(d->clock.adjustment, 0);
    model_domain_free(d);
    d = parse(BEGIN OS "<features><hyperv mode='passthrough'/></features></domain>");
    assert_true(d->hyperv.passthrough);
    model_domain_free(d);
}

static void a_clock_begins_where_the_document_says(void **state)
{
    static const struct {
        const char *clock;
        struct model_clock wanted;
        const char *shown;
    } rows[] = {
        {"<clock offset='utc' adjustment='reset'/>",
         {0},
         "<clock offset='utc' adjustment='reset'/>"},
        {"<clock offset='localtime' adjustment='-60'/>",
         {.localtime = true, .adjustment = -60},
         "<clock offset='variable' adjustment='-60' basis='localtime'/>"},
        {"<clock offset='variable' adjustment='3600' basis='utc'/>",
         {.adjustment = 3600},
         "<clock offset='variable' adjustment='3600' basis='utc'/>"},
        {"<clock offset='absolute' start='86400'/>",
         {.absolute = true, .start = 86400},
         "<clock offset='absolute' start='86400'/>"},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char xml[600];
        snprintf(xml, sizeof(xml), BEGIN OS "%s</domain>", rows[i].clock);
        struct model_domain *d = parse(xml);
        assert_memory_equal(&d->clock, &rows[i].wanted, sizeof(d->clock));
        char *text = model_domain_format(d, MODEL_FORMAT_INACTIVE);
        if (!strstr(text, rows[i].shown))
            fail_msg("no '%s' in\n%s", rows[i].shown, text);
        free(text);
        model_domain_free(d);
    }
    struct model_domain *d =
        parse(BEGIN OS "<clock offset='timezone' timezone='Europe/Paris'/></domain>");
    assert_string_equal(d->clock.timezone, "Europe/Paris");
    model_domain_free(d);
}

static void what_means_nothing_is_refused(void **state)
{
    static const struct {
        const char *xml;
        int code;
        const char *message;
    } rows[] = {
        {"<features><hyperv><relaxed/></hyperv></features>", VIR_ERR_XML_ERROR,
         "missing 'state' attribute for HyperV Enlightenment feature 'relaxed'"},
        {"<features><hyperv><spinlocks state='on' retries='4094'/></hyperv></features>",
         VIR_ERR_XML_ERROR, "at least 4095"},
        {"<features><hyperv><spinlocks state='on'/></hyperv></features>", VIR_ERR_XML_ERROR,
         "missing HyperV spinlock retry count"},
        {"<features><hyperv><vendor_id state='on' value='thirteen char'/></hyperv></features>",
         VIR_ERR_XML_ERROR, "not be more than 12"},
        {"<features><hyperv><avic state='on'/></hyperv></features>", VIR_ERR_CONFIG_UNSUPPORTED,
         "/domain/features/hyperv/avic/@state: 'on'"},
        {"<clock offset='timezone'/>", VIR_ERR_XML_ERROR, "missing 'timezone'"},
        {"<clock offset='absolute'/>", VIR_ERR_XML_ERROR, "missing 'start'"},
        {"<clock offset='variable' adjustment='soon'/>", VIR_ERR_XML_ERROR,
         "unable to parse clock adjustment 'soon'"},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char xml[600];
        snprintf(xml, sizeof(xml), BEGIN OS "%s</domain>", rows[i].xml);
        expect_error(xml, rows[i].code, rows[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_virt_install_writes_for_windows_is_acted_on),
        cmocka_unit_test(a_clock_begins_where_the_document_says),
        cmocka_unit_test(what_means_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
