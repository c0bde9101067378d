/* Objects of a world that have to do with circuits: of the planted model, tiny, the same each time. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "planted.h"
#include "world_objects.h"

static const char *const planted_path[] = {"0.attn.act_in.0", "0.attn.v.head0.ch0", WORLD_NODE};
static const char *const backup_path[] = {"0.attn.act_in.1", "0.attn.v.head0.ch1",
                                          "0.attn.resid_delta.3", WORLD_NODE};

/* Options for making something, freed by the caller. */
static sn_options *with(struct world *w, const char *key, double value)
{
    sn_options *options;
    world_must(w, sn_options_create(&options, w->context));
    world_must(w, sn_options_set(options, w->context, key, value));
    return options;
}

static void *make_means(struct world *w)
{
    sn_means *means;
    sn_options *options = with(w, "tokens", 64);
    world_must(w, sn_means_create(&means, w->context, THE(sn_model, O_MODEL), THE(sn_corpus, O_TOKENS),
                                  options));
    sn_options_free(options);
    return means;
}

static void digest_means(struct world *w, void *object)
{
    const sn_model *model = THE(sn_model, O_MODEL);
    for (size_t i = 0; i < sn_model_site_count(model); i++) {
        size_t width = 0;
        const float *values = sn_means_site(&width, object, sn_model_site_name(model, i));
        mix(&w->hash, values, values ? width * sizeof *values : 0);
    }
}

static void *make_ablation(struct world *w)
{
    sn_ablation *ablation;
    sn_options *options = with(w, "samples", 16);
    world_must(w, sn_options_set_text(options, w->context, "kind", "resample"));
    world_must(w, sn_options_set(options, w->context, "draws", 2));
    world_must(w, sn_ablation_create(&ablation, w->context, THE(sn_model, O_MODEL), NULL,
                                     THE(sn_corpus, O_TOKENS), options));
    sn_options_free(options);
    return ablation;
}

static void digest_ablation(struct world *w, void *object)
{
    size_t draws = sn_ablation_draw_count(object);
    sn_ablation_result result = {.struct_size = sizeof result};
    mix(&w->hash, &draws, sizeof draws);
    world_must(w, sn_evaluate_ablation(&result, NULL, 0, NULL, w->context, THE(sn_model, O_MODEL),
                                       object, THE(sn_circuit, O_CIRCUIT), SN_ABLATE_REST,
                                       THE(sn_task, O_TASK), THE(sn_task, O_TASK)));
    mix(&w->hash, &result.raw_loss, sizeof result.raw_loss);
}

/* ------------------------------------------------------------------ searches */

static void *make_search(struct world *w)
{
    sn_search *search;
    sn_options *options = with(w, "runs", 2);
    world_must(w, sn_options_set(options, w->context, "steps", 2));
    world_must(w, sn_options_set(options, w->context, "batch", 2));
    world_must(w, sn_options_set(options, w->context, "target_loss", 0.4));
    world_must(w, sn_search_create(&search, w->context, THE(sn_model, O_MODEL), THE(sn_means, O_MEANS),
                                   THE(sn_task, O_TASK), NULL, options));
    sn_options_free(options);
    return search;
}

static void *make_found(struct world *w)
{
    sn_search *search = make_search(w);
    world_must(w, sn_search_run(search));
    return search;
}

static void digest_search(struct world *w, void *object)
{
    for (size_t i = 0; i < sn_search_run_count(object); i++) {
        double numbers[3];
        size_t n_edges;
        int whole;
        world_must(
            w, sn_search_run_info(&numbers[0], &numbers[1], &numbers[2], &n_edges, &whole, object, i));
        mix(&w->hash, numbers, sizeof numbers);
        mix(&w->hash, &n_edges, sizeof n_edges);
        mix(&w->hash, &whole, sizeof whole);
    }
}

/* ------------------------------------------------------------------ circuits */

static sn_circuit *circuit_of(struct world *w, const char *const *nodes, size_t n)
{
    sn_circuit *circuit;
    world_must(w, sn_circuit_create(&circuit, w->context, THE(sn_model, O_MODEL), "planted"));
    for (size_t i = 0; i < n; i++)
        world_must(w, sn_circuit_add_node(circuit, w->context, nodes[i]));
    return circuit;
}

