#include "circuit/task.h"

#include <string.h>

#include "base/buffer.h"
#include "base/context.h"

int sn_task_create(sn_task **out, sn_context *context, const char *name)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!name)
        return fail(context, SN_ERROR_ARGUMENT, "sn_task_create: name is NULL");
    sn_task *task = memory_allocate_zeroed(context->memory, sizeof *task);
    if (!task)
        return fail_memory(context, "a task", sizeof *task);
    task->name = memory_copy_text(context->memory, name, strlen(name));
    if (!task->name) {
        memory_free(context->memory, task, sizeof *task);
        return fail_memory(context, "a task's name", strlen(name) + 1);
    }
    task->memory = memory_retain(context->memory);
    *out = task;
    return SN_OK;
}

void sn_task_free(sn_task *task)
{
    if (!task)
        return;
    struct memory *memory = task->memory;
    memory_free(memory, task->name, strlen(task->name) + 1);
    memory_free(memory, task->tokens, task->token_capacity * sizeof *task->tokens);
    memory_free(memory, task->pairs, task->pair_capacity * sizeof *task->pairs);
    memory_free(memory, task, sizeof *task);
    memory_release(memory);
}

const char *sn_task_name(const sn_task *task)
{
    return task ? task->name : NULL;
}

size_t sn_task_count(const sn_task *task)
{
    return task ? task->n_pairs : 0;
}

/* Grows an array to hold `needed` elements, at least doubling it. 1 on success; on failure the old
 * array stands. */
static int reserve(struct memory *memory, void **items, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity)
        return 1;
    size_t larger = *capacity > needed / 2 ? 2 * *capacity : needed + 16, bytes;
    if (!size_product(&bytes, larger, size))
        return 0;
    void *grown = memory_resize(memory, *items, *capacity * size, bytes);
    if (!grown)
        return 0;
    *items = grown;
    *capacity = larger;
    return 1;
}

static int check_pair(sn_context *context, const int32_t *prompt_a, size_t n_a, const int32_t *prompt_b,
                      size_t n_b, int32_t target_a, int32_t target_b)
{
    if (!prompt_a || !prompt_b)
        return fail(context, SN_ERROR_ARGUMENT, "sn_task_add_pair: %s is NULL",
                    prompt_a ? "prompt_b" : "prompt_a");
    if (!n_a || !n_b)
        return fail(context, SN_ERROR_ARGUMENT, "sn_task_add_pair: prompt %s is empty", n_a ? "B" : "A");
    if (target_a < 0 || target_b < 0 || target_a == target_b)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_task_add_pair: targets %d and %d must be two different tokens", (int)target_a,
                    (int)target_b);
    for (size_t i = 0; i < n_a + n_b; i++) {
        int32_t token = i < n_a ? prompt_a[i] : prompt_b[i - n_a];
        if (token < 0)
            return fail(context, SN_ERROR_ARGUMENT, "sn_task_add_pair: token %zu of prompt %s is %d",
                        i < n_a ? i : i - n_a, i < n_a ? "A" : "B", (int)token);
    }
    return SN_OK;
}

int sn_task_add_pair(sn_task *task, sn_context *context, const int32_t *prompt_a, size_t n_a,
                     const int32_t *prompt_b, size_t n_b, int32_t target_a, int32_t target_b)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!task)
        return fail(context, SN_ERROR_ARGUMENT, "sn_task_add_pair: task is NULL");
    int status = check_pair(context, prompt_a, n_a, prompt_b, n_b, target_a, target_b);
    if (status != SN_OK)
        return status;
    size_t tokens = task->n_tokens + n_a + n_b;
    if (!reserve(task->memory, (void **)&task->tokens, &task->token_capacity, tokens,
                 sizeof *task->tokens) ||
        !reserve(task->memory, (void **)&task->pairs, &task->pair_capacity, task->n_pairs + 1,
                 sizeof *task->pairs))
        return fail_memory(context, "a pair of prompts", (n_a + n_b) * sizeof *task->tokens);
    memcpy(task->tokens + task->n_tokens, prompt_a, n_a * sizeof *prompt_a);
    memcpy(task->tokens + task->n_tokens + n_a, prompt_b, n_b * sizeof *prompt_b);
    task->pairs[task->n_pairs++] = (struct task_pair){
        .start = task->n_tokens, .n_a = n_a, .n_b = n_b, .target_a = target_a, .target_b = target_b};
    task->n_tokens = tokens;
    return SN_OK;
}

/* ------------------------------------------------------------ pairs of text */

struct token_array {
    int32_t *tokens;
    size_t n_tokens, capacity;
};

