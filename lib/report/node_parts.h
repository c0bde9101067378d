/* The parts of a node's name, for reports. */
#ifndef SN_REPORT_NODE_PARTS_H
#define SN_REPORT_NODE_PARTS_H

#include <stddef.h>

#include "sparsenet.h"

#define SITE_NAME_BYTES 64

struct node_parts {
    char site[SITE_NAME_BYTES]; /* "1.attn.v" */
    long layer;
    int in_mlp;              /* the block of the layer: 0 attention, 1 MLP */
    long head, head_channel; /* -1 where the site has no heads */
    size_t channel;          /* of the site */
};

/* Reads "1.attn.v.head2.ch0" or "0.mlp.post_act.86" of a model with heads of d_head channels. */
void node_parts_read(struct node_parts *parts, const char *name, size_t d_head);
/* 1 where a write of the residual stream (resid_delta of `from`) is met again in the same channel by a
 * later read (act_in of `to`). Not an edge: no weight stands between. */
int node_residual_link(const struct node_parts *from, const struct node_parts *to);

#endif
