#include "texts.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#define VOCABULARY 768
#define IDIOM_BYTES 6e6
#define DRILL_BYTES 4e5 /* of each construct */
#define HELD_OUT_BYTES 5e5
#define PYTHON_LIBRARY "/usr/lib/python3.11"
#define MODULE_BYTES 200000   /* longer ones are left out: mostly tables */
#define N_TRAINING_PAIRS 1500 /* of each split */
#define PROMPT_BYTES 4096
#define TRAINING_SEED 50000 /* other pairs than those that circuits are found on */
#define N_DRAWS 8
#define N_FRESH_PAIRS 200
#define FRESH_SEED 7300000 /* of no pairs that anything was chosen on */

static sn_corpus *idioms(sn_context *context, double bytes, unsigned seed, const char *construct)
{
    sn_corpus *corpus;
    sn_options *how = options(context);
    check(context, sn_corpus_create(&corpus, context));
    set(context, how, "seed", seed);
    if (construct) {
        set_text(context, how, "constructs", construct);
        set(context, how, "short", 1);
    }
    check(context, sn_python_add_idioms(corpus, context, (size_t)bytes, how));
    sn_options_free(how);
    return corpus;
}

/* The modules at the top of the Python library: which packages lie below depends on what is installed. */
static void add_python_library(sn_corpus *real, sn_context *context)
{
    glob_t modules;
    if (glob(PYTHON_LIBRARY "/[a-z]*.py", 0, NULL, &modules) != 0)
        stop("no Python source (--source names a folder of it) in", PYTHON_LIBRARY);
    static char text[MODULE_BYTES];
    for (size_t i = 0; i < modules.gl_pathc; i++) {
        FILE *file = fopen(modules.gl_pathv[i], "rb");
        size_t length = file ? fread(text, 1, sizeof text, file) : 0;
        if (length > 0 && length < sizeof text)
            check(context, sn_corpus_add_text(real, context, text, length));
        if (file)
            fclose(file);
    }
    globfree(&modules);
}

static void read_source(struct texts *texts, const struct setup *setup, sn_context *context)
{
    check(context, sn_corpus_create(&texts->real, context));
    if (setup->source)
        check(context, sn_corpus_add_directory(texts->real, context, setup->source, ".py", MODULE_BYTES,
                                               8000000));
    else
        add_python_library(texts->real, context);
    check(context, sn_corpus_split(&texts->held_out_real, texts->real, context, 0.1, 1));
}

/* Adds about `bytes` of one corpus' documents to another. */
static void add_some(sn_corpus *to, sn_context *context, const sn_corpus *from, size_t bytes)
{
    for (size_t i = 0, total = 0, length; total < bytes && i < sn_corpus_count(from); i++) {
        const char *text = sn_corpus_text(&length, from, i);
        check(context, sn_corpus_add_text(to, context, text, length));
        total += length;
    }
}

static void train_tokenizer(struct texts *texts, sn_context *context, const char *path)
{
    sn_corpus *sample;
    sn_options *how = options(context);
    check(context, sn_corpus_create(&sample, context));
    add_some(sample, context, texts->idioms, 1500000);
    add_some(sample, context, texts->real, 1000000);
    set_text(context, how, "required", sn_python_required_tokens());
    check(context, sn_tokenizer_train(&texts->tokenizer, context, sample, VOCABULARY, how));
    check(context, sn_tokenizer_save(texts->tokenizer, context, path));
    sn_options_free(how);
    sn_corpus_free(sample);
}

static void find_tokenizer(struct texts *texts, const struct setup *setup, sn_context *context)
{
    char path[PATH_CAPACITY], last_file[PATH_CAPACITY];
    make_path(path, setup, "tokenizer", "");
    make_path(last_file, setup, "tokenizer/vocab", ".bpe");
    if (file_exists(last_file))
        check(context, sn_tokenizer_load(&texts->tokenizer, context, path));
    else
        train_tokenizer(texts, context, path);
}

static void add_prompt(const struct texts *texts, sn_context *context, const int32_t *prompt, size_t n)
{
    char text[PROMPT_BYTES];
    size_t length;
    check(context,
          sn_tokenizer_decode(text, sizeof text, &length, context, texts->tokenizer, prompt, n));
    check(context, sn_corpus_add_text(texts->prompts, context, text, length));
}

/* Adds the pairs of a split to those that a task is learnt from. */
static void add_pairs(struct texts *texts, sn_context *context, size_t index, const char *split)
{
    sn_task *pairs =
        texts_task(texts, context, index, split, N_TRAINING_PAIRS, TRAINING_SEED + (unsigned)index);
    for (size_t p = 0; p < sn_task_count(pairs); p++) {
        const int32_t *a, *b;
        size_t n_a, n_b;
        int32_t target_a, target_b;
        (void)sn_task_pair(&a, &n_a, &b, &n_b, &target_a, &target_b, pairs, p);
        check(context,
              sn_task_add_pair(texts->pairs[index], context, a, n_a, b, n_b, target_a, target_b));
        add_prompt(texts, context, a, n_a);
        add_prompt(texts, context, b, n_b);
    }
    sn_task_free(pairs);
}

