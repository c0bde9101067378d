/* What a circuit, or its absence, costs in pretraining loss: windows of a corpus under fixed gates. */
#include <string.h>

#include "base/options.h"
#include "circuit/edges.h"
#include "circuit/gates.h"
#include "text/corpus.h"

#define BATCH_TOKENS 1024

struct text_settings {
    size_t tokens, window, seed;
};

struct text_run {
    struct sn_context *context;
    const struct sn_corpus *corpus; /* lent */
    struct text_settings settings;
    struct gates gates;
    struct gated_model gated; /* where edges are cut */
    struct sn_session *session;
    size_t batch_windows;
    int32_t *tokens, *targets; /* batch_windows x window */
    size_t *lengths, *offsets;
    double sum;
    size_t n_tokens;
};

static int run_allocate(struct text_run *run)
{
    struct memory *memory = run->context->memory;
    size_t window = run->settings.window;
    run->batch_windows = window >= BATCH_TOKENS ? 1 : BATCH_TOKENS / window;
    size_t tokens = run->batch_windows * window;
    run->tokens = memory_allocate_array(memory, tokens, sizeof *run->tokens);
    run->targets = memory_allocate_array(memory, tokens, sizeof *run->targets);
    run->lengths = memory_allocate_array(memory, run->batch_windows, sizeof *run->lengths);
    run->offsets = memory_allocate_array(memory, run->batch_windows + 1, sizeof *run->offsets);
    if (run->tokens && run->targets && run->lengths && run->offsets)
        return SN_OK;
    return fail_memory(run->context, "windows of text", tokens * 2 * sizeof *run->tokens);
}

static void run_free(struct text_run *run)
{
    struct memory *memory = run->context->memory;
    size_t tokens = run->batch_windows * run->settings.window;
    gates_free(&run->gates);
    sn_session_free(run->session);
    gated_free(&run->gated);
    memory_free(memory, run->tokens, tokens * sizeof *run->tokens);
    memory_free(memory, run->targets, tokens * sizeof *run->targets);
    memory_free(memory, run->lengths, run->batch_windows * sizeof *run->lengths);
    memory_free(memory, run->offsets, (run->batch_windows + 1) * sizeof *run->offsets);
}

/* The session, with the gates that `ablate` asks for. */
static int run_open(struct text_run *run, struct sn_model *model, const struct sn_means *means,
                    const struct sn_circuit *circuit, int ablate)
{
    struct sn_context *context = run->context;
    int cut = ablate == SN_ABLATE_REST && circuit->kept_edges, status = SN_OK;
    if (cut)
        status = gated_create(&run->gated, context, model, &circuit->layout, means);
    if (status == SN_OK && cut)
        status = gated_set(&run->gated, context, circuit->kept_edges, 0);
    if (status == SN_OK)
        status = session_create_forward(&run->session, context, cut ? run->gated.model : model);
    if (status != SN_OK || ablate == SN_ABLATE_NOTHING)
        return status;
    status = gates_create(&run->gates, context, &means->layout, means->values);
    if (status != SN_OK)
        return status;
    if (ablate == SN_ABLATE_EVERYTHING)
        memset(run->gates.mask, 0, means->layout.n_nodes * sizeof *run->gates.mask);
    else
        gates_set(&run->gates, circuit->kept, ablate == SN_ABLATE_CIRCUIT);
    return gates_attach(&run->gates, run->session, 0);
}

/* How many targets of the packed windows count. */
static size_t pack_windows(struct text_run *run, size_t n_windows)
{
    size_t counted = 0, window = run->settings.window;
    size_t used = corpus_pack_windows(run->tokens, run->offsets, run->lengths, window, n_windows);
    corpus_pack_windows(run->targets, NULL, run->lengths, window, n_windows);
    for (size_t t = 0; t < used; t++)
        counted += run->targets[t] >= 0;
    return counted;
}

