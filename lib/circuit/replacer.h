/* Linear replacement: one node takes the place of another, up to a factor and a constant (docs/checks.md).
 *
 * Two interventions that see the nodes before any ablation: one notes the value of `by` at every token, the other
 * notes that of `node`, or puts the line's value in its place. The two values of a token may stand in different
 * panels, so they meet by the token's place in the batch. */
#ifndef SN_CIRCUIT_REPLACER_H
#define SN_CIRCUIT_REPLACER_H

#include "circuit/judge.h"
#include "circuit/line.h"
#include "model/intervention.h"

struct replace_settings {
    size_t tokens, window, seed; /* of a corpus */
};

struct replacer;

struct tap {
    struct intervention base; /* first */
    struct replacer *replacer;
    size_t site, channel;
    float *value; /* of each packed token */
};

struct replacer {
    struct sn_context *context;
    const struct sn_circuit *circuit; /* lent; NULL: the whole model */
    struct replace_settings settings;
    struct judge judge; /* judge.measuring runs every token of every layer */
    struct tap by, node;
    size_t capacity; /* packed tokens */
    double factor, offset;
    int32_t *tokens, *targets; /* of a corpus: batch_windows x window */
    size_t *lengths, *offsets;
    size_t batch_windows;
};

/* by and node have their site and channel. Closing works on one that was not opened, or not to the end. */
int replacer_open(struct replacer *replacer, struct sn_model *model, const struct sn_means *means,
                  const struct sn_corpus *corpus, const struct sn_task *fit, const struct sn_task *task);
void replacer_close(struct replacer *replacer);
/* Both nodes as they are, over a corpus, or over all tokens of one set of pairs where it is NULL. Progress stage
 * "fit". */
int replacer_gather(struct line *line, struct replacer *replacer, const struct sn_corpus *corpus,
                    enum judge_set set);
/* judge_measure with the line's value in place of `node`. */
int replacer_measure(struct measurement measured[JUDGE_SETS], struct replacer *replacer);
/* The same without. */
int replacer_measure_before(struct measurement measured[JUDGE_SETS], struct replacer *replacer);

#endif
