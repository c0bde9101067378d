/* Calls of what is said of a circuit: evidence, contributions, binarisation, motifs. */
#include <string.h>

#include "calls.h"
#include "world_objects.h"

#define TOKENS OBJECT(sn_corpus, O_TOKENS)
#define EVIDENCE OBJECT(sn_evidence, O_EVIDENCE)
#define CONTRIBUTIONS OBJECT(sn_contributions, O_CONTRIBUTIONS)
#define BINARISED OBJECT(sn_binarised, O_BINARISED)
#define SHARED OBJECT(sn_shared, O_SHARED)

static const char *const nodes[2] = {WORLD_NODE, "0.attn.act_in.0"};

#define FREE_CALL(type, object)                                                                         \
    static int free_##type(struct world *w)                                                             \
    {                                                                                                   \
        sn_##type##_free(w->objects[object]);                                                           \
        w->objects[object] = NULL;                                                                      \
        return SN_OK;                                                                                   \
    }
FREE_CALL(evidence, O_EVIDENCE)
FREE_CALL(contributions, O_CONTRIBUTIONS)
FREE_CALL(binarised, O_BINARISED)
FREE_CALL(shared, O_SHARED)

static int histogram(struct world *w)
{
    const double *edges;
    const uint64_t *counts;
    int status = sn_evidence_histogram(&edges, &counts, &w->out.sizes[0], EVIDENCE, 0);
    return status == SN_OK ? keep_bytes(w, counts, w->out.sizes[0] * sizeof *counts) : status;
}

static int token_context(struct world *w)
{
    sn_token_context found = {.struct_size = sizeof found};
    int status = sn_evidence_context(&found, EVIDENCE, 0, SN_CONTEXT_TOP, 0);
    return status == SN_OK ? keep_bytes(w, found.tokens, found.n_tokens * sizeof *found.tokens) : status;
}

static int share(struct world *w)
{
    const sn_circuit *circuits[3] = {CIRCUIT, OBJECT(sn_circuit, O_OTHER), CIRCUIT};
    return sn_shared_create(MADE(sn_shared, O_SHARED), CONTEXT, circuits, 3);
}

static int shared_edge(struct world *w)
{
    const char *from, *to;
    int status = sn_shared_edge(&from, &to, w->out.floats, w->out.sets, SHARED, 0);
    return status == SN_OK ? keep_text(w, from) : status;
}

static int shared_motif(struct world *w)
{
    const size_t *edges;
    int status = sn_shared_motif(w->out.sets, &edges, &w->out.sizes[0], SHARED, 0);
    return status == SN_OK ? keep_bytes(w, edges, w->out.sizes[0] * sizeof *edges) : status;
}

