/* Whether text from a file is UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef SN_BASE_UTF8_H
#define SN_BASE_UTF8_H

#include <stddef.h>

static inline int utf8_is_valid(const unsigned char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        const unsigned lead = text[i++];
        if (lead < 0x80)
            continue;
        const size_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || length - i < more)
            return 0;
        const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (text[i] < low || text[i] > high)
            return 0;
        for (size_t k = 1; k < more; k++)
            if ((text[i + k] & 0xC0) != 0x80)
                return 0;
        i += more;
    }
    return 1;
}

#endif
