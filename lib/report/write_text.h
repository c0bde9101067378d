/* A report as one file, written whole or not at all, or handed to a callback. */
#ifndef SN_REPORT_WRITE_TEXT_H
#define SN_REPORT_WRITE_TEXT_H

#include "base/buffer.h"
#include "base/context.h"

struct report_target {
    const char *path; /* or, where it is NULL: */
    sn_text_callback callback;
    void *payload;
};

/* Hands bytes to a callback; SN_ERROR_CANCELLED where it wants no more. */
int report_send_bytes(sn_context *context, const struct report_target *target, const char *bytes,
                      size_t size);
/* Gives the text to the target and frees it, whatever comes of it. `what` names it where memory had run out. */
int report_write_text(sn_context *context, struct buffer *text, const struct report_target *target,
                      const char *what);

/* The reports, each in the file of its form. */
int report_json(sn_context *context, const sn_circuit *circuit, const struct report_target *target);
int report_dot(sn_context *context, const sn_circuit *circuit, const struct report_target *target);
int report_graphml(sn_context *context, const sn_circuit *circuit, const struct report_target *target);
int report_svg(sn_context *context, const sn_circuit *circuit, const struct report_target *target);
int report_html(sn_context *context, const sn_circuit *circuit, const sn_page *inputs,
                const struct report_target *target);

#endif