static void *make_circuit(struct world *w)
{
    static const double x[] = {1, 2, 3}, y[] = {0.5, 0.25, 0.125};
    sn_circuit *circuit = circuit_of(w, planted_path, 3);
    const sn_means *means = THE(sn_means, O_MEANS);
    const sn_task *task = THE(sn_task, O_TASK);
    world_must(w, sn_circuit_set_label(circuit, w->context, WORLD_NODE, SN_LABEL, "writes"));
    world_must(w, sn_circuit_set_label(circuit, w->context, WORLD_NODE, SN_NOTE, "the\nanswer"));
    world_must(w, sn_circuit_set_measurement(circuit, w->context, "loss", 0.125));
    world_must(w, sn_circuit_set_series(circuit, w->context, "curve", 3, x, y));
    world_must(w, sn_circuit_measure_deltas(circuit, w->context, means, task, task));
    world_must(w, sn_circuit_trace(circuit, w->context, means, NULL, task, NULL));
    return circuit;
}

static void *make_other(struct world *w)
{
    return circuit_of(w, backup_path, 4);
}

static void digest_nodes(struct world *w, const sn_circuit *circuit)
{
    mix_text(&w->hash, sn_circuit_task(circuit));
    for (size_t i = 0; i < sn_circuit_node_count(circuit); i++) {
        double deltas[2] = {0, 0};
        mix_text(&w->hash, sn_circuit_node_name(circuit, i));
        mix_text(&w->hash, sn_circuit_label(circuit, i, SN_LABEL));
        mix_text(&w->hash, sn_circuit_label(circuit, i, SN_NOTE));
        (void)sn_circuit_node_delta(&deltas[0], &deltas[1], circuit, i);
        mix(&w->hash, deltas, sizeof deltas);
    }
    for (size_t i = 0; i < sn_circuit_edge_count(circuit); i++) {
        size_t ends[2];
        float weight;
        world_must(w, sn_circuit_edge(&ends[0], &ends[1], &weight, circuit, i));
        mix(&w->hash, ends, sizeof ends);
        mix(&w->hash, &weight, sizeof weight);
    }
}

static void digest_circuit(struct world *w, void *object)
{
    double numbers[2];
    const double *x, *y;
    size_t n;
    digest_nodes(w, object);
    for (size_t i = 0; i < sn_circuit_path_count(object); i++) {
        mix_text(&w->hash, sn_circuit_path(&numbers[0], &numbers[1], object, i));
        mix(&w->hash, numbers, sizeof numbers);
    }
    for (size_t i = 0; i < sn_circuit_measurement_count(object); i++) {
        mix_text(&w->hash, sn_circuit_measurement(&numbers[0], object, i));
        mix(&w->hash, numbers, sizeof *numbers);
    }
    for (size_t i = 0; i < sn_circuit_series_count(object); i++) {
        mix_text(&w->hash, sn_circuit_series(&x, &y, &n, object, i));
        mix(&w->hash, x, n * sizeof *x);
        mix(&w->hash, y, n * sizeof *y);
    }
}

/* --------------------------------------------------------- what is said of them */

static void *make_evidence(struct world *w)
{
    sn_evidence *evidence;
    sn_options *options = with(w, "sample", 16);
    world_must(w, sn_options_set(options, w->context, "bins", 4));
    world_must(w, sn_evidence_create_circuit(&evidence, w->context, THE(sn_circuit, O_CIRCUIT),
                                             THE(sn_corpus, O_TOKENS), options));
    sn_options_free(options);
    return evidence;
}

static void digest_evidence(struct world *w, void *object)
{
    for (size_t i = 0; i < sn_evidence_count(object); i++) {
        sn_evidence_summary summary = {.struct_size = sizeof summary};
        const double *edges;
        const uint64_t *counts;
        size_t n_bins;
        mix_text(&w->hash, sn_evidence_node(object, i));
        world_must(w, sn_evidence_summarize(&summary, object, i));
        mix(&w->hash, &summary, sizeof summary);
        world_must(w, sn_evidence_histogram(&edges, &counts, &n_bins, object, i));
        mix(&w->hash, counts, n_bins * sizeof *counts);
        for (size_t c = 0; c < sn_evidence_context_count(object, i, SN_CONTEXT_TOP); c++) {
            sn_token_context found = {.struct_size = sizeof found};
            world_must(w, sn_evidence_context(&found, object, i, SN_CONTEXT_TOP, c));
            mix(&w->hash, found.tokens, found.n_tokens * sizeof *found.tokens);
            mix(&w->hash, found.activations, found.n_tokens * sizeof *found.activations);
        }
    }
}

static void *make_contributions(struct world *w)
{
    sn_contributions *contributions;
    world_must(w, sn_contributions_create(&contributions, w->context, THE(sn_model, O_MODEL), NULL, NULL,
                                          WORLD_NODE, world_tokens, 4, 3));
    return contributions;
}

