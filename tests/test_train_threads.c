/* Training a model that is large enough for every loop over its parameters to have several chunks: the
 * same checkpoint, byte for byte, on any number of threads. The models of the other suite fit in one. */
#include <check.h>
#include <string.h>

#include "base/context.h"
#include "base/file.h"
#include "base/random.h"
#include "temporary.h"

/* The maps of the MLP have 1,048,576 entries: parameters of that size are worth all threads by
 * themselves; 20 windows of 8 tokens are several panels. */
static const char config_text[] =
    "{\"block_size\": 8, \"vocab_size\": 300, \"n_layer\": 1, \"n_head\": 2, \"d_head\": 16,"
    " \"d_model\": 256, \"d_mlp\": 4096, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.25,"
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": true}";

static const struct {
    const char *gradient;
    double density;
} modes[] = {{"dense", 0.02}, {"support", 0.02}};

static sn_context *context;

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static sn_corpus *make_corpus(void)
{
    static int32_t tokens[600];
    sn_corpus *corpus;
    struct random_state random;
    random_seed(&random, 1, 0);
    for (size_t i = 0; i < 600; i++)
        tokens[i] = i % 4 ? (7 * tokens[i - 1] + 1) % 300 : (int32_t)random_below(&random, 300);
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_tokens(corpus, context, tokens, 600));
    return corpus;
}

/* The state after four steps, refreshes of the support among them, as the file that holds it. */
static char *train(size_t *size, size_t n_threads, int mode)
{
    static const struct {
        const char *key;
        double value;
    } settings[] = {
        {"steps", 8}, {"batch", 20}, {"refresh_interval", 2}, {"seed", 3}, {"schedule_end", 0.5}};
    struct temporary temporary;
    sn_model *model;
    sn_trainer *trainer;
    sn_options *options;
    char *state;
    temporary_create(&temporary);
    ok(sn_context_set_threads(context, n_threads));
    sn_corpus *corpus = make_corpus();
    ok(sn_model_create(&model, context, config_text, strlen(config_text), 3));
    ok(sn_options_create(&options, context));
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        ok(sn_options_set(options, context, settings[i].key, settings[i].value));
    ok(sn_options_set(options, context, "density", modes[mode].density));
    ok(sn_options_set_text(options, context, "gradient", modes[mode].gradient));
    ok(sn_trainer_create(&trainer, context, model, options));
    ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    ok(sn_trainer_run(trainer, 4));
    ok(sn_trainer_save(trainer, temporary_path(&temporary, "state")));
    ok(file_read_all(&state, size, context, temporary.path, (size_t)1 << 28));
    sn_trainer_free(trainer);
    sn_options_free(options);
    sn_model_free(model);
    sn_corpus_free(corpus);
    temporary_remove(&temporary);
    return state;
}

START_TEST(threads_do_not_change_bits)
{
    size_t one_size, three_size;
    ok(sn_context_create(&context, NULL));
    char *one = train(&one_size, 1, _i), *three = train(&three_size, 3, _i);
    ck_assert_uint_eq(one_size, three_size);
    ck_assert_int_eq(memcmp(one, three, one_size), 0);
    memory_free(context->memory, one, one_size + 1);
    memory_free(context->memory, three, three_size + 1);
    sn_context_free(context);
}
END_TEST

Suite *train_threads_suite(void);
Suite *train_threads_suite(void)
{
    Suite *suite = suite_create("train_threads");
    TCase *threads = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_set_timeout(threads, 300);
    tcase_add_loop_test(threads, threads_do_not_change_bits, 0, (int)(sizeof modes / sizeof *modes));
    suite_add_tcase(suite, threads);
    return suite;
}
