/* How the objects of a world are made: tiny, by the public interface as far as it goes, the same each
 * time. */
#include "world_objects.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "planted.h"

const int32_t world_tokens[7] = {1, 0, 6, 3, 2, 7, 3};
const size_t world_offsets[3] = {0, 4, 7};

const char world_source[] = "def main(path):\n"
                            "    print('plain text')\n"
                            "    log(path, \"double text\")\n"
                            "    print('first', 'second part')\n"
                            "    value = 'bare end'\n";

/* ----------------------------------------------------------------- text */

static void *make_context(struct world *w)
{
    sn_context *context;
    ck_assert_int_eq(sn_context_create(&context, &w->allocator), SN_OK);
    return context;
}

static void *make_tokenizer(struct world *w)
{
    sn_tokenizer *tokenizer;
    world_must(w, sn_tokenizer_load(&tokenizer, w->context, world_input("tokenizer")));
    return tokenizer;
}

static sn_corpus *make_corpus(struct world *w, const char *text, size_t n)
{
    sn_corpus *corpus;
    world_must(w, sn_corpus_create(&corpus, w->context));
    for (size_t i = 0; i < n; i++)
        world_must(w, sn_corpus_add_text(corpus, w->context, text, strlen(text)));
    return corpus;
}

static void *make_raw(struct world *w)
{
    return make_corpus(w, "a = 1\nb = 2\n", 3);
}

static void *make_texts(struct world *w)
{
    sn_corpus *corpus = make_corpus(w, "for i in x:\n    a = 1\n", 3);
    world_must(w, sn_corpus_tokenize(corpus, w->context, THE(sn_tokenizer, O_TOKENIZER)));
    return corpus;
}

static void *make_source(struct world *w)
{
    return make_corpus(w, world_source, 1);
}

static void *make_tokens(struct world *w)
{
    return planted_corpus(w->context);
}

static void digest_tokenizer(struct world *w, void *object)
{
    for (size_t i = 0; i < sn_tokenizer_size(object); i++) {
        size_t length = 0;
        const char *bytes = sn_tokenizer_token(&length, object, (int32_t)i);
        mix(&w->hash, &length, sizeof length);
        mix(&w->hash, bytes, length);
    }
}

static void digest_corpus(struct world *w, void *object)
{
    for (size_t i = 0; i < sn_corpus_count(object); i++) {
        size_t n_text = 0, n_tokens = 0;
        const char *text = sn_corpus_text(&n_text, object, i);
        const int32_t *tokens = sn_corpus_tokens(&n_tokens, object, i);
        mix(&w->hash, text, text ? n_text : 0);
        mix_text(&w->hash, text ? "" : NULL);
        mix(&w->hash, tokens, tokens ? n_tokens * sizeof *tokens : 0);
        mix_text(&w->hash, tokens ? "" : NULL);
    }
}

/* --------------------------------------------------------------- models */

static void *make_tensors(struct world *w)
{
    static const float values[6] = {1, -2, 3, 0, 5, 0.25f};
    static const size_t shape[2] = {2, 3};
    sn_tensors *tensors;
    world_must(w, sn_tensors_create(&tensors, w->context));
    world_must(w, sn_tensors_add(tensors, w->context, "a", shape, 2, values));
    return tensors;
}

static void digest_tensors(struct world *w, void *object)
{
    for (size_t i = 0; i < sn_tensors_count(object); i++) {
        const size_t *shape;
        size_t n_dimensions, n = 1;
        const char *name = sn_tensors_name(object, i);
        const float *values = sn_tensors_values(&shape, &n_dimensions, object, name);
        for (size_t d = 0; d < n_dimensions; d++)
            n *= shape[d];
        mix_text(&w->hash, name);
        mix(&w->hash, shape, n_dimensions * sizeof *shape);
        mix(&w->hash, values, n * sizeof *values);
    }
}

static void *make_matrix(struct world *w)
{
    static const size_t indptr[4] = {0, 2, 3, 5};
    static const uint32_t indices[5] = {0, 2, 1, 0, 3};
    static const float values[5] = {1, 2, -3, 4, 0.5f};
    sn_matrix *matrix;
    world_must(w, sn_matrix_create_csr(&matrix, w->context, 3, 4, indptr, indices, values));
    return matrix;
}

static void digest_matrix(struct world *w, void *object)
{
    float x[16] = {0}, y[64] = {0};
    size_t sizes[3] = {sn_matrix_rows(object), sn_matrix_cols(object), sn_matrix_support(object)};
    mix(&w->hash, sizes, sizeof sizes);
    for (size_t i = 0; i < sizes[1] && i < 4; i++)
        x[i * sizes[1] + i] = 1;
    world_must(w, sn_matrix_multiply(y, w->context, object, x, sizes[1]));
    mix(&w->hash, y, sizeof y);
}

