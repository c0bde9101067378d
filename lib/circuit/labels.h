/* Labels and notes of nodes: what people say about them. */
#ifndef SN_CIRCUIT_LABELS_H
#define SN_CIRCUIT_LABELS_H

#include "circuit/circuit.h"

#define LABEL_BYTES ((size_t)1024)
#define NOTE_BYTES ((size_t)1 << 20)

/* kind: SN_LABEL or SN_NOTE. node: a flat index, kept. text: checked before; "" takes it away. On
 * failure all stands as it was. */
int circuit_label_node(struct sn_circuit *circuit, struct sn_context *context, size_t node, int kind,
                       const char *text);
/* What is wrong with a text, as the end of a sentence; NULL where nothing is. */
const char *label_fault(const char *text, int kind);
/* Those of a and of b (may be NULL) on the nodes of a circuit that has none yet. */
int circuit_join_labels(struct sn_circuit *circuit, struct sn_context *context,
                        const struct sn_circuit *a, const struct sn_circuit *b);

#endif
