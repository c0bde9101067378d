/* What lib/report/viewer holds, as constants: lib/report/viewer/embed.c makes them while the library is built. */
#ifndef SN_REPORT_VIEWER_PARTS_H
#define SN_REPORT_VIEWER_PARTS_H

#include <stddef.h>

/* Texts of *_size bytes, NUL-terminated. Hashes as in a Content Security Policy: sha256-... */
extern const char viewer_style[], viewer_markup[], viewer_script[];
extern const size_t viewer_style_size, viewer_markup_size, viewer_script_size;
extern const char viewer_style_hash[], viewer_markup_hash[], viewer_script_hash[];

#endif