static void *make_model(struct world *w)
{
    return planted_model(w->context, 1);
}

static void digest_model(struct world *w, void *object)
{
    static float values[65536];
    mix_text(&w->hash, sn_model_config_json(object));
    for (size_t i = 0; i < sn_model_tensor_count(object); i++) {
        size_t sizes[4] = {0};
        int sparse;
        const char *name = sn_model_tensor_name(object, i);
        world_must(w, sn_model_tensor_info(&sizes[0], &sizes[1], &sizes[2], &sparse, object, i));
        world_must(w, sn_model_tensor(values, 65536, &sizes[3], w->context, object, name));
        mix_text(&w->hash, name);
        mix(&w->hash, sizes, sizeof sizes);
        mix(&w->hash, values, sizes[3] * sizeof *values);
    }
}

/* ------------------------------------------------------------- sessions */

static sn_session *make_session_with(struct world *w, const char *gradients)
{
    sn_options *options;
    sn_session *session;
    world_must(w, sn_options_create(&options, w->context));
    world_must(w, sn_options_set_text(options, w->context, "gradients", gradients));
    world_must(w, sn_session_create(&session, w->context, THE(sn_model, O_MODEL), options));
    sn_options_free(options);
    return session;
}

static void *make_session(struct world *w)
{
    return make_session_with(w, "support");
}

static void *make_run(struct world *w)
{
    sn_session *session = make_session_with(w, "support");
    world_must(w, sn_session_record(session, WORLD_SITE));
    world_must(w, sn_session_forward(session, world_tokens, world_offsets, 2));
    return session;
}

static void *make_back(struct world *w)
{
    sn_session *session = make_run(w);
    world_must(w, sn_session_backward(session, world_tokens));
    return session;
}

typedef int (*session_reader)(float *values, size_t capacity, size_t *needed, sn_session *session);

static int read_site(float *values, size_t capacity, size_t *needed, sn_session *session)
{
    return sn_session_activations(values, capacity, needed, session, WORLD_SITE);
}

static int read_site_gradient(float *values, size_t capacity, size_t *needed, sn_session *session)
{
    return sn_session_site_gradient(values, capacity, needed, session, WORLD_SITE);
}

static int read_gradient(float *values, size_t capacity, size_t *needed, sn_session *session)
{
    return sn_session_gradient(values, capacity, needed, session, "lm_head.weight");
}

static void mix_floats(struct world *w, int status, const float *values, size_t n)
{
    mix(&w->hash, &status, sizeof status);
    mix(&w->hash, values, status == SN_OK ? n * sizeof *values : 0);
}

static void digest_run(struct world *w, void *object)
{
    static const session_reader readers[] = {
        sn_session_logits,  sn_session_residual,       read_site,
        read_site_gradient, sn_session_input_gradient, read_gradient};
    static float values[4096];
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        size_t needed = 0;
        int status = readers[i](values, 4096, &needed, object);
        mix_floats(w, status, values, needed);
    }
}

static void digest_session(struct world *w, void *object)
{
    world_must(w, sn_session_forward(object, world_tokens, world_offsets, 2));
    digest_run(w, object);
}

static void *make_generator(struct world *w)
{
    sn_generator *generator;
    world_must(w, sn_generator_create(&generator, w->context, THE(sn_model, O_MODEL), NULL));
    world_must(w, sn_generator_record(generator, WORLD_SITE));
    world_must(w, sn_generator_append(generator, world_tokens, 4));
    return generator;
}

static void digest_generator(struct world *w, void *object)
{
    float values[64];
    const int32_t one = 1;
    for (int i = 0; i < 2; i++) {
        size_t count = sn_generator_count(object), needed = 0;
        mix(&w->hash, &count, sizeof count);
        int status = sn_generator_logits(values, 64, &needed, object);
        mix_floats(w, status, values, needed);
        status = sn_generator_activations(values, 64, &needed, object, WORLD_SITE);
        mix_floats(w, status, values, needed);
        if (i == 0)
            world_must(w, sn_generator_append(object, &one, 1));
    }
}

/* ------------------------------------------------------ tasks and training */

static void *make_task(struct world *w)
{
    return planted_task(w->context, 4, 3);
}

static void *make_new_task(struct world *w)
{
    sn_task *task;
    world_must(w, sn_task_create(&task, w->context, "new"));
    return task;
}

