/* Texts that calls take as arguments and look up or read: a byte that says which call, then its texts with NULs between
 * them. What a file or a corpus is made of may have NULs and is all that follows. */
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_TEXTS 4

struct given {
    sn_context *context;
    const struct small *small;
    char *texts[MOST_TEXTS]; /* each in a block of its own length; those that are missing are "" */
    const char *bytes;       /* all of it, n_bytes without a NUL behind them */
    size_t n_bytes;
};

static void check(const struct given *given, int status)
{
    fuzz_check(status, given->context);
}

static int swallow(const char *bytes, size_t length, void *payload)
{
    (void)bytes, (void)payload;
    return length > (size_t)1 << 30;
}

/* A node that was accepted is there under a name that is accepted too. */
static void circuit_node(const struct given *given)
{
    sn_circuit *circuit;
    small_must(sn_circuit_create(&circuit, given->context, given->small->model, given->texts[1]));
    const int status = sn_circuit_add_node(circuit, given->context, given->texts[0]);
    check(given, status);
    if ((status == SN_OK) != (sn_circuit_node_count(circuit) == 1))
        abort();
    if (status == SN_OK) {
        const char *name = sn_circuit_node_name(circuit, 0);
        check(given, sn_circuit_set_label(circuit, given->context, name, SN_LABEL, given->texts[2]));
        check(given, sn_report_send(given->context, circuit, SN_REPORT_SVG, NULL, swallow, NULL));
        small_must(sn_circuit_remove_node(circuit, given->context, given->texts[0]));
    }
    check(given, sn_circuit_remove_node(circuit, given->context, given->texts[1]));
    sn_circuit_free(circuit);
}

static void model_node(const struct given *given)
{
    static const int32_t tokens[3] = {1, 0, 3};
    sn_node_edge edges[64];
    int32_t found[8];
    float weights[8], probability[9];
    size_t needed;
    sn_contributions *contributions;
    sn_model *model = given->small->model;
    const char *node = given->texts[0];
    for (int i = 0; i < 2; i++) {
        check(given, sn_node_edges(edges, 64, &needed, given->context, model, NULL, node, i));
        check(given, sn_node_tokens(found, weights, 8, &needed, given->context, model, node, i));
    }
    check(given, sn_node_attention(probability, NULL, 9, &needed, given->context, model, NULL, NULL,
                                   node, tokens, 3));
    check(given, sn_contributions_create(&contributions, given->context, model, NULL, NULL, node, tokens,
                                         3, 2));
    sn_contributions_free(contributions);
}

static void two_nodes(const struct given *given)
{
    sn_patch_result patch = {.struct_size = sizeof patch};
    sn_replacement replacement = {.struct_size = sizeof replacement};
    sn_model *model = given->small->model;
    const sn_task *task = given->small->task;
    const char *from = given->texts[0], *to = given->texts[1];
    check(given, sn_patch_node(&patch, NULL, 0, NULL, given->context, model, from, task));
    check(given, sn_patch_path(&patch, NULL, 0, NULL, given->context, model, from, to, task));
    check(given, sn_replace_node(&replacement, given->context, model, NULL, NULL, to, from, NULL, task,
                                 task, NULL));
}

static void evidence_nodes(const struct given *given)
{
    const char *const nodes[2] = {given->texts[0], given->texts[1]};
    sn_evidence *evidence;
    check(given, sn_evidence_create(&evidence, given->context, given->small->model, given->small->corpus,
                                    nodes, given->texts[1][0] ? 2 : 1, NULL));
    sn_evidence_free(evidence);
}

/* A site that has channels is one that can be kept and changed. */
static void session_site(const struct given *given)
{
    static const int32_t tokens[2] = {1, 2};
    static const size_t offsets[2] = {0, 2};
    static const float zeros[64];
    size_t needed, width_of_means;
    sn_session *session;
    float values[64];
    const char *site = given->texts[0];
    const size_t width = sn_model_site_width(given->small->model, site);
    (void)sn_means_site(&width_of_means, given->small->means, site);
    small_must(sn_session_create(&session, given->context, given->small->model, NULL));
    int status = sn_session_record(session, site);
    check(given, status);
    if ((status == SN_OK) != (width > 0))
        abort();
    check(given, sn_session_intervene(session, site, SN_ADD, NULL, 0, zeros, width, NULL, 0));
    small_must(sn_session_forward(session, tokens, offsets, 1));
    check(given, sn_session_activations(values, 64, &needed, session, site));
    check(given, sn_session_add_site_gradient(session, site, zeros, 2 * width));
    small_must(sn_session_backward(session, tokens));
    check(given, sn_session_site_gradient(values, 64, &needed, session, site));
    check(given, sn_session_gradient(NULL, 0, &needed, session, site));
    sn_session_free(session);
}

