/* Pairs of prompts as JSON Lines: as token ids, and with a tokenizer also as text. */
#include "small.h"

#include <stdio.h>
#include <stdlib.h>

/* What was read must be written and read again, with as many pairs. */
static void round_trip(const sn_task *task, sn_context *context, const sn_tokenizer *tokenizer)
{
    char path[256];
    sn_task *again;
    snprintf(path, sizeof path, "%s/again.jsonl", fuzz_folder());
    int status = sn_task_save_jsonl(task, context, tokenizer, path);
    fuzz_check(status, context);
    if (status != SN_OK)
        return;
    status = sn_task_load_jsonl(&again, context, tokenizer, path);
    if (status != SN_OK ? status != SN_ERROR_MEMORY : sn_task_count(again) != sn_task_count(task))
        abort();
    sn_task_free(again);
}

static void try_file(const char *path, sn_context *context, const sn_tokenizer *tokenizer)
{
    sn_task *task;
    fuzz_check(sn_task_load_jsonl(&task, context, tokenizer, path), context);
    if (task)
        round_trip(task, context, tokenizer);
    sn_task_free(task);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const sn_tokenizer *tokenizer = small_fixed()->tokenizer;
    sn_context *context = fuzz_context(16);
    const char *path = fuzz_write("pairs.jsonl", data, size);
    try_file(path, context, NULL);
    try_file(path, context, tokenizer);
    sn_context_free(context);
    return 0;
}
