/* The prompts of a released circuit as a task. The file holds no targets: the caller names them, or the
 * model's own answers stand for them. */
#include "circuit/released.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "circuit/pair_loss.h"

#define PROMPTS_NAME "importances[\"task_samples\"][0]"
#define CHUNK_PAIRS ((size_t)8) /* of one forward */

/* ---- the prompts: a matrix, a row each, or a list of rows; zeros at their ends are padding */

struct prompts {
    const struct torch_tensor *matrix; /* NULL: a list */
    const struct pickle_value *list;
    size_t n;
};

static int find_prompts(struct prompts *prompts, struct released *released)
{
    const struct pickle_value *samples = pickle_find(released->importances, "task_samples");
    size_t n;
    if (!samples)
        return released_fail(released, "importances[\"task_samples\"]", "is missing");
    /* (prompts, activations) */
    if (!torch_tensor_of(samples) && released_is_list(&n, samples) && n)
        samples = samples->as.items.list[0];
    prompts->list = samples;
    prompts->matrix = torch_tensor_of(samples);
    if (!prompts->matrix && !released_is_list(&prompts->n, samples))
        return released_fail(released, PROMPTS_NAME, "is %s; a matrix of tokens was expected",
                             pickle_kind_name(samples));
    if (prompts->matrix && prompts->matrix->n_dimensions != 2)
        return released_fail(released, PROMPTS_NAME,
                             "has %zu dimensions; a matrix of tokens was expected",
                             prompts->matrix->n_dimensions);
    if (prompts->matrix)
        prompts->n = (size_t)prompts->matrix->dimensions[0];
    if (!prompts->n || prompts->n % 2)
        return released_fail(released, PROMPTS_NAME, "has %zu prompts; two halves were expected",
                             prompts->n);
    return SN_OK;
}

/* The row's tokens with their padding, of context->memory. */
static int read_row(int64_t **row, size_t *n, struct released *released, const struct prompts *prompts,
                    size_t index, const char *name)
{
    const struct torch_tensor *matrix = prompts->matrix;
    struct memory *memory = released->context->memory;
    if (!matrix)
        return released_integers(row, n, released, prompts->list->as.items.list[index], name, SIZE_MAX);
    *n = (size_t)matrix->dimensions[1];
    *row = memory_allocate_array(memory, *n, sizeof **row);
    if (!*row)
        return fail_memory(released->context, name, *n * sizeof **row);
    int status =
        torch_read_integers(*row, &released->file, released->context, matrix, name, index * *n, *n);
    if (status != SN_OK) {
        memory_free(memory, *row, *n * sizeof **row);
        *row = NULL;
    }
    return status;
}

static int check_prompt(struct released *released, const int64_t *tokens, size_t n, const char *name)
{
    const struct config *config = &released->model->config;
    if (!n)
        return released_fail(released, name, "is nothing but zeros, which are padding");
    if (n > config->block_size)
        return released_fail(released, name, "has %zu tokens; this model takes %zu", n,
                             config->block_size);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (uint64_t)tokens[i] >= config->vocab_size)
            return released_fail(released, name, "token %zu is %lld; this model knows %zu", i,
                                 (long long)tokens[i], config->vocab_size);
    return SN_OK;
}

/* prompt: block_size tokens. */
static int read_prompt(int32_t *prompt, size_t *n, struct released *released,
                       const struct prompts *prompts, size_t index)
{
    char name[RELEASED_NAME_BYTES];
    int64_t *row = NULL;
    size_t n_row = 0;
    snprintf(name, sizeof name, PROMPTS_NAME "[%zu]", index);
    int status = read_row(&row, &n_row, released, prompts, index, name);
    if (status != SN_OK)
        return status;
    for (*n = n_row; *n && row[*n - 1] == 0;)
        --*n;
    status = check_prompt(released, row, *n, name);
    for (size_t i = 0; i < *n && status == SN_OK; i++)
        prompt[i] = (int32_t)row[i];
    memory_free(released->context->memory, row, n_row * sizeof *row);
    return status;
}

static int add_pairs(struct sn_task *task, struct released *released, const struct prompts *prompts,
                     int32_t target_a, int32_t target_b)
{
    const size_t room = released->model->config.block_size;
    struct memory *memory = released->context->memory;
    int32_t *tokens = memory_allocate_array(memory, room, 2 * sizeof *tokens);
    int status = tokens ? SN_OK : fail_memory(released->context, "prompts", 2 * room * sizeof *tokens);
    for (size_t i = 0; i < prompts->n / 2 && status == SN_OK; i++) {
        size_t n_a, n_b;
        status = read_prompt(tokens, &n_a, released, prompts, i);
        if (status == SN_OK)
            status = read_prompt(tokens + room, &n_b, released, prompts, prompts->n / 2 + i);
        if (status == SN_OK)
            status = sn_task_add_pair(task, released->context, tokens, n_a, tokens + room, n_b, target_a,
                                      target_b);
    }
    memory_free(memory, tokens, 2 * room * sizeof *tokens);
    return status;
}

