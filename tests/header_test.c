/* Compiled under every standard from C89 and C++98 on, with the strictest warnings: the public header
 * must stand alone, and again when it is included twice. */
#include "sparsenet.h"
#include "sparsenet.h"

int main(void)
{
    sn_context *context = NULL;
    int status = sn_context_create(&context, NULL);
    if (status == SN_OK && sn_context_message(context)[0] != '\0')
        status = SN_ERROR_STATE;
    sn_context_free(context);
    return status == SN_OK && sn_version_string()[0] != '\0' ? 0 : 1;
}
