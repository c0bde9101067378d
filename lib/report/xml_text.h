/* Text in XML: GraphML and SVG. */
#ifndef SN_REPORT_XML_TEXT_H
#define SN_REPORT_XML_TEXT_H

#include "base/buffer.h"

/* Text between tags or in quotes; without the characters that XML has no way to write: control characters,
 * U+FFFE and U+FFFF. Nothing where it is not UTF-8. */
void xml_text(struct buffer *out, const char *text);

#endif