#define CALLS(X)                                                                                        \
    X(sn_evidence_create, "sample=16", B(MODEL) | B(TOKENS), 0, CANCELS,                                \
      sn_evidence_create(MADE(sn_evidence, O_EVIDENCE), CONTEXT, MODEL, TOKENS, nodes, 2, OPTIONS))     \
    X(sn_evidence_create_circuit, "sample=16", B(CIRCUIT) | B(TOKENS), 0, CANCELS,                      \
      sn_evidence_create_circuit(MADE(sn_evidence, O_EVIDENCE), CONTEXT, CIRCUIT, TOKENS, OPTIONS))     \
    X(sn_evidence_free, "", B(EVIDENCE), 0, ALLOCATES_NOTHING, free_evidence(w))                        \
    X(sn_evidence_count, "", B(EVIDENCE), 0, ALLOCATES_NOTHING, NUMBER(sn_evidence_count(EVIDENCE)))    \
    X(sn_evidence_node, "", B(EVIDENCE), 0, ALLOCATES_NOTHING, TEXT(sn_evidence_node(EVIDENCE, 1)))     \
    X(sn_evidence_summarize, "", B(EVIDENCE), 0, ALLOCATES_NOTHING,                                     \
      sn_evidence_summarize(&OUT.summary, EVIDENCE, 1))                                                 \
    X(sn_evidence_histogram, "", B(EVIDENCE), 0, ALLOCATES_NOTHING, histogram(w))                       \
    X(sn_evidence_context_count, "", B(EVIDENCE), 0, ALLOCATES_NOTHING,                                 \
      NUMBER(sn_evidence_context_count(EVIDENCE, 0, SN_CONTEXT_TOP)))                                   \
    X(sn_evidence_context, "", B(EVIDENCE), 0, ALLOCATES_NOTHING, token_context(w))                     \
    X(sn_contributions_create, "", B(MODEL) | B(CIRCUIT) | B(MEANS), 0, 0,                              \
      sn_contributions_create(MADE(sn_contributions, O_CONTRIBUTIONS), CONTEXT, MODEL, CIRCUIT, MEANS,  \
                              WORLD_NODE, world_tokens, 4, 3))                                          \
    X(sn_contributions_create_task, "", B(MODEL) | B(CIRCUIT) | B(MEANS) | B(TASK), 0, CANCELS,         \
      sn_contributions_create_task(MADE(sn_contributions, O_CONTRIBUTIONS), CONTEXT, MODEL, CIRCUIT,    \
                                   MEANS, WORLD_NODE, TASK))                                            \
    X(sn_contributions_free, "", B(CONTRIBUTIONS), 0, ALLOCATES_NOTHING, free_contributions(w))         \
    X(sn_contributions_count, "", B(CONTRIBUTIONS), 0, ALLOCATES_NOTHING,                               \
      NUMBER(sn_contributions_count(CONTRIBUTIONS)))                                                    \
    X(sn_contributions_get, "", B(CONTRIBUTIONS), 0, ALLOCATES_NOTHING,                                 \
      sn_contributions_get(&OUT.contribution, CONTRIBUTIONS, 0))                                        \
    X(sn_contributions_sum, "", B(CONTRIBUTIONS), 0, ALLOCATES_NOTHING,                                 \
      sn_contributions_sum(&OUT.numbers[0], &OUT.numbers[1], &OUT.numbers[2], &OUT.numbers[3],          \
                           CONTRIBUTIONS))                                                              \
    X(sn_binarised_create, "steps=2 batch=2", B(CIRCUIT) | B(MEANS) | B(TASK), 0,                       \
      KEEPS_MEMORY | CANCELS,                                                                           \
      sn_binarised_create(MADE(sn_binarised, O_BINARISED), CONTEXT, CIRCUIT, MEANS, TASK, OPTIONS))     \
    X(sn_binarised_free, "", B(BINARISED), 0, ALLOCATES_NOTHING, free_binarised(w))                     \
    X(sn_binarised_count, "", B(BINARISED), 0, ALLOCATES_NOTHING,                                       \
      NUMBER(sn_binarised_count(BINARISED)))                                                            \
    X(sn_binarised_node, "", B(BINARISED), 0, ALLOCATES_NOTHING,                                        \
      TEXT(sn_binarised_node(&OUT.numbers[0], &OUT.numbers[1], BINARISED, 0)))                          \
    X(sn_binarised_losses, "", B(BINARISED), 0, ALLOCATES_NOTHING,                                      \
      sn_binarised_losses(&OUT.numbers[0], &OUT.numbers[1], BINARISED))                                 \
    X(sn_binarised_evaluate, "", B(BINARISED) | B(MEANS) | B(TASK), 0, KEEPS_MEMORY,                    \
      sn_binarised_evaluate(&OUT.evaluation, CONTEXT, BINARISED, MEANS, TASK, TASK))                    \
    X(sn_shared_create, "", 0, B(CIRCUIT) | B(OTHER), CANCELS, share(w))                                \
    X(sn_shared_free, "", B(SHARED), 0, ALLOCATES_NOTHING, free_shared(w))                              \
    X(sn_shared_node_count, "", B(SHARED), 0, ALLOCATES_NOTHING, NUMBER(sn_shared_node_count(SHARED)))  \
    X(sn_shared_node, "", B(SHARED), 0, ALLOCATES_NOTHING, TEXT(sn_shared_node(OUT.sets, SHARED, 0)))   \
    X(sn_shared_edge_count, "", B(SHARED), 0, ALLOCATES_NOTHING, NUMBER(sn_shared_edge_count(SHARED)))  \
    X(sn_shared_edge, "", B(SHARED), 0, ALLOCATES_NOTHING, shared_edge(w))                              \
    X(sn_shared_motif_count, "", B(SHARED), 0, ALLOCATES_NOTHING,                                       \
      NUMBER(sn_shared_motif_count(SHARED)))                                                            \
    X(sn_shared_motif, "", B(SHARED), 0, ALLOCATES_NOTHING, shared_motif(w))

DEFINE_TABLE(calls_checks, CALLS)
