/* task_text N: for tests/task_syntax.py. Of every task and split N pairs, each side with its continuation,
 * and some documents of idioms; each text ends in a NUL, its first line says what it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python/constructs.h"
#include "sparsenet.h"

#define MAX_TEXT 8192

static sn_context *context;
static sn_tokenizer *tokenizer;

static void check(int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "task_text: %s\n", sn_context_message(context));
    exit(1);
}

/* What comes after the target in the table; behind the first token of a name, the rest of some name. */
static const char *rest_of(const struct task_row *row, int side)
{
    const struct target_form *form = &row->forms[0];
    return row->copies_name
               ? "x\n"
               : row->continuations[side] + strlen(form->before) + strlen(form->targets[side]);
}

static void print_side(const struct task_row *row, const char *split, const int32_t *tokens, size_t n,
                       int32_t target, int side)
{
    char text[MAX_TEXT];
    size_t length, n_target;
    const char *bytes = sn_tokenizer_token(&n_target, tokenizer, target);
    check(sn_tokenizer_decode(text, sizeof text, &length, context, tokenizer, tokens, n));
    printf("# %s, %s, side %c\n%.*s%.*s%s", row->name, split, "AB"[side], (int)length, text,
           (int)n_target, bytes, rest_of(row, side));
    putchar('\0');
}

static void print_task(const struct task_row *row, const char *split, size_t n_pairs)
{
    sn_task *task;
    sn_options *options;
    check(sn_options_create(&options, context));
    check(sn_options_set_text(options, context, "split", split));
    check(sn_python_task(&task, context, tokenizer, row->name, n_pairs, options));
    for (size_t i = 0; i < n_pairs; i++) {
        const int32_t *tokens[2];
        int32_t targets[2];
        size_t n[2];
        check(sn_task_pair(&tokens[0], &n[0], &tokens[1], &n[1], &targets[0], &targets[1], task, i));
        for (int side = 0; side < 2; side++)
            print_side(row, split, tokens[side], n[side], targets[side], side);
    }
    sn_task_free(task);
    sn_options_free(options);
}

int main(int n_arguments, char **arguments)
{
    static const char *const splits[] = {"prune", "develop", "fresh", "train"};
    sn_corpus *idioms;
    sn_options *options;
    size_t n_pairs = n_arguments > 1 ? strtoul(arguments[1], NULL, 10) : 0;
    if (!n_pairs || sn_context_create(&context, NULL) != SN_OK)
        return fprintf(stderr, "usage: task_text N\n"), 2;
    check(sn_corpus_create(&idioms, context));
    check(sn_python_add_idioms(idioms, context, 300000, NULL));
    check(sn_options_create(&options, context));
    check(sn_options_set_text(options, context, "required", sn_python_required_tokens()));
    check(sn_tokenizer_train(&tokenizer, context, idioms, 768, options));
    for (size_t i = 0; i < N_CONSTRUCTS; i++)
        for (size_t s = 0; s < 4; s++)
            print_task(&TASK_ROWS[i], splits[s], n_pairs);
    for (size_t i = 0, length; i < sn_corpus_count(idioms); i++) {
        const char *text = sn_corpus_text(&length, idioms, i);
        printf("# document %zu\n%.*s", i, (int)length, text);
        putchar('\0');
    }
    sn_options_free(options);
    sn_corpus_free(idioms);
    sn_tokenizer_free(tokenizer);
    sn_context_free(context);
    return 0;
}