static void generator_site(const struct given *given)
{
    static const int32_t tokens[2] = {1, 2};
    static const float zeros[64];
    size_t needed;
    float values[64];
    sn_generator *generator;
    const char *site = given->texts[0];
    const size_t width = sn_model_site_width(given->small->model, site);
    small_must(sn_generator_create(&generator, given->context, given->small->model, NULL));
    check(given, sn_generator_record(generator, site));
    check(given, sn_generator_intervene(generator, site, SN_SCALE, NULL, 0, zeros, width, NULL, 0));
    check(given, sn_generator_append(generator, tokens, 2));
    check(given, sn_generator_activations(values, 64, &needed, generator, site));
    sn_generator_free(generator);
}

/* A name that was accepted is found, and still is behind a file. */
static void tensor_names(const struct given *given)
{
    static const size_t shape[1] = {2};
    static const float values[2] = {1, 2};
    size_t needed;
    char path[256];
    sn_tensors *tensors, *again;
    snprintf(path, sizeof path, "%s/names", fuzz_folder());
    check(given,
          sn_model_tensor(NULL, 0, &needed, given->context, given->small->model, given->texts[0]));
    small_must(sn_tensors_create(&tensors, given->context));
    for (int i = 0; i < MOST_TEXTS; i++)
        check(given, sn_tensors_add(tensors, given->context, given->texts[i], shape, 1, values));
    int status = sn_tensors_save(tensors, given->context, path);
    check(given, status);
    if (status == SN_OK) {
        small_must(sn_tensors_load(&again, given->context, path));
        for (size_t i = 0; i < sn_tensors_count(tensors); i++) {
            const float *found = sn_tensors_values(NULL, NULL, again, sn_tensors_name(tensors, i));
            if (!found || memcmp(found, values, sizeof values) != 0)
                abort();
        }
        sn_tensors_free(again);
    }
    sn_tensors_free(tensors);
}

static void numbers(const struct given *given)
{
    double value;
    sn_trainer *trainer;
    (void)sn_model_config_number(given->small->model, given->texts[0]);
    small_must(sn_trainer_create(&trainer, given->context, given->small->model, NULL));
    check(given, sn_trainer_statistic(&value, trainer, given->texts[0]));
    sn_trainer_free(trainer);
}

static void plot_texts(const struct given *given)
{
    static const double x[2] = {1, 2};
    sn_plot *plot;
    check(given, sn_plot_create(&plot, given->context, given->texts[0], given->texts[1], given->texts[2],
                                NULL));
    if (!plot)
        return;
    check(given, sn_plot_add(plot, given->context, given->texts[3], SN_PLOT_LINE, 2, x, x, NULL, NULL));
    check(given, sn_plot_add_level(plot, given->context, given->texts[3], 1.5));
    check(given, sn_plot_write_svg(plot, given->context, fuzz_write("plot.svg", "", 0)));
    sn_plot_free(plot);
}

static void text_pair(const struct given *given)
{
    sn_task *task;
    small_must(sn_task_create(&task, given->context, given->texts[0]));
    const int status =
        sn_task_add_text_pair(task, given->context, given->small->tokenizer, given->texts[0],
                              given->texts[1], given->texts[2], given->texts[3]);
    check(given, status);
    if ((status == SN_OK) != (sn_task_count(task) == 1))
        abort();
    sn_task_free(task);
}

static void corpus_suffix(const struct given *given)
{
    char folder[256];
    sn_corpus *corpus;
    snprintf(folder, sizeof folder, "%s/suffixes", fuzz_folder());
    (void)mkdir(folder, 0700);
    fuzz_write("suffixes/text.py", "a", 1);
    small_must(sn_corpus_create(&corpus, given->context));
    check(given, sn_corpus_add_directory(corpus, given->context, folder, given->texts[0], 0, 0));
    sn_corpus_free(corpus);
}

