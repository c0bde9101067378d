/* The parts of the circuit page (sn_report_write_html): each writes one member of the page's data. */
#ifndef SN_REPORT_PAGE_H
#define SN_REPORT_PAGE_H

#include "base/buffer.h"
#include "base/context.h"
#include "report/node_parts.h"

struct page_node {
    const char *name; /* lent by its circuit */
    struct node_parts parts;
};

struct page {
    sn_context *context;
    sn_model *model; /* lent */
    const sn_circuit *circuit;
    sn_page inputs;          /* all that this library knows; the caller's, zeros where it gave less */
    struct page_node *nodes; /* of both circuits, each once */
    size_t n_nodes, node_capacity;
    size_t d_head;
    unsigned char *tokens; /* a byte for each of the vocabulary: 1 if the page shows it */
    size_t n_vocabulary;
    struct buffer out;
};

/* An array of tokens; they are remembered for the page's vocabulary. */
void page_tokens(struct page *page, const int32_t *tokens, size_t n);
/* An array of values as the page keeps them: first a unit, then whole multiples of it, up to 999. */
void page_values(struct page *page, const float *values, size_t n, size_t stride);

/* page_evidence.c: "evidence", what nodes do over a corpus. */
void page_evidence(struct page *page);
/* page_prompts.c: "prompts", pairs of the tasks with every node's values and attention. Progress stage "page". */
int page_prompts(struct page *page);
/* page_channels.c: "channels", which tokens write to a residual channel or are read from it. */
int page_channels(struct page *page);

#endif
