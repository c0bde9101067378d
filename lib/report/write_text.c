#include "report/write_text.h"

#include <string.h>

#include "base/file.h"

int report_write_text(sn_context *context, struct buffer *text, const char *path, const char *what)
{
    struct file_writer file;
    memset(&file, 0, sizeof file);
    int status = text->failed ? fail_memory(context, what, text->capacity) : SN_OK;
    if (status == SN_OK)
        status = file_writer_open(&file, context, path);
    if (status == SN_OK)
        status = file_write(&file, context, text->bytes, text->size);
    if (status == SN_OK)
        status = file_writer_commit(&file, context);
    file_writer_abort(&file);
    buffer_free(text);
    return status;
}