static void make_pairs(struct texts *texts, sn_context *context)
{
    check(context, sn_corpus_create(&texts->prompts, context));
    for (size_t i = 0; i < texts->n_tasks; i++) {
        check(context, sn_task_create(&texts->pairs[i], context, sn_python_task_name(i)));
        add_pairs(texts, context, i, "prune");
        add_pairs(texts, context, i, "train");
    }
}

void texts_make(struct texts *texts, const struct setup *setup, sn_context *context)
{
    *texts = (struct texts){.n_tasks = sn_python_task_count()};
    texts->idioms = idioms(context, IDIOM_BYTES, 1, NULL);
    texts->held_out_idioms = idioms(context, HELD_OUT_BYTES, 2, NULL);
    for (size_t i = 0; i < texts->n_tasks; i++)
        texts->drill[i] = idioms(context, DRILL_BYTES, 10 + (unsigned)i, sn_python_task_name(i));
    read_source(texts, setup, context);
    find_tokenizer(texts, setup, context);
    sn_corpus *const whole[] = {texts->idioms, texts->real, texts->held_out_idioms,
                                texts->held_out_real};
    for (size_t i = 0; i < 4; i++)
        check(context, sn_corpus_tokenize(whole[i], context, texts->tokenizer));
    for (size_t i = 0; i < texts->n_tasks; i++) {
        check(context, sn_corpus_tokenize(texts->drill[i], context, texts->tokenizer));
    }
    make_pairs(texts, context);
    say(setup, "text: %.1fM tokens of idioms, %.1fM of real source, %zu drills",
        1e-6 * (double)sn_corpus_token_count(texts->idioms),
        1e-6 * (double)sn_corpus_token_count(texts->real), texts->n_tasks);
}

void texts_free(struct texts *texts)
{
    sn_tokenizer_free(texts->tokenizer);
    sn_corpus_free(texts->idioms);
    sn_corpus_free(texts->real);
    sn_corpus_free(texts->held_out_idioms);
    sn_corpus_free(texts->held_out_real);
    sn_corpus_free(texts->prompts);
    for (size_t i = 0; i < texts->n_tasks; i++) {
        sn_corpus_free(texts->drill[i]);
        sn_task_free(texts->pairs[i]);
    }
}

sn_task *texts_task(const struct texts *texts, sn_context *context, size_t index, const char *split,
                    size_t n_pairs, unsigned seed)
{
    sn_task *task;
    sn_options *how = options(context);
    set(context, how, "seed", seed);
    set_text(context, how, "split", split);
    check(context,
          sn_python_task(&task, context, texts->tokenizer, sn_python_task_name(index), n_pairs, how));
    sn_options_free(how);
    return task;
}

static int is_fresh(const struct texts *texts, sn_context *context, const sn_task *task)
{
    if (sn_python_check_fresh(NULL, context, texts->tokenizer, task, texts->idioms) != SN_OK ||
        sn_python_check_fresh(NULL, context, texts->tokenizer, task, texts->real) != SN_OK ||
        sn_python_check_fresh(NULL, context, texts->tokenizer, task, texts->prompts) != SN_OK)
        return 0;
    for (size_t i = 0; i < texts->n_tasks; i++)
        if (sn_python_check_fresh(NULL, context, texts->tokenizer, task, texts->drill[i]) != SN_OK)
            return 0;
    return 1;
}

/* Draws anew until no word is known. */
static sn_task *draw_fresh(const struct texts *texts, sn_context *context, size_t index)
{
    for (unsigned draw = 0; draw < N_DRAWS; draw++) {
        sn_task *task = texts_task(texts, context, index, "fresh", N_FRESH_PAIRS, FRESH_SEED + draw);
        if (is_fresh(texts, context, task))
            return task;
        sn_task_free(task);
    }
    fprintf(stderr, "reproduce: every draw of fresh %s pairs shares a word with the training text: %s\n",
            sn_python_task_name(index), sn_context_message(context));
    exit(1);
}

static void fresh_path(char path[PATH_CAPACITY], const struct setup *setup, size_t index)
{
    char name[96];
    snprintf(name, sizeof name, "fresh/%s", sn_python_task_name(index));
    make_path(path, setup, name, ".jsonl");
}

sn_task *texts_fresh_task(const struct texts *texts, const struct setup *setup, sn_context *context,
                          size_t index)
{
    char path[PATH_CAPACITY];
    sn_task *task;
    fresh_path(path, setup, index);
    if (file_exists(path)) {
        check(context, sn_task_load_jsonl(&task, context, texts->tokenizer, path));
        return task;
    }
    task = draw_fresh(texts, context, index);
    check(context, sn_task_save_jsonl(task, context, texts->tokenizer, path));
    return task;
}

void texts_make_fresh(const struct texts *texts, const struct setup *setup, sn_context *context)
{
    char path[PATH_CAPACITY];
    make_path(path, setup, "fresh", "");
    make_directory(path);
    for (size_t i = 0; i < texts->n_tasks; i++)
        sn_task_free(texts_fresh_task(texts, setup, context, i));
    say(setup, "fresh pairs: none of their words occurs in the training text");
}
