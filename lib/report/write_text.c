#include "report/write_text.h"

#include <string.h>

#include "base/file.h"

int report_send_bytes(sn_context *context, const struct report_target *target, const char *bytes,
                      size_t size)
{
    if (target->callback(bytes, size, target->payload) == 0)
        return SN_OK;
    return fail(context, SN_ERROR_CANCELLED, "sn_report_send: cancelled by its callback");
}

static int write_file(sn_context *context, const struct buffer *text, const char *path)
{
    struct file_writer file;
    memset(&file, 0, sizeof file);
    int status = file_writer_open(&file, context, path);
    if (status == SN_OK)
        status = file_write(&file, context, text->bytes, text->size);
    if (status == SN_OK)
        status = file_writer_commit(&file, context);
    file_writer_abort(&file);
    return status;
}

int report_write_text(sn_context *context, struct buffer *text, const struct report_target *target,
                      const char *what)
{
    int status = text->failed ? fail_memory(context, what, text->capacity) : SN_OK;
    if (status == SN_OK)
        status = target->path ? write_file(context, text, target->path)
                              : report_send_bytes(context, target, text->bytes, text->size);
    buffer_free(text);
    return status;
}
