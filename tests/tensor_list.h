/* A safetensors file as a list that a test edits before it is written. */
#ifndef SN_TESTS_TENSOR_LIST_H
#define SN_TESTS_TENSOR_LIST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "model/model.h"

struct tensor {
    char name[128];
    enum tensor_type type; /* F32, U16 or U32 */
    uint64_t dimensions[8];
    size_t n_dimensions, count;
    float *floats;
    uint32_t *integers;
};

struct tensor_list {
    struct tensor tensors[96];
    size_t n;
    const char *metadata[8][2];
    size_t n_metadata;
};

static inline struct tensor *list_add(struct tensor_list *list, const char *name, enum tensor_type type,
                                      size_t rows, size_t cols)
{
    ck_assert_uint_lt(list->n, 96);
    struct tensor *tensor = &list->tensors[list->n++];
    memset(tensor, 0, sizeof *tensor);
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->type = type;
    tensor->dimensions[0] = rows;
    tensor->dimensions[1] = cols;
    tensor->n_dimensions = cols ? 2 : 1;
    tensor->count = rows * (cols ? cols : 1);
    tensor->floats = calloc(tensor->count + 1, sizeof *tensor->floats);
    tensor->integers = calloc(tensor->count + 1, sizeof *tensor->integers);
    ck_assert(tensor->floats && tensor->integers);
    return tensor;
}

static inline struct tensor *list_find(struct tensor_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->tensors[i].name, name) == 0)
            return &list->tensors[i];
    ck_abort_msg("no tensor %s in the list", name);
    return NULL;
}

static inline void list_drop(struct tensor_list *list, const char *name)
{
    struct tensor *tensor = list_find(list, name);
    free(tensor->floats);
    free(tensor->integers);
    *tensor = list->tensors[--list->n];
}

static inline void list_free(struct tensor_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->tensors[i].floats);
        free(list->tensors[i].integers);
    }
    memset(list, 0, sizeof *list);
}

/* Share of nonzeros of tensor `index`, in hundredths. */
static inline size_t list_density(size_t index)
{
    static const size_t shares[] = {0, 5, 30, 44, 46, 100};
    return shares[index * 7 / 2 % 6];
}

/* Every tensor of the configuration, with all densities. */
static inline void list_fill(struct tensor_list *list, sn_context *context, const char *json)
{
    struct config config;
    sn_model *model;
    memset(list, 0, sizeof *list);
    ck_assert_int_eq(config_parse(&config, context, json, strlen(json), "test"), SN_OK);
    ck_assert_int_eq(model_allocate(&model, context, &config), SN_OK);
    for (size_t i = 0; i < model->n_parameters; i++) {
        const struct parameter *parameter = &model->parameters[i];
        struct tensor *tensor =
            list_add(list, parameter->name, TENSOR_F32, parameter->rows, parameter->cols);
        for (size_t j = 0; j < tensor->count; j++)
            if (j * 61 % 100 < list_density(i))
                tensor->floats[j] = (float)(i + 1) + (float)j / 1024;
    }
    sn_model_free(model);
}

static inline void list_write(const struct tensor_list *list, sn_context *context, const char *path)
{
    struct safetensors_writer writer;
    ck_assert_int_eq(safetensors_writer_open(&writer, context, path), SN_OK);
    for (size_t i = 0; i < list->n_metadata; i++)
        safetensors_writer_metadata(&writer, list->metadata[i][0], list->metadata[i][1]);
    for (size_t i = 0; i < list->n; i++) {
        const struct tensor *tensor = &list->tensors[i];
        safetensors_writer_declare(&writer, tensor->name, tensor->type, tensor->dimensions,
                                   tensor->n_dimensions);
    }
    int status = safetensors_writer_begin(&writer, context);
    for (size_t i = 0; i < list->n && status == SN_OK; i++) {
        const struct tensor *tensor = &list->tensors[i];
        status = tensor->type == TENSOR_F32
                     ? safetensors_write_floats(&writer, context, tensor->floats, tensor->count)
                     : safetensors_write_indices(&writer, context, tensor->type, tensor->integers,
                                                 tensor->count);
    }
    ck_assert_int_eq(status, SN_OK);
    ck_assert_msg(safetensors_writer_commit(&writer, context) == SN_OK, "%s",
                  sn_context_message(context));
}

#endif
