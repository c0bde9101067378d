#include "circuit/replacer.h"

#include <math.h>
#include <string.h>

#include "text/corpus.h"

/* ---- what happens at the two sites */

static void note_value(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct tap *tap = (const struct tap *)self;
    (void)saved;
    for (size_t t = 0; t < view->n_tokens; t++)
        tap->value[view->token[t]] = x[tap->channel * PANEL + t];
}

static void put_line(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct tap *tap = (const struct tap *)self;
    const struct replacer *replacer = tap->replacer;
    (void)saved;
    for (size_t t = 0; t < view->n_tokens; t++)
        x[tap->channel * PANEL + t] =
            (float)(replacer->factor * (double)replacer->by.value[view->token[t]] + replacer->offset);
}

/* `by` first: at the site that both share it must be seen before anything changes. */
static int attach_taps(struct replacer *replacer, int replacing)
{
    struct sn_session *session = replacer->judge.measuring;
    replacer->node.base.forward = replacing ? put_line : note_value;
    int status = session_attach(session, replacer->by.site, &replacer->by.base);
    if (status == SN_OK)
        status = session_attach(session, replacer->node.site, &replacer->node.base);
    return status;
}

static void detach_taps(struct replacer *replacer)
{
    session_detach(replacer->judge.measuring, &replacer->by.base);
    session_detach(replacer->judge.measuring, &replacer->node.base);
}

/* ---- the line */

static int take_values(struct line *line, const struct replacer *replacer, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens; t++) {
        double x = (double)replacer->by.value[t], y = (double)replacer->node.value[t];
        if (!isfinite(x) || !isfinite(y))
            return fail(replacer->context, SN_ERROR_NUMERIC,
                        "sn_replace_node: a value of the two nodes is not finite");
        line_add(line, x, y);
    }
    return SN_OK;
}

static int run_pairs(struct line *line, struct replacer *replacer, enum judge_set set)
{
    struct judge *judge = &replacer->judge;
    const struct sn_task *task = judge->tasks[set];
    size_t n = judge->n_pairs[set], vocab = judge->model->config.vocab_size;
    int status = SN_OK;
    for (size_t first = 0, last; status == SN_OK && first < n; first = last) {
        last = pair_batch_end(task, NULL, first, n, JUDGE_BATCH_TOKENS);
        status = pair_batch_fill(&judge->batch, judge->context, task, NULL, first, last - first, vocab);
        if (status == SN_OK)
            status = pair_batch_forward(&judge->batch, judge->measuring);
        if (status == SN_OK)
            status = take_values(line, replacer, judge->batch.offsets[2 * (last - first)]);
        if (status == SN_OK)
            status = progress(judge->context, "fit", last, n, 0);
    }
    return status;
}

static int run_windows(struct line *line, struct replacer *replacer, const struct sn_corpus *corpus,
                       size_t n_windows, uint64_t index)
{
    struct sn_session *session = replacer->judge.measuring;
    size_t none = 0; /* one row of logits: nobody reads them */
    int status = sn_corpus_sample(replacer->tokens, replacer->targets, replacer->lengths, corpus,
                                  replacer->context, n_windows, replacer->settings.window,
                                  replacer->settings.seed, index);
    if (status != SN_OK)
        return status;
    size_t n_tokens = corpus_pack_windows(replacer->tokens, replacer->offsets, replacer->lengths,
                                          replacer->settings.window, n_windows);
    status = sn_session_select_logits(session, &none, 1);
    if (status == SN_OK)
        status = sn_session_forward(session, replacer->tokens, replacer->offsets, n_windows);
    return status == SN_OK ? take_values(line, replacer, n_tokens) : status;
}

static int run_corpus(struct line *line, struct replacer *replacer, const struct sn_corpus *corpus)
{
    size_t wanted = replacer->settings.tokens, window = replacer->settings.window;
    int status = SN_OK;
    for (uint64_t index = 0; status == SN_OK && line->n < wanted;) {
        size_t n_windows = (wanted - line->n + window - 1) / window;
        if (n_windows > replacer->batch_windows)
            n_windows = replacer->batch_windows;
        status = run_windows(line, replacer, corpus, n_windows, index);
        index += n_windows;
        if (status == SN_OK)
            status = progress(replacer->context, "fit", line->n < wanted ? line->n : wanted, wanted, 0);
    }
    return status;
}

static int ablated(const struct replacer *replacer)
{
    return replacer->circuit ? SN_ABLATE_REST : SN_ABLATE_NOTHING;
}

static const unsigned char *kept_nodes(const struct replacer *replacer)
{
    return replacer->circuit ? replacer->circuit->kept : NULL;
}

int replacer_gather(struct line *line, struct replacer *replacer, const struct sn_corpus *corpus,
                    enum judge_set set)
{
    struct judge *judge = &replacer->judge;
    int status = attach_taps(replacer, 0);
    if (status == SN_OK)
        status = judge_set_masks(judge, kept_nodes(replacer), ablated(replacer), 0);
    if (status == SN_OK)
        status = corpus ? run_corpus(line, replacer, corpus) : run_pairs(line, replacer, set);
    gates_detach(&judge->gates);
    detach_taps(replacer);
    return status;
}

