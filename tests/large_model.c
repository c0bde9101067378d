#include "large_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/random.h"
#include "format/safetensors.h"
#include "model/model.h"

#define CHUNK ((size_t)1 << 16)

const char csp_yolo2_config[] =
    "{\"block_size\": 256, \"vocab_size\": 2048, \"n_layer\": 8, \"n_head\": 128, \"d_head\": 16, "
    "\"d_model\": 2048, \"d_mlp\": 8192, \"rms_norm\": true, \"activation_type\": \"gelu\", "
    "\"afrac\": 0.25, \"afrac_loctypes\": "
    "\"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\", "
    "\"tied_unembed\": false, \"enable_bigram_table\": true, \"learnable_bigram_table\": true, "
    "\"d_pos_emb\": 32, \"bias\": true, \"sink\": true}";

static const struct {
    const char *config, *weights;
} names[] = {{"config.json", "model.safetensors"}, {"beeg_config.json", "final_model.pt"}};

/* ---- the numbers of one tensor, a chunk at a time */

typedef int (*chunk_writer)(void *payload, const float *values, size_t n);

static int is_sparse(const struct parameter *parameter)
{
    return parameter->role == ROLE_MATRIX || parameter->role == ROLE_EMBEDDING;
}

static size_t count_of(const struct parameter *parameter)
{
    return parameter->rows * (parameter->cols ? parameter->cols : 1);
}

/* Distance to the next nonzero. */
static size_t next_gap(struct random_state *random, double density)
{
    if (density >= 1)
        return 0;
    double gap = log(1 - random_uniform(random)) / log(1 - density);
    return gap < 1e15 ? (size_t)gap : (size_t)1e15;
}

static float some_value(struct random_state *random, const struct parameter *parameter)
{
    float value = 0.02f * (float)(random_uniform(random) - 0.5);
    return parameter->role == ROLE_NORM && strstr(parameter->name, "weight") ? 1 + value
           : value == 0                                                      ? 0.01f
                                                                             : value;
}

static int write_numbers(const struct large_model *model, const struct parameter *parameter,
                         size_t index, chunk_writer write, void *payload)
{
    double density = is_sparse(parameter) ? model->density : 1;
    size_t count = count_of(parameter);
    int status = SN_OK;
    struct random_state random;
    float *chunk = malloc(CHUNK * sizeof *chunk);
    if (!chunk)
        return SN_ERROR_MEMORY;
    random_seed(&random, model->seed, index);
    size_t next = next_gap(&random, density);
    for (size_t first = 0; first < count && status == SN_OK; first += CHUNK) {
        size_t n = count - first < CHUNK ? count - first : CHUNK;
        memset(chunk, 0, n * sizeof *chunk);
        for (; next < first + n; next += 1 + next_gap(&random, density))
            chunk[next - first] = some_value(&random, parameter);
        status = write(payload, chunk, n);
    }
    free(chunk);
    return status;
}

static int write_config(const struct large_model *model, const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file)
        return SN_ERROR_IO;
    int done = fputs(model->config, file) >= 0;
    return fclose(file) == 0 && done ? SN_OK : SN_ERROR_IO;
}

/* The parameters that a model of this configuration has. */
static int layout_of(sn_model **out, const struct large_model *model, sn_context *context)
{
    struct config config;
    int status = config_parse(&config, context, model->config, strlen(model->config), "large model");
    return status == SN_OK ? model_allocate(out, context, &config) : status;
}

/* ---- safetensors */

struct safetensors_target {
    struct safetensors_writer writer;
    sn_context *context;
};

static int write_safetensors_chunk(void *payload, const float *values, size_t n)
{
    struct safetensors_target *target = payload;
    return safetensors_write_floats(&target->writer, target->context, values, n);
}

static int write_all_safetensors(struct safetensors_target *target, const struct large_model *model,
                                 const sn_model *layout)
{
    for (size_t i = 0; i < layout->n_parameters; i++) {
        const struct parameter *parameter = &layout->parameters[i];
        const uint64_t shape[2] = {parameter->rows, parameter->cols};
        safetensors_writer_declare(&target->writer, parameter->name, TENSOR_F32, shape,
                                   parameter->cols ? 2 : 1);
    }
    int status = safetensors_writer_begin(&target->writer, target->context);
    for (size_t i = 0; i < layout->n_parameters && status == SN_OK; i++)
        status = write_numbers(model, &layout->parameters[i], i, write_safetensors_chunk, target);
    return status;
}

int large_write_safetensors(const struct large_model *model, sn_context *context, const char *folder)
{
    struct safetensors_target target = {.context = context};
    sn_model *layout = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, names[0].weights);
    int status = layout_of(&layout, model, context);
    if (status == SN_OK)
        status = write_config(model, folder, names[0].config);
    if (status == SN_OK)
        status = safetensors_writer_open(&target.writer, context, path);
    if (status == SN_OK) {
        status = write_all_safetensors(&target, model, layout);
        if (status == SN_OK)
            status = safetensors_writer_commit(&target.writer, context);
        else
            safetensors_writer_abort(&target.writer);
    }
    sn_model_free(layout);
    return status;
}

