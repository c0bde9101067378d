#include "report/xml_text.h"

#include <string.h>

#include "base/utf8.h"

void xml_text(struct buffer *out, const char *text)
{
    static const char *const ESCAPES[] = {"&&amp;", "<&lt;", ">&gt;", "\"&quot;", "'&apos;"};
    if (!utf8_is_valid((const unsigned char *)text, strlen(text)))
        return;
    for (; *text; text++) {
        const char *escape = NULL;
        for (size_t i = 0; i < sizeof ESCAPES / sizeof *ESCAPES; i++)
            if (*text == *ESCAPES[i])
                escape = ESCAPES[i] + 1;
        if (strncmp(text, "\xef\xbf\xbe", 3) == 0 || strncmp(text, "\xef\xbf\xbf", 3) == 0)
            text += 2;
        else if (escape)
            buffer_text(out, escape);
        else if ((unsigned char)*text >= ' ' || *text == '\n' || *text == '\t')
            buffer_append(out, text, 1);
    }
}
