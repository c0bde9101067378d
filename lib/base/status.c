#include "sparsenet.h"

#define TEXT_OF(x) #x
#define VERSION_TEXT(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *sn_version_string(void)
{
    return VERSION_TEXT(SN_VERSION_MAJOR, SN_VERSION_MINOR, SN_VERSION_PATCH);
}

const char *sn_status_string(int status)
{
    static const char *const names[] = {
        "ok",
        "invalid argument",
        "out of memory",
        "input/output error",
        "malformed input",
        "unsupported",
        "not a finite number",
        "cancelled",
        "called out of order",
        "array too small",
        "target not reached",
    };
    if (status < 0 || status >= (int)(sizeof names / sizeof *names))
        return "unknown status";
    return names[status];
}