static int encode(struct token_array *out, sn_context *context, const sn_tokenizer *tokenizer,
                  const char *text, size_t length)
{
    int status = sn_tokenizer_encode(NULL, 0, &out->n_tokens, context, tokenizer, text, length);
    if (status != SN_OK)
        return status;
    out->tokens = memory_allocate_array(context->memory, out->n_tokens, sizeof *out->tokens);
    if (!out->tokens)
        return fail_memory(context, "the tokens of a prompt", out->n_tokens * sizeof *out->tokens);
    out->capacity = out->n_tokens;
    return sn_tokenizer_encode(out->tokens, out->capacity, &out->n_tokens, context, tokenizer, text,
                               length);
}

static void free_tokens(struct memory *memory, struct token_array *tokens)
{
    memory_free(memory, tokens->tokens, tokens->capacity * sizeof *tokens->tokens);
}

/* A target in printable form for messages: newlines as \n. `size` bytes at `out`. */
static const char *printable(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 3 < size; text++) {
        if (*text == '\n') {
            out[n++] = '\\';
            out[n++] = 'n';
        } else
            out[n++] = *text;
    }
    out[n] = '\0';
    return out;
}

/* Encodes prompt and target together and demands that the target is one token at the end. The prompt's
 * tokens are left in `out` (its n_tokens without the target). */
static int encode_side(struct token_array *out, int32_t *target_token, sn_context *context,
                       const sn_tokenizer *tokenizer, const char *prompt, const char *target)
{
    char shown[64];
    size_t length = strlen(target);
    struct token_array alone = {0};
    struct buffer text;
    buffer_init(&text, context->memory);
    buffer_text(&text, prompt);
    buffer_text(&text, target);
    int status = text.failed ? fail_memory(context, "a prompt", strlen(prompt) + length) : SN_OK;
    if (status == SN_OK)
        status = encode(out, context, tokenizer, text.bytes, text.size);
    if (status == SN_OK)
        status = encode(&alone, context, tokenizer, prompt, strlen(prompt));
    if (status == SN_OK && (*target_token = sn_tokenizer_find(tokenizer, target, length)) < 0)
        status =
            fail(context, SN_ERROR_ARGUMENT, "sn_task_add_text_pair: target \"%s\" is no single token",
                 printable(shown, sizeof shown, target));
    if (status == SN_OK &&
        (out->n_tokens != alone.n_tokens + 1 || out->tokens[alone.n_tokens] != *target_token ||
         memcmp(out->tokens, alone.tokens, alone.n_tokens * sizeof *alone.tokens) != 0))
        status = fail(context, SN_ERROR_ARGUMENT,
                      "sn_task_add_text_pair: target \"%s\" is not the token that follows its prompt",
                      printable(shown, sizeof shown, target));
    out->n_tokens = alone.n_tokens;
    free_tokens(context->memory, &alone);
    buffer_free(&text);
    return status;
}

int sn_task_add_text_pair(sn_task *task, sn_context *context, const sn_tokenizer *tokenizer,
                          const char *prompt_a, const char *prompt_b, const char *target_a,
                          const char *target_b)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!task || !tokenizer || !prompt_a || !prompt_b || !target_a || !target_b)
        return fail(context, SN_ERROR_ARGUMENT, "sn_task_add_text_pair: an argument is NULL");
    struct token_array a = {0}, b = {0};
    int32_t token_a = -1, token_b = -1;
    int status = encode_side(&a, &token_a, context, tokenizer, prompt_a, target_a);
    if (status == SN_OK)
        status = encode_side(&b, &token_b, context, tokenizer, prompt_b, target_b);
    if (status == SN_OK)
        status = sn_task_add_pair(task, context, a.tokens, a.n_tokens, b.tokens, b.n_tokens, token_a,
                                  token_b);
    free_tokens(context->memory, &a);
    free_tokens(context->memory, &b);
    return status;
}

int sn_task_pair(const int32_t **prompt_a, size_t *n_a, const int32_t **prompt_b, size_t *n_b,
                 int32_t *target_a, int32_t *target_b, const sn_task *task, size_t index)
{
    if (!task || index >= task->n_pairs)
        return SN_ERROR_ARGUMENT;
    const struct task_pair *pair = &task->pairs[index];
    if (prompt_a)
        *prompt_a = task_prompt_a(task, index);
    if (n_a)
        *n_a = pair->n_a;
    if (prompt_b)
        *prompt_b = task_prompt_b(task, index);
    if (n_b)
        *n_b = pair->n_b;
    if (target_a)
        *target_a = pair->target_a;
    if (target_b)
        *target_b = pair->target_b;
    return SN_OK;
}
