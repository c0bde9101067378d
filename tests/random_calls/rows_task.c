/* Tasks and generated Python. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

static int create(void)
{
    return sn_task_create(SLOT(task, K_TASK), C, text());
}

static int free_task(void)
{
    sn_task_free(play_take(K_TASK));
    return SN_OK;
}

static sn_task *to_grow(void)
{
    sn_task *task = CHANGE(task, K_TASK);
    return task && sn_task_count(task) > 40 ? NULL : task;
}

static int add_pair(void)
{
    const size_t n_a = few(1, 9), n_b = few(1, 9);
    const int32_t target = token(), other = (int32_t)(((uint32_t)target + 1 + draw(3)) & 7);
    return sn_task_add_pair(to_grow(), C, tokens(n_a), n_a, tokens(n_b), n_b, target,
                            odd() ? target : other);
}

static int add_text_pair(void)
{
    return sn_task_add_text_pair(to_grow(), C, TOKENIZER, ONE_OF("f(x", "g(y", "a = (b"),
                                 ONE_OF("[x", "f[y"), ONE_OF(")"), ONE_OF("]"));
}

static int load(void)
{
    return sn_task_load_jsonl(SLOT(task, K_TASK), C, chance(50) ? NULL : TOKENIZER,
                              from_file("task.jsonl"));
}

static int save(void)
{
    return sn_task_save_jsonl(TASK, C, chance(30) ? NULL : TOKENIZER, to_file());
}

static int pair(void)
{
    const int32_t *a = NULL, *b = NULL;
    size_t n_a = 0, n_b = 0;
    int32_t target_a, target_b;
    const int status =
        sn_task_pair(odd() ? NULL : &a, odd() ? NULL : &n_a, odd() ? NULL : &b, odd() ? NULL : &n_b,
                     odd() ? NULL : &target_a, odd() ? NULL : &target_b, TASK, amount(0, 3));
    if (status == SN_OK && a)
        answer_bytes(a, n_a * sizeof *a);
    if (status == SN_OK && b)
        answer_bytes(b, n_b * sizeof *b);
    return status;
}

/* ---------------------------------------------------------------- generated Python */

static int add_idioms(void)
{
    sn_corpus *corpus = CHANGE(corpus, K_CORPUS);
    if (corpus && sn_corpus_count(corpus) > 60)
        corpus = NULL;
    return sn_python_add_idioms(
        corpus, C, few(1, 700),
        settings("seed:i0-9 constructs:=all|for_while|single_double_quote short:i0-1"));
}

static int python_task(void)
{
    const char *name = sn_python_task_name(draw(sn_python_task_count()));
    return sn_python_task(
        SLOT(task, K_TASK), C, TOKENIZER, odd() ? text() : name, few(1, 3),
        settings("max_tokens:i300-400! seed:i0-9 split:=prune|develop|fresh|train min_tokens:i1-30 "
                 "distractor:r0-1"));
}

static int check_fresh(void)
{
    size_t *n = odd() ? NULL : block(sizeof *n);
    return sn_python_check_fresh(n, C, TOKENIZER, (const sn_task *)play_own(O_FRESH, K_TASK), TEXTS);
}

static int quote_lines(void)
{
    return sn_python_quote_lines(SLOT(task, K_TASK), C, TOKENIZER, SOURCE,
                                 chance(50) ? ")" : ONE_OF(")", "", "),", "]"), few(1, 3),
                                 settings("min_tokens:i1-2! seed:i0-9 max_tokens:i50-120 context:i0-1"));
}

#define ROWS(X)                                                                                         \
    X(sn_task_create, CHEAP, create())                                                                  \
    X(sn_task_free, CHEAP, free_task())                                                                 \
    X(sn_task_name, CHEAP, answer_text(sn_task_name(TASK)))                                             \
    X(sn_task_add_pair, CHEAP, add_pair())                                                              \
    X(sn_task_add_text_pair, CHEAP, add_text_pair())                                                    \
    X(sn_task_load_jsonl, FAIR, load())                                                                 \
    X(sn_task_save_jsonl, FAIR, save())                                                                 \
    X(sn_task_count, CHEAP, answer_number((double)sn_task_count(TASK)))                                 \
    X(sn_task_pair, CHEAP, pair())                                                                      \
    X(sn_python_add_idioms, FAIR, add_idioms())                                                         \
    X(sn_python_task_count, FAIR, answer_number((double)sn_python_task_count()))                        \
    X(sn_python_task_name, FAIR, answer_text(sn_python_task_name(amount(0, 19))))                       \
    X(sn_python_required_tokens, FAIR, answer_text(sn_python_required_tokens()))                        \
    X(sn_python_task, DEAR, python_task())                                                              \
    X(sn_python_check_fresh, FAIR, check_fresh())                                                       \
    X(sn_python_quote_lines, FAIR, quote_lines())

DEFINE_ROWS(rows_task, ROWS)
