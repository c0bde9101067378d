/* sn_report_send: a report to a callback, whatever its form. */
#include "report/write_text.h"

int sn_report_send(sn_context *context, const sn_circuit *circuit, int form, const sn_page *inputs,
                   sn_text_callback callback, void *payload)
{
    const struct report_target target = {.callback = callback, .payload = payload};
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !callback)
        return fail(context, SN_ERROR_ARGUMENT, "sn_report_send: %s is NULL",
                    circuit ? "callback" : "circuit");
    switch (form) {
    case SN_REPORT_JSON: return report_json(context, circuit, &target);
    case SN_REPORT_DOT: return report_dot(context, circuit, &target);
    case SN_REPORT_GRAPHML: return report_graphml(context, circuit, &target);
    case SN_REPORT_SVG: return report_svg(context, circuit, &target);
    case SN_REPORT_HTML: return report_html(context, circuit, inputs, &target);
    default: return fail(context, SN_ERROR_ARGUMENT, "sn_report_send: form is %d", form);
    }
}