/* ---- the model's answers */

/* Adds the log probabilities of one prompt's next token. */
static void add_log_probabilities(double *sum, const float *logits, size_t n)
{
    double greatest = (double)logits[0], total = 0;
    for (size_t v = 1; v < n; v++)
        greatest = (double)logits[v] > greatest ? (double)logits[v] : greatest;
    for (size_t v = 0; v < n; v++)
        total += exp((double)logits[v] - greatest);
    for (size_t v = 0; v < n; v++)
        sum[v] += (double)logits[v] - greatest - log(total);
}

/* sums: 2 x vocab_size, prompts A and then B. logits: room for a chunk. */
static int add_answers(double *sums, float *logits, struct released *released,
                       struct sn_session *session, const struct sn_task *task)
{
    const size_t n_words = released->model->config.vocab_size, n_pairs = sn_task_count(task);
    struct pair_batch batch;
    int status = SN_OK;
    pair_batch_init(&batch, released->context->memory);
    for (size_t first = 0; first < n_pairs && status == SN_OK; first += CHUNK_PAIRS) {
        const size_t left = n_pairs - first, n = left < CHUNK_PAIRS ? left : CHUNK_PAIRS;
        status = pair_batch_fill(&batch, released->context, task, NULL, first, n, n_words);
        if (status == SN_OK)
            status = pair_batch_forward(&batch, session);
        if (status == SN_OK)
            status = sn_session_logits(logits, 2 * n * n_words, NULL, session);
        for (size_t i = 0; i < 2 * n && status == SN_OK; i++)
            add_log_probabilities(sums + i % 2 * n_words, logits + i * n_words, n_words);
    }
    pair_batch_free(&batch);
    return status;
}

static int32_t greatest(const double *values, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (values[i] > values[best])
            best = i;
    return (int32_t)best;
}

static int set_targets(struct sn_task *task, struct released *released, const int32_t targets[2])
{
    if (targets[0] == targets[1])
        return fail(
            released->context, SN_ERROR_TARGET,
            "%s: the model answers token %d to both halves of the prompts: the options \"target_a\" "
            "and \"target_b\" must name the targets",
            released->path, (int)targets[0]);
    for (size_t i = 0; i < task->n_pairs; i++) {
        task->pairs[i].target_a = targets[0];
        task->pairs[i].target_b = targets[1];
    }
    return SN_OK;
}

/* wanted: targets that are given, or below 0. */
static int choose_targets(struct sn_task *task, struct released *released, const int32_t wanted[2])
{
    const size_t n_words = released->model->config.vocab_size;
    struct memory *memory = released->context->memory;
    struct sn_session *session = NULL;
    double *sums = memory_allocate_zeroed_array(memory, n_words, 2 * sizeof *sums);
    float *logits = memory_allocate_array(memory, n_words, 2 * CHUNK_PAIRS * sizeof *logits);
    int status = sums && logits ? SN_OK : fail_memory(released->context, "logits", n_words);
    if (status == SN_OK)
        status = session_create(&session, released->context, released->model, GRADIENT_NONE);
    if (status == SN_OK)
        status = add_answers(sums, logits, released, session, task);
    if (status == SN_OK) {
        const int32_t targets[2] = {wanted[0] < 0 ? greatest(sums, n_words) : wanted[0],
                                    wanted[1] < 0 ? greatest(sums + n_words, n_words) : wanted[1]};
        status = set_targets(task, released, targets);
    }
    sn_session_free(session);
    memory_free(memory, logits, n_words * 2 * CHUNK_PAIRS * sizeof *logits);
    memory_free(memory, sums, n_words * 2 * sizeof *sums);
    return status;
}

int released_task(struct sn_task **out, struct released *released, const char *name, int32_t target_a,
                  int32_t target_b)
{
    const int32_t wanted[2] = {target_a, target_b};
    const int are_given = target_a >= 0 && target_b >= 0;
    struct prompts prompts = {0};
    struct sn_task *task = NULL;
    *out = NULL;
    if (released->model->config.vocab_size < 2)
        return fail(released->context, SN_ERROR_ARGUMENT,
                    "sn_circuit_load_released: a model of one token has no tasks");
    int status = find_prompts(&prompts, released);
    if (status == SN_OK)
        status = sn_task_create(&task, released->context, name);
    if (status == SN_OK)
        status = add_pairs(task, released, &prompts, are_given ? target_a : 0, are_given ? target_b : 1);
    if (status == SN_OK && !are_given)
        status = choose_targets(task, released, wanted);
    if (status != SN_OK) {
        sn_task_free(task);
        return status;
    }
    *out = task;
    return SN_OK;
}
