/* What is said of nodes: evidence, contributions, two values, motifs. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

#define EVIDENCE READ(evidence, K_EVIDENCE)
#define CONTRIBUTIONS READ(contributions, K_CONTRIBUTIONS)
#define BINARISED CHANGE(binarised, K_BINARISED)
#define SHARED READ(shared, K_SHARED)
#define EVIDENCE_SETTINGS                                                                               \
    settings("tokens:i16-200 window:i0-8 seed:i0-9 bins:i2-16 top:i0-4 bottom:i0-4 per_quantile:i0-2 "  \
             "quantiles:=0.5|0,1|0.25,0.75 before:i0-4 after:i0-4 sample:i16-32!")

static int create_evidence(void)
{
    const size_t n = few(1, 3);
    const char **nodes = block(n * sizeof *nodes);
    for (size_t i = 0; i < n; i++)
        nodes[i] = a_node();
    return sn_evidence_create(SLOT(evidence, K_EVIDENCE), C, MODEL, TOKENS, odd() ? NULL : nodes, n,
                              EVIDENCE_SETTINGS);
}

static int create_evidence_circuit(void)
{
    return sn_evidence_create_circuit(SLOT(evidence, K_EVIDENCE), C, CIRCUIT, TOKENS, EVIDENCE_SETTINGS);
}

static int free_evidence(void)
{
    sn_evidence_free(play_take(K_EVIDENCE));
    return SN_OK;
}

static int summarize(void)
{
    sn_evidence_summary *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    return sn_evidence_summarize(odd() ? NULL : result, EVIDENCE, amount(0, 1));
}

static int histogram(void)
{
    const double *edges = NULL;
    const uint64_t *n_in = NULL;
    size_t n = 0;
    const int status = sn_evidence_histogram(odd() ? NULL : &edges, odd() ? NULL : &n_in,
                                             odd() ? NULL : &n, EVIDENCE, amount(0, 1));
    if (status == SN_OK && n_in)
        answer_bytes(n_in, n * sizeof *n_in);
    if (status == SN_OK && edges && n)
        answer_bytes(edges, (n + 1) * sizeof *edges);
    return status;
}

static int context_count(void)
{
    return answer_number((double)sn_evidence_context_count(EVIDENCE, amount(0, 1),
                                                           whole(SN_CONTEXT_TOP, SN_CONTEXT_QUANTILE)));
}

static int token_context(void)
{
    sn_token_context *found = block(sizeof *found);
    found->struct_size = few(sizeof *found, sizeof *found);
    const int status = sn_evidence_context(odd() ? NULL : found, EVIDENCE, amount(0, 1),
                                           whole(SN_CONTEXT_TOP, SN_CONTEXT_QUANTILE), amount(0, 1));
    if (status == SN_OK && found->tokens) {
        answer_bytes(found->tokens, found->n_tokens * sizeof *found->tokens);
        answer_bytes(found->activations, found->n_tokens * sizeof *found->activations);
    }
    return status;
}

/* --------------------------------------------------------------- contributions */

static int create_contributions(void)
{
    const size_t n = few(1, 8);
    const int whole_model = chance(50);
    const int32_t *ids = tokens(n);
    return sn_contributions_create(SLOT(contributions, K_CONTRIBUTIONS), C, MODEL,
                                   whole_model ? NULL : CIRCUIT, whole_model ? NULL : MEANS, a_node(),
                                   ids, n, n ? amount(0, n - 1) : 0);
}

static int create_contributions_task(void)
{
    const int whole_model = chance(50);
    return sn_contributions_create_task(SLOT(contributions, K_CONTRIBUTIONS), C, MODEL,
                                        whole_model ? NULL : CIRCUIT, whole_model ? NULL : MEANS,
                                        a_node(), TASK);
}

static int free_contributions(void)
{
    sn_contributions_free(play_take(K_CONTRIBUTIONS));
    return SN_OK;
}

static int get_contribution(void)
{
    sn_contribution *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    const int status = sn_contributions_get(odd() ? NULL : result, CONTRIBUTIONS, amount(0, 1));
    return status == SN_OK ? answer_text(result->source) : status;
}

static int contributions_sum(void)
{
    double *sums = block(4 * sizeof *sums);
    return sn_contributions_sum(odd() ? NULL : sums, odd() ? NULL : sums + 1, odd() ? NULL : sums + 2,
                                odd() ? NULL : sums + 3, CONTRIBUTIONS);
}

/* ------------------------------------------------------------------- two values */

static int create_binarised(void)
{
    return sn_binarised_create(SLOT(binarised, K_BINARISED), C, CIRCUIT, MEANS, TASK,
                               settings("steps:i0-3! batch:i1-4! learning_rate:r0-0.1 seed:i0-9"));
}

static int free_binarised(void)
{
    sn_binarised_free(play_take(K_BINARISED));
    return SN_OK;
}

