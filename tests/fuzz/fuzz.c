#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../zip_fix.h"

static size_t in_use, limit; /* one thread */

static void *allocate(size_t size, void *payload)
{
    (void)payload;
    if (size > limit || in_use > limit - size)
        return NULL;
    void *block = malloc(size);
    in_use += block ? size : 0;
    return block;
}

static void release(void *block, size_t size, void *payload)
{
    (void)payload;
    in_use -= block ? size : 0;
    free(block);
}

static void *reallocate(void *block, size_t old_size, size_t new_size, void *payload)
{
    void *bigger = allocate(new_size, payload);
    if (!bigger)
        return NULL;
    if (block)
        memcpy(bigger, block, old_size < new_size ? old_size : new_size);
    release(block, old_size, payload);
    return bigger;
}

sn_context *fuzz_context(size_t mebibytes)
{
    static const sn_allocator allocator = {allocate, reallocate, release, NULL};
    sn_context *context;
    limit = mebibytes << 20;
    if (in_use != 0 || sn_context_create(&context, &allocator) != SN_OK)
        abort(); /* the input before leaked */
    return context;
}

static char folder[64];

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (folder[0] && system(command) != 0)
        perror(folder);
}

const char *fuzz_folder(void)
{
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/dev/shm/sparsenet-fuzz-%d", (int)getpid());
        if (mkdir(folder, 0700) != 0)
            abort();
        atexit(remove_folder);
    }
    return folder;
}

const char *fuzz_write(const char *name, const void *bytes, size_t size)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        abort();
    return path;
}

const char *fuzz_write_zip(const char *name, const void *bytes, size_t size)
{
    unsigned char *copy = malloc(size + 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, bytes, size);
    zip_fix_checksums(copy, size);
    const char *path = fuzz_write(name, copy, size);
    free(copy);
    return path;
}

size_t fuzz_split(const uint8_t **rest, size_t *n_rest, const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    const size_t length = nul ? (size_t)(nul - data) : size;
    *rest = nul ? nul + 1 : NULL;
    *n_rest = nul ? size - length - 1 : 0;
    return length;
}

void fuzz_check(int status, const sn_context *context)
{
    if (status != SN_OK && !sn_context_message(context)[0])
        abort();
}

static void run(sn_model *model, sn_context *context)
{
    sn_session *session;
    const int32_t tokens[] = {0, 0, 0};
    const size_t offsets[] = {0, sn_model_config_number(model, "block_size") < 3 ? 1 : 3};
    int status = sn_session_create(&session, context, model, NULL);
    if (status == SN_OK)
        status = sn_session_forward(session, tokens, offsets, 1);
    fuzz_check(status, context);
    sn_session_free(session);
}

void fuzz_load_model(sn_model **model, sn_context *context, const char *path)
{
    size_t held, peak;
    const int status = sn_model_estimate_memory(&held, &peak, context, path, 0.5);
    fuzz_check(status, context);
    if (status == SN_OK && held > peak)
        abort();
    fuzz_check(sn_model_load(model, context, path), context);
}

static void load_again(sn_context *context, const char *path)
{
    sn_model *again;
    const int status = sn_model_load(&again, context, path);
    if (status != SN_OK && status != SN_ERROR_MEMORY)
        abort(); /* what the library writes it must read */
    sn_model_free(again);
}

void fuzz_use_model(sn_model *model, sn_context *context)
{
    char path[256];
    run(model, context);
    snprintf(path, sizeof path, "%s/saved.safetensors", fuzz_folder());
    const int status = sn_model_save(model, context, path);
    fuzz_check(status, context);
    if (status == SN_OK)
        load_again(context, path);
}

/* Entries of all tensors, dense: of a sparse file they may be far more than its bytes. */
static double entries(const sn_model *model)
{
    double sum = 0;
    size_t rows, cols;
    for (size_t i = 0; i < sn_model_tensor_count(model); i++)
        if (sn_model_tensor_info(&rows, &cols, NULL, NULL, model, i) == SN_OK)
            sum += (double)rows * (double)(cols ? cols : 1);
    return sum;
}

void fuzz_export_model(sn_model *model, sn_context *context)
{
    char path[256];
    if (entries(model) > 100000)
        return;
    snprintf(path, sizeof path, "%s/exported", fuzz_folder());
    const int status = sn_model_export(model, context, path);
    fuzz_check(status, context);
    if (status == SN_OK)
        load_again(context, path);
}