static sn_corpus *corpus_of_bytes(const struct given *given)
{
    sn_corpus *corpus;
    small_must(sn_corpus_create(&corpus, given->context));
    check(given, sn_corpus_add_text(corpus, given->context, given->bytes, given->n_bytes));
    return corpus;
}

static void quote_lines(const struct given *given)
{
    static const char *const closers[] = {"", ")", ",", "]"};
    sn_corpus *corpus = corpus_of_bytes(given);
    for (size_t i = 0; i < sizeof closers / sizeof *closers; i++) {
        sn_task *task;
        check(given, sn_python_quote_lines(&task, given->context, given->small->tokenizer, corpus,
                                           closers[i], 4, NULL));
        sn_task_free(task);
    }
    sn_corpus_free(corpus);
}

static void quote_closer(const struct given *given)
{
    sn_task *task;
    check(given, sn_python_quote_lines(&task, given->context, given->small->tokenizer,
                                       given->small->texts, given->texts[0], 4, NULL));
    sn_task_free(task);
}

/* The bytes as what was trained on, and as prompts. */
static void check_fresh(const struct given *given)
{
    static const int32_t one = 'x';
    int32_t prompt[256];
    size_t n_checked, n = given->n_bytes < 256 ? given->n_bytes : 256;
    sn_task *task;
    sn_corpus *corpus = corpus_of_bytes(given);
    const sn_tokenizer *tokenizer = given->small->tokenizer;
    small_must(sn_task_create(&task, given->context, "fresh"));
    check(given, sn_python_check_fresh(&n_checked, given->context, tokenizer, task, corpus));
    for (size_t i = 0; i < n; i++)
        prompt[i] = (unsigned char)given->bytes[i];
    check(given, sn_task_add_pair(task, given->context, prompt, n, &one, 1, 2, 3));
    check(given,
          sn_python_check_fresh(&n_checked, given->context, tokenizer, task, given->small->texts));
    check(given, sn_python_check_fresh(&n_checked, given->context, tokenizer, task, corpus));
    sn_task_free(task);
    sn_corpus_free(corpus);
}

static void python_task(const struct given *given)
{
    sn_task *task;
    check(given,
          sn_python_task(&task, given->context, given->small->tokenizer, given->texts[0], 1, NULL));
    sn_task_free(task);
}

static void tokens(const struct given *given)
{
    size_t length;
    const sn_tokenizer *tokenizer = given->small->tokenizer;
    const int32_t token = sn_tokenizer_find(tokenizer, given->bytes, given->n_bytes);
    if (token < 0)
        return;
    const char *text = sn_tokenizer_token(&length, tokenizer, token);
    if (!text || length != given->n_bytes || memcmp(text, given->bytes, length) != 0)
        abort();
}

/* Kept inputs name them by number. */
static void (*const calls[])(const struct given *given) = {
    circuit_node, model_node,  two_nodes,   evidence_nodes, session_site,  generator_site,
    tensor_names, numbers,     plot_texts,  text_pair,      corpus_suffix, quote_lines,
    quote_closer, check_fresh, python_task, tokens,
};

static void split(struct given *given)
{
    const uint8_t *rest = (const uint8_t *)given->bytes;
    size_t n_rest = given->n_bytes;
    for (int i = 0; i < MOST_TEXTS; i++) {
        const uint8_t *text = rest;
        const size_t length = text ? fuzz_split(&rest, &n_rest, text, n_rest) : 0;
        given->texts[i] = calloc(length + 1, 1);
        if (!given->texts[i])
            abort();
        if (length)
            memcpy(given->texts[i], text, length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 4096)
        return -1;
    struct given given = {.small = small_fixed(),
                          .context = fuzz_context(16),
                          .bytes = (const char *)data + 1,
                          .n_bytes = size - 1};
    split(&given);
    calls[data[0] % (sizeof calls / sizeof *calls)](&given);
    for (int i = 0; i < MOST_TEXTS; i++)
        free(given.texts[i]);
    sn_context_free(given.context);
    return 0;
}
