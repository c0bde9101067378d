/* What the targets of a task are in the tokenizer in use. A tokenizer may glue a newline to punctuation in
 * front of it or leave it alone, so that the bracket that closes a list is "]" and a newline in one token or
 * in two: a row of the table names both forms, and the one counts that the tokenizer writes. */
#include <string.h>

#include "python/candidate.h"

static int encode(struct token_list *list, const struct maker *maker, const char *text, size_t length)
{
    struct memory *memory = maker->context->memory;
    size_t n;
    int status = sn_tokenizer_encode(list->tokens, list->capacity, &n, maker->context, maker->tokenizer,
                                     text, length);
    if (status == SN_ERROR_CAPACITY || (status == SN_OK && n > list->capacity)) {
        size_t size = sizeof *list->tokens;
        int32_t *grown = memory_resize(memory, list->tokens, list->capacity * size, 2 * n * size);
        if (!grown)
            return fail_memory(maker->context, "the tokens of a prompt", 2 * n * size);
        list->tokens = grown;
        list->capacity = 2 * n;
        status = sn_tokenizer_encode(grown, list->capacity, &n, maker->context, maker->tokenizer, text,
                                     length);
    }
    list->n_tokens = n;
    return status;
}

static int is_token(const struct maker *maker, const char *text)
{
    return sn_tokenizer_find(maker->tokenizer, text, strlen(text)) >= 0;
}

int form_is_possible(const struct maker *maker, const struct target_form *form)
{
    return maker->row->copies_name ||
           (is_token(maker, form->targets[0]) && is_token(maker, form->targets[1]));
}

/* The target of one side is the token after the prompt's, and the prompt's tokens are what they are
 * without it. *right: so it is. */
static int judge_side(int *right, struct candidate *candidate, struct token_list *whole,
                      const struct maker *maker, int side)
{
    struct token_list *prompt = &candidate->tokens[side];
    struct buffer text;
    const char *rest = candidate->continuation[side].bytes + strlen(maker->form->before);
    buffer_init(&text, maker->context->memory);
    buffer_append(&text, candidate->prompt[side].bytes, candidate->prompt[side].size);
    buffer_text(&text, rest);
    int status = text.failed ? fail_memory(maker->context, "a prompt", text.capacity) : SN_OK;
    if (status == SN_OK)
        status = encode(prompt, maker, candidate->prompt[side].bytes, candidate->prompt[side].size);
    if (status == SN_OK)
        status = encode(whole, maker, text.bytes, text.size);
    buffer_free(&text);
    if (status != SN_OK)
        return status;
    const char *target = maker->form->targets[side];
    size_t n = prompt->n_tokens;
    *right =
        whole->n_tokens > n && memcmp(whole->tokens, prompt->tokens, n * sizeof *whole->tokens) == 0;
    candidate->targets[side] = *right ? whole->tokens[n] : -1;
    if (!maker->row->copies_name)
        *right &=
            candidate->targets[side] == sn_tokenizer_find(maker->tokenizer, target, strlen(target));
    return SN_OK;
}

int candidate_judge(enum verdict *verdict, struct candidate *candidate, const struct maker *maker)
{
    struct token_list whole = {0};
    int status = SN_OK, right[2] = {0, 0};
    for (int side = 0; side < 2 && status == SN_OK; side++)
        status = judge_side(&right[side], candidate, &whole, maker, side);
    memory_free(maker->context->memory, whole.tokens, whole.capacity * sizeof *whole.tokens);
    candidate->wrong_side = right[0] ? SIDE_B : SIDE_A;
    *verdict = right[0] && right[1] && candidate->targets[0] != candidate->targets[1] ? CANDIDATE_FITS
                                                                                      : CANDIDATE_TARGET;
    return status;
}

/* Appends bytes in quotation marks, newlines as \n. */
static void append_quoted(struct buffer *out, const char *bytes, size_t length)
{
    buffer_text(out, "\"");
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\n')
            buffer_text(out, "\\n");
        else
            buffer_append(out, bytes + i, 1);
    }
    buffer_text(out, "\"");
}

static int append_tokens(struct buffer *out, const struct maker *maker, const char *text)
{
    struct token_list list = {0};
    int status = encode(&list, maker, text, strlen(text));
    for (size_t i = 0; status == SN_OK && i < list.n_tokens; i++) {
        size_t length;
        const char *bytes = sn_tokenizer_token(&length, maker->tokenizer, list.tokens[i]);
        buffer_text(out, " ");
        append_quoted(out, bytes, length);
    }
    memory_free(maker->context->memory, list.tokens, list.capacity * sizeof *list.tokens);
    return status;
}

int refuse_targets(const struct maker *maker)
{
    const char *name = maker->row->name;
    if (maker->row->copies_name)
        return fail(maker->context, SN_ERROR_ARGUMENT,
                    "sn_python_task: task %s: this tokenizer does not tell names apart by their first "
                    "token",
                    name);
    const char *const *targets = maker->row->forms[0].targets, *target = targets[maker->wrong_side];
    for (int side = 1; side >= 0; side--)
        target = is_token(maker, targets[side]) ? target : targets[side];
    struct buffer text;
    buffer_init(&text, maker->context->memory);
    append_quoted(&text, target, strlen(target));
    buffer_text(&text, is_token(maker, target)
                           ? " is not what this tokenizer writes after a prompt; alone it is"
                           : " is no single token but");
    int status = append_tokens(&text, maker, target);
    if (status == SN_OK)
        status = text.failed ? fail_memory(maker->context, "a message", text.capacity)
                             : fail(maker->context, SN_ERROR_ARGUMENT,
                                    "sn_python_task: task %s: target %s", name, text.bytes);
    buffer_free(&text);
    return status;
}