static int binarised_node(void)
{
    double *values = block(2 * sizeof *values);
    return answer_text(
        sn_binarised_node(odd() ? NULL : values, odd() ? NULL : values + 1, BINARISED, amount(0, 1)));
}

static int binarised_losses(void)
{
    double *values = block(2 * sizeof *values);
    return sn_binarised_losses(odd() ? NULL : values, odd() ? NULL : values + 1, BINARISED);
}

static int binarised_evaluate(void)
{
    sn_evaluation *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    return sn_binarised_evaluate(odd() ? NULL : result, C, BINARISED, MEANS, TASK, TASK);
}

/* ----------------------------------------------------------------------- motifs */

/* Counts beyond the most are refused before the circuits are looked at. */
static int create_shared(void)
{
    const size_t n = 1 + draw(3);
    const sn_circuit **circuits = block(n * sizeof *circuits);
    for (size_t i = 0; i < n; i++)
        circuits[i] = CIRCUIT;
    return sn_shared_create(SLOT(shared, K_SHARED), C, odd() ? NULL : circuits,
                            odd() ? 65 + draw(0) / 2 : n);
}

static int free_shared(void)
{
    sn_shared_free(play_take(K_SHARED));
    return SN_OK;
}

static int shared_node(void)
{
    uint64_t *set = odd() ? NULL : block(sizeof *set);
    return answer_text(sn_shared_node(set, SHARED, amount(0, 1)));
}

static int shared_edge(void)
{
    const char *from = NULL, *to = NULL;
    float *weight = odd() ? NULL : block(sizeof *weight);
    uint64_t *set = odd() ? NULL : block(sizeof *set);
    const int status =
        sn_shared_edge(odd() ? NULL : &from, odd() ? NULL : &to, weight, set, SHARED, amount(0, 1));
    if (status == SN_OK && from)
        answer_text(from);
    if (status == SN_OK && to)
        answer_text(to);
    return status;
}

static int shared_motif(void)
{
    const size_t *edges = NULL;
    size_t n = 0;
    uint64_t *set = odd() ? NULL : block(sizeof *set);
    const int status =
        sn_shared_motif(set, odd() ? NULL : &edges, odd() ? NULL : &n, SHARED, amount(0, 1));
    if (status == SN_OK && edges)
        answer_bytes(edges, n * sizeof *edges);
    return status;
}

#define ROWS(X)                                                                                         \
    X(sn_evidence_create, FAIR, create_evidence())                                                      \
    X(sn_evidence_create_circuit, FAIR, create_evidence_circuit())                                      \
    X(sn_evidence_free, FAIR, free_evidence())                                                          \
    X(sn_evidence_count, CHEAP, answer_number((double)sn_evidence_count(EVIDENCE)))                     \
    X(sn_evidence_node, CHEAP, answer_text(sn_evidence_node(EVIDENCE, amount(0, 1))))                   \
    X(sn_evidence_summarize, CHEAP, summarize())                                                        \
    X(sn_evidence_histogram, CHEAP, histogram())                                                        \
    X(sn_evidence_context_count, CHEAP, context_count())                                                \
    X(sn_evidence_context, CHEAP, token_context())                                                      \
    X(sn_contributions_create, FAIR, create_contributions())                                            \
    X(sn_contributions_create_task, FAIR, create_contributions_task())                                  \
    X(sn_contributions_free, FAIR, free_contributions())                                                \
    X(sn_contributions_count, CHEAP, answer_number((double)sn_contributions_count(CONTRIBUTIONS)))      \
    X(sn_contributions_get, CHEAP, get_contribution())                                                  \
    X(sn_contributions_sum, CHEAP, contributions_sum())                                                 \
    X(sn_binarised_create, FAIR, create_binarised())                                                    \
    X(sn_binarised_free, FAIR, free_binarised())                                                        \
    X(sn_binarised_count, CHEAP, answer_number((double)sn_binarised_count(BINARISED)))                  \
    X(sn_binarised_node, CHEAP, binarised_node())                                                       \
    X(sn_binarised_losses, CHEAP, binarised_losses())                                                   \
    X(sn_binarised_evaluate, FAIR, binarised_evaluate())                                                \
    X(sn_shared_create, FAIR, create_shared())                                                          \
    X(sn_shared_free, FAIR, free_shared())                                                              \
    X(sn_shared_node_count, CHEAP, answer_number((double)sn_shared_node_count(SHARED)))                 \
    X(sn_shared_node, CHEAP, shared_node())                                                             \
    X(sn_shared_edge_count, CHEAP, answer_number((double)sn_shared_edge_count(SHARED)))                 \
    X(sn_shared_edge, CHEAP, shared_edge())                                                             \
    X(sn_shared_motif_count, CHEAP, answer_number((double)sn_shared_motif_count(SHARED)))               \
    X(sn_shared_motif, CHEAP, shared_motif())

DEFINE_ROWS(rows_evidence, ROWS)