static void *make_fresh(struct world *w)
{
    sn_task *task;
    sn_options *options;
    world_must(w, sn_options_create(&options, w->context));
    world_must(w, sn_options_set_text(options, w->context, "split", "fresh"));
    world_must(w, sn_options_set(options, w->context, "min_tokens", 1));
    world_must(w, sn_options_set(options, w->context, "max_tokens", 400));
    world_must(
        w, sn_python_task(&task, w->context, THE(sn_tokenizer, O_TOKENIZER), "for_while", 2, options));
    sn_options_free(options);
    return task;
}

static void digest_task(struct world *w, void *object)
{
    mix_text(&w->hash, sn_task_name(object));
    for (size_t i = 0; i < sn_task_count(object); i++) {
        const int32_t *a, *b;
        size_t n_a, n_b;
        int32_t targets[2];
        world_must(w, sn_task_pair(&a, &n_a, &b, &n_b, &targets[0], &targets[1], object, i));
        mix(&w->hash, a, n_a * sizeof *a);
        mix(&w->hash, b, n_b * sizeof *b);
        mix(&w->hash, targets, sizeof targets);
    }
}

static void *make_trainer_with(struct world *w, const char *gradient)
{
    static const struct {
        const char *key;
        double value;
    } settings[] = {{"steps", 6},     {"batch", 2},          {"window", 8},
                    {"density", 0.5}, {"schedule_end", 0.5}, {"refresh_interval", 2}};
    sn_options *options;
    sn_trainer *trainer;
    world_must(w, sn_options_create(&options, w->context));
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        world_must(w, sn_options_set(options, w->context, settings[i].key, settings[i].value));
    world_must(w, sn_options_set_text(options, w->context, "gradient", gradient));
    world_must(w, sn_trainer_create(&trainer, w->context, THE(sn_model, O_MODEL), options));
    world_must(w, sn_trainer_add_corpus(trainer, THE(sn_corpus, O_TOKENS), 1, 0));
    sn_options_free(options);
    return trainer;
}

static void *make_trainer(struct world *w)
{
    return make_trainer_with(w, "dense");
}

static void *make_grower(struct world *w)
{
    return make_trainer_with(w, "support");
}

/* Its checkpoint holds all of it. */
static void digest_trainer(struct world *w, void *object)
{
    char path[128];
    snprintf(path, sizeof path, "%s.trainer", w->folder);
    int status = sn_trainer_save(object, path);
    mix(&w->hash, &status, sizeof status);
    mix_file(&w->hash, path);
    (void)unlink(path);
}

/* ----------------------------------------------------------------- the table */

WORLD_FREE(context)
WORLD_FREE(options)
WORLD_FREE(tokenizer)
WORLD_FREE(corpus)
WORLD_FREE(tensors)
WORLD_FREE(matrix)
WORLD_FREE(model)
WORLD_FREE(session)
WORLD_FREE(generator)
WORLD_FREE(task)
WORLD_FREE(trainer)

#define PURE 1
const struct world_kind world_model_kinds[N_OBJECTS] = {
    [O_CONTEXT] = {make_context, free_context, NULL, 0},
    [O_OPTIONS] = {NULL, free_options, NULL, 0},
    [O_TOKENIZER] = {make_tokenizer, free_tokenizer, digest_tokenizer, PURE},
    [O_TEXTS] = {make_texts, free_corpus, digest_corpus, PURE},
    [O_RAW] = {make_raw, free_corpus, digest_corpus, PURE},
    [O_TOKENS] = {make_tokens, free_corpus, digest_corpus, PURE},
    [O_SOURCE] = {make_source, free_corpus, digest_corpus, PURE},
    [O_TENSORS] = {make_tensors, free_tensors, digest_tensors, PURE},
    [O_MATRIX] = {make_matrix, free_matrix, digest_matrix, PURE},
    [O_MODEL] = {make_model, free_model, digest_model, PURE},
    [O_SESSION] = {make_session, free_session, digest_session, 0},
    [O_EMPTY] = {make_session, free_session, digest_run, 0},
    [O_RUN] = {make_run, free_session, digest_run, 0},
    [O_BACK] = {make_back, free_session, digest_run, 0},
    [O_GENERATOR] = {make_generator, free_generator, digest_generator, 0},
    [O_TASK] = {make_task, free_task, digest_task, PURE},
    [O_NEW_TASK] = {make_new_task, free_task, digest_task, PURE},
    [O_FRESH] = {make_fresh, free_task, digest_task, PURE},
    [O_GROWER] = {make_grower, free_trainer, digest_trainer, PURE},
    [O_TRAINER] = {make_trainer, free_trainer, digest_trainer, PURE},
};
