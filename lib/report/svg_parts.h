/* Numbers in SVG pictures. */
#ifndef SN_REPORT_SVG_PARTS_H
#define SN_REPORT_SVG_PARTS_H

#include "base/buffer.h"

/* With two decimals and a point whatever the locale. */
void svg_number(struct buffer *out, double value);
/*  name="value", with a space in front */
void svg_attribute(struct buffer *out, const char *name, double value);

#endif
