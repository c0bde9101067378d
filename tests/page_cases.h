/* A model, text, tasks and circuits for pages, with names and tokens that would break out of one if they could. */
#ifndef SN_TESTS_PAGE_CASES_H
#define SN_TESTS_PAGE_CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparsenet.h"

#define HOSTILE                                                                                         \
    "</script><img src=x onerror=\"window.hostile = 1\"><!--<script> & 'q' "                            \
    "\xe2\x80\xa8\xf0\x9f\x94\xa5"
#define HOSTILE_NOTE "<b>bold</b>\n</textarea><script>window.hostile = 2</script>\n\ttabbed"
#define PAGE_VOCABULARY 300

struct page_case {
    sn_context *context;
    sn_model *model;
    sn_tokenizer *tokenizer;
    sn_corpus *corpus;
    sn_task *task, *other_task;
    sn_circuit *circuit, *other;
    sn_evidence *evidence; /* of both circuits' nodes */
};

static inline void page_ok(const struct page_case *c, int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "pages: %s: %s\n", sn_status_string(status), sn_context_message(c->context));
    exit(1);
}

static inline void page_text(struct page_case *c)
{
    /* tokens of several bytes, some of them no UTF-8 */
    static const char piece[] = "if x: y = '</script><img onerror=1>' # \xff\xfe caf\xc3\xa9\n"
                                "for name in names:\n\tprint(\"<!--\", name)\n";
    page_ok(c, sn_corpus_create(&c->corpus, c->context));
    for (int i = 0; i < 40; i++) {
        char text[sizeof piece + 32];
        int n = snprintf(text, sizeof text, "%svalue_%d = %d\n", piece, i, i * 7919);
        page_ok(c, sn_corpus_add_text(c->corpus, c->context, text, (size_t)n));
    }
    page_ok(c, sn_tokenizer_train(&c->tokenizer, c->context, c->corpus, PAGE_VOCABULARY, NULL));
    page_ok(c, sn_corpus_tokenize(c->corpus, c->context, c->tokenizer));
}

static inline sn_model *page_model(const struct page_case *c, size_t n_layer, size_t d_model)
{
    char config[1024];
    sn_model *model;
    int n = snprintf(
        config, sizeof config,
        "{\"block_size\": 128, \"vocab_size\": %zu, \"n_layer\": %zu, \"n_head\": %zu,"
        " \"d_head\": 8, \"d_model\": %zu, \"rms_norm\": true, \"tied_unembed\": false,"
        " \"sink\": true, \"afrac\": 1.0, \"d_pos_emb\": 8, \"afrac_loctypes\": \"attn_q,attn_k\"}",
        sn_tokenizer_size(c->tokenizer), n_layer, d_model / 8, d_model);
    page_ok(c, sn_model_create(&model, c->context, config, (size_t)n, 11));
    return model;
}

static inline sn_task *page_task(const struct page_case *c, const char *name, size_t n_pairs,
                                 size_t first)
{
    sn_task *task;
    page_ok(c, sn_task_create(&task, c->context, name));
    for (size_t i = 0; i < n_pairs; i++) {
        size_t n_a, n_b;
        const int32_t *a = sn_corpus_tokens(&n_a, c->corpus, first + 2 * i);
        const int32_t *b = sn_corpus_tokens(&n_b, c->corpus, first + 2 * i + 1);
        n_a = n_a < 60 ? n_a : 60;
        n_b = n_b < 60 ? n_b : 60;
        page_ok(c, sn_task_add_pair(task, c->context, a, n_a, b, n_b,
                                    sn_tokenizer_find(c->tokenizer, "'", 1),
                                    sn_tokenizer_find(c->tokenizer, "\xff", 1))); /* no UTF-8 */
    }
    return task;
}

/* Nodes of every kind: every `step`-th channel of each site. */
static inline sn_circuit *page_circuit(const struct page_case *c, const char *task, size_t first,
                                       size_t step)
{
    sn_circuit *circuit;
    page_ok(c, sn_circuit_create(&circuit, c->context, c->model, task));
    for (size_t i = 0; i < sn_model_site_count(c->model); i++) {
        const char *site = sn_model_site_name(c->model, i);
        const char *last = strrchr(site, '.');
        if (!last || !strstr(".act_in.q.k.v.post_act.resid_delta.", last))
            continue;
        for (size_t channel = first; channel < sn_model_site_width(c->model, site); channel += step) {
            char name[96];
            if (strchr("qkv", last[1]) && last[2] == 0)
                snprintf(name, sizeof name, "%s.head%zu.ch%zu", site, channel / 8, channel % 8);
            else
                snprintf(name, sizeof name, "%s.%zu", site, channel);
            page_ok(c, sn_circuit_add_node(circuit, c->context, name));
        }
    }
    return circuit;
}

static inline void page_gather(struct page_case *c)
{
    sn_circuit *both;
    page_ok(c, sn_circuit_combine(&both, c->context, c->circuit, c->other, SN_UNION));
    page_ok(c, sn_evidence_create_circuit(&c->evidence, c->context, both, c->corpus, NULL));
    sn_circuit_free(both);
}

/* step: the fewer, the more nodes. context: lent. */
static inline void page_case_make(struct page_case *c, sn_context *context, size_t n_layer,
                                  size_t d_model, size_t step)
{
    static const double x[] = {1, 4, 9, 30}, y[] = {0.7, 0.5, 0.1, 0.05};
    memset(c, 0, sizeof *c);
    c->context = context;
    page_text(c);
    c->model = page_model(c, n_layer, d_model);
    c->task = page_task(c, HOSTILE, 6, 0);
    c->other_task = page_task(c, "other", 3, 20);
    c->circuit = page_circuit(c, HOSTILE, 0, step);
    c->other = page_circuit(c, "other", 0, 2 * step);
    page_ok(c, sn_circuit_set_measurement(c->circuit, context, "fresh_loss", 0.125));
    page_ok(c, sn_circuit_set_measurement(c->circuit, context, "fresh_accuracy", 0.975));
    page_ok(c, sn_circuit_set_measurement(c->circuit, context, HOSTILE, 1));
    page_ok(c, sn_circuit_set_series(c->circuit, context, "loss_by_size", 4, x, y));
    page_ok(c, sn_circuit_set_label(c->circuit, context, sn_circuit_node_name(c->circuit, 0), SN_LABEL,
                                    HOSTILE));
    page_ok(c, sn_circuit_set_label(c->circuit, context, sn_circuit_node_name(c->circuit, 0), SN_NOTE,
                                    HOSTILE_NOTE));
    page_gather(c);
}

static inline void page_case_free(struct page_case *c)
{
    sn_evidence_free(c->evidence);
    sn_circuit_free(c->circuit);
    sn_circuit_free(c->other);
    sn_task_free(c->task);
    sn_task_free(c->other_task);
    sn_model_free(c->model);
    sn_corpus_free(c->corpus);
    sn_tokenizer_free(c->tokenizer);
}

/* Everything that a page can hold. */
static inline sn_page page_inputs(const struct page_case *c, int compare)
{
    sn_page inputs = {.struct_size = sizeof inputs,
                      .tokenizer = c->tokenizer,
                      .evidence = c->evidence,
                      .task = c->task,
                      .other = compare ? c->other : NULL,
                      .other_task = compare ? c->other_task : NULL};
    return inputs;
}

#endif
