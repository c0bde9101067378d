#include "report/svg_parts.h"

#include <math.h>

void svg_number(struct buffer *out, double value)
{
    buffer_number(out, round(100 * value) / 100, 7);
}

void svg_attribute(struct buffer *out, const char *name, double value)
{
    buffer_format(out, " %s=\"", name);
    svg_number(out, value);
    buffer_text(out, "\"");
}
