/* A trainer's checkpoint. Its checksum is put right first: a fuzzer cannot guess it. */
#include "small.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../zip_fix.h"

static const char *write_checkpoint(const uint8_t *data, size_t size)
{
    unsigned char *copy = malloc(size + 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    if (size >= 4) {
        const uint32_t checksum = zip_fix_checksum(copy, size - 4); /* the same polynomial as zip's */
        memcpy(copy + size - 4, &checksum, sizeof checksum);
    }
    const char *path = fuzz_write("checkpoint", copy, size);
    free(copy);
    return path;
}

static void check_finite(const sn_model *model, sn_context *context)
{
    static float values[4096];
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        size_t n;
        const int status =
            sn_model_tensor(values, 4096, &n, context, model, sn_model_tensor_name(model, i));
        for (size_t k = 0; status == SN_OK && k < n; k++)
            if (!isfinite(values[k]))
                abort();
    }
}

/* A trainer that was accepted has finite weights. */
static void snapshot(sn_trainer *trainer, sn_context *context)
{
    sn_model *model;
    fuzz_check(sn_trainer_snapshot(&model, trainer), context);
    if (model)
        check_finite(model, context);
    sn_model_free(model);
}

/* It goes on, and is saved so that it can be read again. */
static void go_on(sn_trainer *trainer, const sn_corpus *corpus, sn_context *context)
{
    char path[256];
    sn_trainer *again;
    double value;
    fuzz_check(sn_trainer_add_corpus(trainer, corpus, 1, 4), context);
    fuzz_check(sn_trainer_statistic(&value, trainer, "dead_neurons"), context);
    snapshot(trainer, context);
    fuzz_check(sn_trainer_run(trainer, 2), context);
    strcpy(path, fuzz_folder());
    strcat(path, "/again");
    int status = sn_trainer_save(trainer, path);
    fuzz_check(status, context);
    if (status == SN_OK) {
        status = sn_trainer_load(&again, context, path);
        if (status != SN_OK && status != SN_ERROR_MEMORY)
            abort(); /* what the library writes it must read */
        sn_trainer_free(again);
    }
    sn_trainer_free(trainer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const sn_corpus *corpus = small_fixed()->corpus;
    sn_context *context = fuzz_context(8);
    sn_trainer *trainer;
    fuzz_check(sn_trainer_load(&trainer, context, write_checkpoint(data, size)), context);
    if (trainer)
        go_on(trainer, corpus, context);
    sn_context_free(context);
    return 0;
}