/* ---- losses */

int replacer_measure_before(struct measurement measured[JUDGE_SETS], struct replacer *replacer)
{
    return judge_measure(measured, &replacer->judge, kept_nodes(replacer), ablated(replacer), ALL_PAIRS);
}

int replacer_measure(struct measurement measured[JUDGE_SETS], struct replacer *replacer)
{
    int status = attach_taps(replacer, 1);
    if (status == SN_OK)
        status = replacer_measure_before(measured, replacer);
    detach_taps(replacer);
    return status;
}

/* ---- life */

static size_t most_tokens(const struct sn_task *task)
{
    size_t most = 0;
    for (size_t first = 0, last, n = sn_task_count(task); first < n; first = last) {
        size_t tokens = 0;
        last = pair_batch_end(task, NULL, first, n, JUDGE_BATCH_TOKENS);
        for (size_t i = first; i < last; i++) {
            size_t n_a = 0, n_b = 0;
            (void)sn_task_pair(NULL, &n_a, NULL, &n_b, NULL, NULL, task, i);
            tokens += n_a + n_b;
        }
        most = tokens > most ? tokens : most;
    }
    return most;
}

static int allocate(struct replacer *replacer, const struct sn_corpus *corpus)
{
    struct memory *memory = replacer->context->memory;
    size_t window = replacer->settings.window, fit = most_tokens(replacer->judge.tasks[JUDGE_FIT]);
    size_t n = most_tokens(replacer->judge.tasks[JUDGE_TASK]);
    n = fit > n ? fit : n;
    replacer->batch_windows = !corpus                       ? 0
                              : window < JUDGE_BATCH_TOKENS ? JUDGE_BATCH_TOKENS / window
                                                            : 1;
    size_t windows = replacer->batch_windows, tokens = windows * window;
    replacer->capacity = n = tokens > n ? tokens : n;
    replacer->by.value = memory_allocate_array(memory, n, sizeof(float));
    replacer->node.value = memory_allocate_array(memory, n, sizeof(float));
    if (!replacer->by.value || !replacer->node.value)
        return fail_memory(replacer->context, "the values of two nodes", 2 * n * sizeof(float));
    if (!corpus)
        return SN_OK;
    replacer->tokens = memory_allocate_array(memory, tokens, sizeof *replacer->tokens);
    replacer->targets = memory_allocate_array(memory, tokens, sizeof *replacer->targets);
    replacer->lengths = memory_allocate_array(memory, windows, sizeof *replacer->lengths);
    replacer->offsets = memory_allocate_array(memory, windows + 1, sizeof *replacer->offsets);
    if (replacer->tokens && replacer->targets && replacer->lengths && replacer->offsets)
        return SN_OK;
    return fail_memory(replacer->context, "windows of text", tokens * sizeof *replacer->tokens);
}

int replacer_open(struct replacer *replacer, struct sn_model *model, const struct sn_means *means,
                  const struct sn_corpus *corpus, const struct sn_task *fit, const struct sn_task *task)
{
    const struct sn_circuit *circuit = replacer->circuit;
    const unsigned char *kept_edges = circuit ? circuit->kept_edges : NULL;
    struct judge *judge = &replacer->judge;
    int status = judge_open(judge, replacer->context, model, circuit ? means : NULL, fit, task,
                            kept_edges ? JUDGE_EDGES : JUDGE_NODES);
    if (status != SN_OK)
        return status;
    judge->kept_edges = kept_edges;
    replacer->by.base.forward = note_value;
    replacer->by.replacer = replacer->node.replacer = replacer;
    judge->batch.share = 0; /* every token of every prompt counts once */
    /* The judge's own runs of the last layer only what a prompt's last token needs. */
    sn_session_free(judge->measuring);
    judge->measuring = NULL;
    status = session_create_forward(&judge->measuring, replacer->context,
                                    kept_edges ? judge->gated.model : model);
    return status == SN_OK ? allocate(replacer, corpus) : status;
}

void replacer_close(struct replacer *replacer)
{
    struct memory *memory = replacer->context->memory;
    size_t windows = replacer->batch_windows, tokens = windows * replacer->settings.window;
    memory_free(memory, replacer->by.value, replacer->capacity * sizeof(float));
    memory_free(memory, replacer->node.value, replacer->capacity * sizeof(float));
    memory_free(memory, replacer->tokens, tokens * sizeof *replacer->tokens);
    memory_free(memory, replacer->targets, tokens * sizeof *replacer->targets);
    memory_free(memory, replacer->lengths, windows * sizeof *replacer->lengths);
    memory_free(memory, replacer->offsets, (windows + 1) * sizeof *replacer->offsets);
    if (replacer->judge.context)
        judge_close(&replacer->judge);
}
