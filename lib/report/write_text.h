/* A report as one file, written whole or not at all. */
#ifndef SN_REPORT_WRITE_TEXT_H
#define SN_REPORT_WRITE_TEXT_H

#include "base/buffer.h"
#include "base/context.h"

/* Writes the text to `path` and frees it, whatever comes of it. `what` names it where memory had run out. */
int report_write_text(sn_context *context, struct buffer *text, const char *path, const char *what);

#endif