/* ---- the pickle of a state dict, protocol 2 */

static void pickle_text(struct buffer *pickle, const char *text)
{
    size_t n = strlen(text);
    const unsigned char head[5] = {'X', (unsigned char)n, (unsigned char)(n >> 8), 0, 0};
    buffer_append(pickle, head, sizeof head);
    buffer_append(pickle, text, n);
}

/* BININT, or LONG1 where it needs more than 31 bits. */
static void pickle_number(struct buffer *pickle, uint64_t value)
{
    unsigned char code[11] = {'J'};
    size_t width = value <= INT32_MAX ? 4 : 8, head = 1;
    if (width == 8) {
        code[0] = 0x8A;
        code[1] = 8;
        head = 2;
    }
    for (size_t i = 0; i < width; i++)
        code[head + i] = (unsigned char)(value >> (8 * i));
    buffer_append(pickle, code, head + width);
}

/* storage: its number is its record's name. Arguments of _rebuild_tensor_v2. */
static void pickle_tensor(struct buffer *pickle, const struct parameter *parameter, size_t storage)
{
    char key[24];
    snprintf(key, sizeof key, "%zu", storage);
    pickle_text(pickle, parameter->name);
    buffer_text(pickle, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(pickle, "storage");
    buffer_text(pickle, "ctorch\nFloatStorage\n");
    pickle_text(pickle, key);
    pickle_text(pickle, "cpu");
    pickle_number(pickle, count_of(parameter));
    buffer_text(pickle, "tQ");
    pickle_number(pickle, 0);
    for (int strides = 0; strides < 2; strides++) {
        buffer_text(pickle, "(");
        if (parameter->cols) {
            pickle_number(pickle, strides ? parameter->cols : parameter->rows);
            pickle_number(pickle, strides ? 1 : parameter->cols);
        } else {
            pickle_number(pickle, strides ? 1 : parameter->rows);
        }
        buffer_text(pickle, "t");
    }
    buffer_text(pickle, "\x89"
                        "ccollections\nOrderedDict\n)RtR");
}

static void pickle_state(struct buffer *pickle, const sn_model *layout)
{
    buffer_append(pickle, "\x80\x02", 2);
    buffer_text(pickle, "ccollections\nOrderedDict\n)R(");
    for (size_t i = 0; i < layout->n_parameters; i++)
        pickle_tensor(pickle, &layout->parameters[i], i);
    buffer_text(pickle, "u.");
}

/* ---- a zip archive as PyTorch writes it: stored entries, aligned to 64 bytes, sizes behind the data */

#define ZIP_LIMIT 0xFFFFFFFFu
#define ZIP_ALIGNMENT 64

struct zip_writer {
    FILE *file;
    uint64_t at;
    struct buffer directory;
    size_t n_entries;
    int zip64; /* even where nothing needs it */
    int failed;
    /* the entry being written */
    char name[64];
    uint64_t begin, size;
    uint32_t checksum;
};

static void zip_bytes(struct zip_writer *zip, const void *bytes, size_t size)
{
    zip->failed |= fwrite(bytes, 1, size, zip->file) != size;
    zip->at += size;
}

/* size bytes of value, little-endian; more than eight are zeros. */
static void put(struct buffer *to, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)(i < sizeof value ? value >> (8 * i) : 0);
        buffer_append(to, &byte, 1);
    }
}

static void zip_flush(struct zip_writer *zip, struct buffer *bytes)
{
    zip->failed |= bytes->failed;
    zip_bytes(zip, bytes->bytes, bytes->size);
    buffer_free(bytes);
}

/* Version, flags (sizes follow the data), method, time, date. */
static void put_common(struct buffer *to, const struct zip_writer *zip)
{
    put(to, zip->zip64 ? 45 : 20, 2);
    put(to, 8, 2);
    put(to, 0, 2);
    put(to, 0, 4);
}

static void zip_begin(struct zip_writer *zip, struct memory *memory, const char *name)
{
    struct buffer header;
    size_t length = strlen(name), fixed = 30 + length + 4;
    size_t padding = (ZIP_ALIGNMENT - (size_t)(zip->at + fixed) % ZIP_ALIGNMENT) % ZIP_ALIGNMENT;
    buffer_init(&header, memory);
    snprintf(zip->name, sizeof zip->name, "%s", name);
    zip->begin = zip->at;
    zip->size = 0;
    zip->checksum = 0;
    put(&header, 0x04034B50, 4);
    put_common(&header, zip);
    put(&header, 0, 12);
    put(&header, length, 2);
    put(&header, 4 + padding, 2);
    buffer_text(&header, name);
    buffer_text(&header, "FB");
    put(&header, padding, 2);
    for (size_t i = 0; i < padding; i++)
        buffer_text(&header, "Z");
    zip_flush(zip, &header);
}

static void zip_data(struct zip_writer *zip, const void *bytes, size_t size)
{
    zip->checksum = checksum_update(zip->checksum, bytes, size);
    zip->size += size;
    zip_bytes(zip, bytes, size);
}