static int run_batch(struct text_run *run, size_t n_windows, uint64_t index)
{
    double loss;
    int status = sn_corpus_sample(run->tokens, run->targets, run->lengths, run->corpus, run->context,
                                  n_windows, run->settings.window, run->settings.seed, index);
    if (status != SN_OK)
        return status;
    size_t counted = pack_windows(run, n_windows);
    status = sn_session_forward(run->session, run->tokens, run->offsets, n_windows);
    if (status == SN_OK)
        status = sn_session_loss(&loss, run->session, run->targets);
    if (status != SN_OK)
        return status;
    run->sum += loss * (double)counted;
    run->n_tokens += counted;
    return SN_OK;
}

/* Every batch has as many windows, so that no window is drawn twice. */
static int run_all(struct text_run *run)
{
    size_t wanted = run->settings.tokens, window = run->settings.window;
    size_t needed = (wanted - 1) / window + 1;
    size_t n_windows = needed < run->batch_windows ? needed : run->batch_windows;
    int status = SN_OK;
    for (uint64_t index = 0; status == SN_OK && run->n_tokens < wanted; index++) {
        status = run_batch(run, n_windows, index);
        if (status == SN_OK)
            status = progress(run->context, "text_loss", run->n_tokens < wanted ? run->n_tokens : wanted,
                              wanted, run->sum / (double)run->n_tokens);
    }
    return status;
}

static int check(struct sn_context *context, const double *loss, const struct sn_model *model,
                 const struct sn_means *means, const struct sn_circuit *circuit, int ablate,
                 const struct sn_corpus *corpus)
{
    static const char function[] = "sn_circuit_text_loss";
    if (!loss || !model || !corpus)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !loss    ? "loss"
                    : !model ? "model"
                             : "corpus");
    if (ablate < SN_ABLATE_NOTHING || ablate > SN_ABLATE_EVERYTHING)
        return fail(context, SN_ERROR_ARGUMENT, "%s: ablate is %d", function, ablate);
    if (ablate == SN_ABLATE_NOTHING)
        return SN_OK;
    int status = means_check(means, context, model, function);
    if (status != SN_OK || ablate == SN_ABLATE_EVERYTHING)
        return status;
    if (!circuit)
        return fail(context, SN_ERROR_ARGUMENT, "%s: circuit is NULL", function);
    if (circuit->model != model)
        return fail(context, SN_ERROR_ARGUMENT, "%s: the circuit belongs to another model", function);
    return SN_OK;
}

int sn_circuit_text_loss(double *loss, sn_context *context, sn_model *model, const sn_means *means,
                         const sn_circuit *circuit, int ablate, const sn_corpus *corpus,
                         const sn_options *options)
{
    static const struct option_spec specs[] = {
        {"tokens", OPTION_INTEGER, offsetof(struct text_settings, tokens), 32768, 1, 1e12, NULL},
        {"window", OPTION_INTEGER, offsetof(struct text_settings, window), 0, 0, 1e9, NULL},
        {"seed", OPTION_INTEGER, offsetof(struct text_settings, seed), 0, 0, 9e15, NULL},
    };
    if (!context)
        return SN_ERROR_ARGUMENT;
    struct text_run run = {.context = context, .corpus = corpus};
    int status = check(context, loss, model, means, circuit, ablate, corpus);
    if (status == SN_OK)
        status = options_read(&run.settings, context, "sn_circuit_text_loss", specs,
                              sizeof specs / sizeof *specs, options);
    if (status != SN_OK)
        return status;
    size_t block = model->config.block_size;
    if (run.settings.window > block)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_text_loss: window is %zu, block_size %zu",
                    run.settings.window, block);
    if (run.settings.window == 0)
        run.settings.window = block;
    status = run_allocate(&run);
    if (status == SN_OK)
        status = run_open(&run, model, means, circuit, ablate);
    if (status == SN_OK)
        status = run_all(&run);
    run_free(&run);
    if (status == SN_OK)
        *loss = run.sum / (double)run.n_tokens;
    return status;
}