static void digest_contributions(struct world *w, void *object)
{
    double sums[4];
    world_must(w, sn_contributions_sum(&sums[0], &sums[1], &sums[2], &sums[3], object));
    mix(&w->hash, sums, sizeof sums);
    for (size_t i = 0; i < sn_contributions_count(object); i++) {
        sn_contribution one = {.struct_size = sizeof one};
        world_must(w, sn_contributions_get(&one, object, i));
        mix_text(&w->hash, one.source);
        mix(&w->hash, &one.value, sizeof one.value);
    }
}

static void *make_binarised(struct world *w)
{
    sn_binarised *binarised;
    sn_options *options = with(w, "steps", 2);
    world_must(w, sn_binarised_create(&binarised, w->context, THE(sn_circuit, O_CIRCUIT),
                                      THE(sn_means, O_MEANS), THE(sn_task, O_TASK), options));
    sn_options_free(options);
    return binarised;
}

static void digest_binarised(struct world *w, void *object)
{
    double numbers[2];
    world_must(w, sn_binarised_losses(&numbers[0], &numbers[1], object));
    mix(&w->hash, numbers, sizeof numbers);
    for (size_t i = 0; i < sn_binarised_count(object); i++) {
        mix_text(&w->hash, sn_binarised_node(&numbers[0], &numbers[1], object, i));
        mix(&w->hash, numbers, sizeof numbers);
    }
}

static void *make_shared(struct world *w)
{
    const sn_circuit *circuits[2] = {THE(sn_circuit, O_CIRCUIT), THE(sn_circuit, O_CIRCUIT)};
    sn_shared *shared;
    world_must(w, sn_shared_create(&shared, w->context, circuits, 2));
    return shared;
}

static void digest_shared(struct world *w, void *object)
{
    uint64_t set;
    const size_t *edges;
    const char *from, *to;
    size_t n;
    for (size_t i = 0; i < sn_shared_node_count(object); i++)
        mix_text(&w->hash, sn_shared_node(&set, object, i));
    for (size_t i = 0; i < sn_shared_edge_count(object); i++) {
        world_must(w, sn_shared_edge(&from, &to, NULL, &set, object, i));
        mix_text(&w->hash, from);
        mix_text(&w->hash, to);
    }
    for (size_t i = 0; i < sn_shared_motif_count(object); i++) {
        world_must(w, sn_shared_motif(&set, &edges, &n, object, i));
        mix(&w->hash, edges, n * sizeof *edges);
    }
}

static void *make_plot(struct world *w)
{
    static const double x[] = {1, 2, 3}, y[] = {0.5, 1.5, 1};
    sn_plot *plot;
    world_must(w, sn_plot_create(&plot, w->context, "title", "x", "y", NULL));
    world_must(w, sn_plot_add(plot, w->context, "first", SN_PLOT_LINE, 3, x, y, NULL, NULL));
    return plot;
}

static void digest_plot(struct world *w, void *object)
{
    char path[128];
    snprintf(path, sizeof path, "%s.plot", w->folder);
    world_must(w, sn_plot_write_svg(object, w->context, path));
    mix_file(&w->hash, path);
    (void)unlink(path);
}

WORLD_FREE(means)
WORLD_FREE(ablation)
WORLD_FREE(search)
WORLD_FREE(circuit)
WORLD_FREE(evidence)
WORLD_FREE(contributions)
WORLD_FREE(binarised)
WORLD_FREE(shared)
WORLD_FREE(plot)

#define PURE 1
const struct world_kind world_circuit_kinds[N_OBJECTS] = {
    [O_MEANS] = {make_means, free_means, digest_means, PURE},
    [O_ABLATION] = {make_ablation, free_ablation, digest_ablation, PURE},
    [O_SEARCH] = {make_search, free_search, digest_search, PURE},
    [O_FOUND] = {make_found, free_search, digest_search, PURE},
    [O_CIRCUIT] = {make_circuit, free_circuit, digest_circuit, PURE},
    [O_OTHER] = {make_other, free_circuit, digest_circuit, PURE},
    [O_EVIDENCE] = {make_evidence, free_evidence, digest_evidence, PURE},
    [O_CONTRIBUTIONS] = {make_contributions, free_contributions, digest_contributions, PURE},
    [O_BINARISED] = {make_binarised, free_binarised, digest_binarised, PURE},
    [O_SHARED] = {make_shared, free_shared, digest_shared, PURE},
    [O_PLOT] = {make_plot, free_plot, digest_plot, PURE},
};