static uint64_t clipped(uint64_t value, int wide)
{
    return wide ? ZIP_LIMIT : value;
}

/* The descriptor behind the data, and the entry's place in the directory. */
static void zip_end(struct zip_writer *zip, struct memory *memory)
{
    struct buffer descriptor, *to = &zip->directory;
    int wide_size = zip->zip64 || zip->size >= ZIP_LIMIT;
    int wide_offset = zip->zip64 || zip->begin >= ZIP_LIMIT;
    size_t extra = (wide_size ? 16u : 0u) + (wide_offset ? 8u : 0u);
    buffer_init(&descriptor, memory);
    put(&descriptor, 0x08074B50, 4);
    put(&descriptor, zip->checksum, 4);
    put(&descriptor, zip->size, wide_size ? 8 : 4);
    put(&descriptor, zip->size, wide_size ? 8 : 4);
    zip_flush(zip, &descriptor);
    put(to, 0x02014B50, 4);
    put(to, 45, 2);
    put_common(to, zip);
    put(to, zip->checksum, 4);
    put(to, clipped(zip->size, wide_size), 4);
    put(to, clipped(zip->size, wide_size), 4);
    put(to, strlen(zip->name), 2);
    put(to, extra ? 4 + extra : 0, 2);
    put(to, 0, 10);
    put(to, clipped(zip->begin, wide_offset), 4);
    buffer_text(to, zip->name);
    if (extra) {
        put(to, 1, 2);
        put(to, extra, 2);
    }
    for (int i = 0; i < 2 && wide_size; i++)
        put(to, zip->size, 8);
    if (wide_offset)
        put(to, zip->begin, 8);
    zip->n_entries++;
}

static void zip_finish(struct zip_writer *zip, struct memory *memory)
{
    struct buffer end;
    uint64_t begin = zip->at, size = zip->directory.size;
    int wide = zip->zip64 || begin >= ZIP_LIMIT || zip->n_entries >= 0xFFFF;
    zip_flush(zip, &zip->directory);
    buffer_init(&end, memory);
    if (wide) {
        put(&end, 0x06064B50, 4);
        put(&end, 44, 8);
        put(&end, 45, 2);
        put(&end, 45, 2);
        put(&end, 0, 8);
        put(&end, zip->n_entries, 8);
        put(&end, zip->n_entries, 8);
        put(&end, size, 8);
        put(&end, begin, 8);
        put(&end, 0x07064B50, 4);
        put(&end, 0, 4);
        put(&end, begin + size, 8);
        put(&end, 1, 4);
    }
    put(&end, 0x06054B50, 4);
    put(&end, 0, 4);
    put(&end, wide ? 0xFFFF : zip->n_entries, 2);
    put(&end, wide ? 0xFFFF : zip->n_entries, 2);
    put(&end, wide ? ZIP_LIMIT : size, 4);
    put(&end, wide ? ZIP_LIMIT : begin, 4);
    put(&end, 0, 2);
    zip_flush(zip, &end);
}

static int write_torch_chunk(void *payload, const float *values, size_t n)
{
    struct zip_writer *zip = payload;
    zip_data(zip, values, n * sizeof *values); /* on a little-endian machine */
    return zip->failed ? SN_ERROR_IO : SN_OK;
}

static int write_archive(struct zip_writer *zip, const struct large_model *model, const sn_model *layout,
                         struct memory *memory)
{
    struct buffer pickle;
    int status = SN_OK;
    buffer_init(&pickle, memory);
    pickle_state(&pickle, layout);
    zip->failed |= pickle.failed;
    zip_begin(zip, memory, "final_model/data.pkl");
    zip_data(zip, pickle.bytes, pickle.size);
    zip_end(zip, memory);
    buffer_free(&pickle);
    for (size_t i = 0; i < layout->n_parameters && status == SN_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "final_model/data/%zu", i);
        zip_begin(zip, memory, name);
        status = write_numbers(model, &layout->parameters[i], i, write_torch_chunk, zip);
        zip_end(zip, memory);
    }
    zip_begin(zip, memory, "final_model/version");
    zip_data(zip, "3\n", 2);
    zip_end(zip, memory);
    zip_finish(zip, memory);
    return status;
}

int large_write_torch(const struct large_model *model, sn_context *context, const char *folder,
                      int zip64)
{
    struct zip_writer zip = {.zip64 = zip64};
    sn_model *layout = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, names[1].weights);
    int status = layout_of(&layout, model, context);
    if (status == SN_OK)
        status = write_config(model, folder, names[1].config);
    if (status == SN_OK && !(zip.file = fopen(path, "wb")))
        status = SN_ERROR_IO;
    if (status == SN_OK) {
        buffer_init(&zip.directory, context->memory);
        status = write_archive(&zip, model, layout, context->memory);
        zip.failed |= fclose(zip.file) != 0;
        if (status == SN_OK && zip.failed)
            status = SN_ERROR_IO;
    }
    sn_model_free(layout);
    return status;
}
