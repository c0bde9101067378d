#include "circuit/binarise.h"

#include <math.h>
#include <string.h>

static int reserve_record(struct learner *learner, size_t n_panels)
{
    struct memory *memory = learner->judge.context->memory;
    struct steps *steps = &learner->binarised->steps;
    if (n_panels <= learner->record_panels)
        return SN_OK;
    size_t n = n_panels * steps->n * PANEL, n_counts = n_panels * steps->n_sites;
    float *record = memory_allocate_array(memory, n, sizeof *record);
    size_t *counts = memory_allocate_array(memory, n_counts, sizeof *counts);
    if (!record || !counts) {
        memory_free(memory, record, n * sizeof *record);
        memory_free(memory, counts, n_counts * sizeof *counts);
        return fail_memory(learner->judge.context, "activations", n * sizeof *record);
    }
    memory_free(memory, learner->record, learner->record_panels * steps->n * PANEL * sizeof *record);
    memory_free(memory, learner->record_tokens,
                learner->record_panels * steps->n_sites * sizeof *counts);
    learner->record = steps->record = record;
    learner->record_tokens = steps->record_tokens = counts;
    learner->record_panels = n_panels;
    return SN_OK;
}

static void see(struct observed *observed, double x, int pass)
{
    if (pass == 0) {
        observed->low = fmin(observed->low, x);
        observed->high = fmax(observed->high, x);
        return;
    }
    for (int i = 0; i < N_THRESHOLDS; i++) {
        int above = x > observed->low + (i + 1) * 0.25 * (observed->high - observed->low);
        observed->n[i][above] += 1;
        observed->sum[i][above] += x;
        observed->squares[i][above] += x * x;
    }
}

static void see_panels(struct learner *learner, int pass)
{
    const struct steps *steps = &learner->binarised->steps;
    for (size_t s = 0; s < steps->n_sites; s++)
        for (size_t i = 0; i < steps->sites[s].n; i++)
            for (size_t panel = 0; panel < learner->record_panels; panel++) {
                size_t node = steps->sites[s].first + i;
                const float *x = learner->record + (panel * steps->n + node) * PANEL;
                for (size_t t = 0; t < learner->record_tokens[panel * steps->n_sites + s]; t++)
                    see(&learner->observed[node], (double)x[t], pass);
            }
}

int binarise_run_pairs(struct learner *learner, struct sn_session *session, const size_t *pairs,
                       size_t first, size_t last)
{
    struct judge *judge = &learner->judge;
    int status = pair_batch_fill(&judge->batch, judge->context, judge->tasks[JUDGE_FIT],
                                 pairs ? pairs + first : NULL, first, last - first,
                                 judge->model->config.vocab_size);
    if (status == SN_OK && learner->binarised->steps.record_tokens) {
        size_t n_panels = judge->batch.offsets[2 * (last - first)] / PANEL + 1;
        status = reserve_record(learner, n_panels);
        if (status == SN_OK)
            memset(learner->record_tokens, 0,
                   learner->record_panels * learner->binarised->steps.n_sites * sizeof(size_t));
    }
    return status == SN_OK ? pair_batch_forward(&judge->batch, session) : status;
}

/* The threshold whose two means are nearest to the values, in squares. */
static void start_node(float value[2], const struct observed *observed)
{
    double best = INFINITY;
    for (int i = 0; i < N_THRESHOLDS; i++) {
        double error = 0, mean[2];
        for (int side = 0; side < 2; side++) {
            double n = observed->n[i][side];
            mean[side] = n > 0 ? observed->sum[i][side] / n : NAN;
            error += n > 0 ? fmax(observed->squares[i][side] - n * mean[side] * mean[side], 0) : 0;
        }
        if (error >= best)
            continue;
        best = error;
        value[0] = (float)(isnan(mean[0]) ? mean[1] : mean[0]);
        value[1] = (float)(isnan(mean[1]) ? mean[0] : mean[1]);
    }
}

int binarise_start(struct learner *learner)
{
    struct judge *judge = &learner->judge;
    struct sn_binarised *binarised = learner->binarised;
    struct steps *steps = &binarised->steps;
    for (size_t i = 0; i < steps->n; i++)
        learner->observed[i] = (struct observed){.low = INFINITY, .high = -INFINITY};
    int status = judge_set_masks(judge, binarised->circuit->kept, SN_ABLATE_REST, 0);
    if (status == SN_OK)
        status = reserve_record(learner, 1);
    if (status == SN_OK)
        status = steps_attach(steps, judge->measuring, 0);
    for (int pass = 0; pass < 2; pass++)
        for (size_t first = 0, last; status == SN_OK && first < learner->n_deck; first = last) {
            last =
                pair_batch_end(judge->tasks[JUDGE_FIT], NULL, first, learner->n_deck, BINARISE_TOKENS);
            status = binarise_run_pairs(learner, judge->measuring, NULL, first, last);
            if (status == SN_OK)
                see_panels(learner, pass);
        }
    steps_detach(steps);
    gates_detach(&judge->gates);
    steps->record = NULL;
    steps->record_tokens = NULL;
    for (size_t i = 0; status == SN_OK && i < steps->n; i++) {
        const struct observed *seen = &learner->observed[i];
        start_node(steps->value + 2 * i, seen);
        learner->scale[i] = (float)(seen->high - seen->low);
        for (size_t side = 0; side < 2; side++)
            learner->weight[2 * i + side] =
                learner->scale[i] > 0 ? steps->value[2 * i + side] / learner->scale[i] : 0;
    }
    return status;
}
