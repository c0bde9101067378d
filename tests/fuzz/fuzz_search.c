/* The file of a search. Its checksums, a tensor that stands in front, are put right: of model, tasks and settings they
 * are taken from a file of this search, of the results they are computed. A fuzzer cannot guess them. */
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../zip_fix.h"

#define N_CHECKSUMS 8 /* two floats each; the last two are of all that follows */

static sn_search *begin(sn_context *context)
{
    const struct small *small = small_fixed();
    return small_search(context, small->model, small->means, small->task);
}

/* As this search writes them, after it has run. */
static const float *own_checksums(void)
{
    static float checksums[N_CHECKSUMS];
    static int known;
    char path[256];
    sn_tensors *tensors;
    if (known++)
        return checksums;
    sn_context *context = small_fixed()->context;
    sn_search *search = begin(context);
    snprintf(path, sizeof path, "%s/own", fuzz_folder());
    small_must(sn_search_set_file(search, path));
    small_must(sn_search_run(search));
    small_must(sn_tensors_load(&tensors, context, path));
    memcpy(checksums, sn_tensors_values(NULL, NULL, tensors, "checksums"), sizeof checksums);
    sn_tensors_free(tensors);
    sn_search_free(search);
    return checksums;
}

static void fix_checksums(uint8_t *bytes, size_t size)
{
    float checksums[N_CHECKSUMS];
    memcpy(checksums, own_checksums(), sizeof checksums);
    const uint32_t results = zip_fix_checksum(bytes + sizeof checksums, size - sizeof checksums);
    checksums[N_CHECKSUMS - 2] = (float)(results >> 16);
    checksums[N_CHECKSUMS - 1] = (float)(results & 0xffff);
    memcpy(bytes, checksums, sizeof checksums);
}

static const char *write_search(const uint8_t *data, size_t size)
{
    uint64_t header;
    uint8_t *copy = malloc(size + 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    if (size > 8 + N_CHECKSUMS * sizeof(float)) {
        memcpy(&header, data, sizeof header);
        if (header <= size - 8 - N_CHECKSUMS * sizeof(float))
            fix_checksums(copy + 8 + header, size - 8 - (size_t)header);
    }
    const char *path = fuzz_write("search", copy, size);
    free(copy);
    return path;
}

/* What was taken up gives a circuit, or after it has run to its end, if that is how it was left. The file then is what
 * it would be taken up from. */
static void go_on(sn_search *search, sn_context *context, const char *path)
{
    sn_circuit *circuit;
    sn_search *again;
    int status = sn_search_circuit(&circuit, search, 0.3, 1);
    if (status == SN_ERROR_STATE) {
        fuzz_check(sn_search_run(search), context);
        status = sn_search_circuit(&circuit, search, 0.3, 1);
    }
    fuzz_check(status, context);
    sn_circuit_free(circuit);
    again = begin(context);
    status = sn_search_set_file(again, path);
    if (status != SN_OK && status != SN_ERROR_MEMORY)
        abort();
    sn_search_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = write_search(data, size);
    sn_context *context = fuzz_context(16);
    sn_search *search = begin(context);
    const int status = sn_search_set_file(search, path);
    fuzz_check(status, context);
    if (status == SN_OK)
        go_on(search, context, path);
    sn_search_free(search);
    sn_context_free(context);
    return 0;
}
