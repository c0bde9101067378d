/* Labels and notes that people attach to the nodes of a circuit. */
#include "circuit/labels.h"

#include <string.h>

#include "base/buffer.h"
#include "base/utf8.h"

static void free_text(struct sn_circuit *circuit, char *text)
{
    if (text)
        memory_free(circuit->memory, text, strlen(text) + 1);
}

void circuit_drop_labels(struct sn_circuit *circuit, const unsigned char *kept)
{
    size_t left = 0;
    for (size_t i = 0; i < circuit->n_labels; i++) {
        struct node_label *label = &circuit->labels[i];
        if (kept && kept[label->node] && (label->text[SN_LABEL] || label->text[SN_NOTE])) {
            circuit->labels[left++] = *label;
            continue;
        }
        free_text(circuit, label->text[SN_LABEL]);
        free_text(circuit, label->text[SN_NOTE]);
    }
    circuit->n_labels = left;
    if (kept)
        return;
    memory_free(circuit->memory, circuit->labels, circuit->label_capacity * sizeof *circuit->labels);
    circuit->labels = NULL;
    circuit->label_capacity = 0;
}

/* That of a node, NULL where it has none. */
static struct node_label *find(const struct sn_circuit *circuit, size_t node)
{
    for (size_t i = 0; i < circuit->n_labels; i++)
        if (circuit->labels[i].node == node)
            return &circuit->labels[i];
    return NULL;
}

/* An empty one for a node that has none. */
static struct node_label *append(struct sn_circuit *circuit, size_t node)
{
    size_t size = sizeof *circuit->labels, old = circuit->label_capacity;
    if (circuit->n_labels == old) {
        size_t capacity = old ? 2 * old : 8;
        struct node_label *labels =
            memory_resize(circuit->memory, circuit->labels, old * size, capacity * size);
        if (!labels)
            return NULL;
        circuit->labels = labels;
        circuit->label_capacity = capacity;
    }
    circuit->labels[circuit->n_labels] = (struct node_label){.node = node};
    return &circuit->labels[circuit->n_labels++];
}

int circuit_label_node(struct sn_circuit *circuit, struct sn_context *context, size_t node, int kind,
                       const char *text)
{
    struct node_label *label = find(circuit, node);
    char *copy = NULL;
    if (!label && !*text)
        return SN_OK;
    if (*text && !(copy = memory_copy_text(circuit->memory, text, strlen(text))))
        return fail_memory(context, "a label", strlen(text) + 1);
    if (!label && !(label = append(circuit, node))) {
        free_text(circuit, copy);
        return fail_memory(context, "labels", circuit->n_labels * sizeof *label);
    }
    free_text(circuit, label->text[kind]);
    label->text[kind] = copy;
    if (!label->text[SN_LABEL] && !label->text[SN_NOTE])
        circuit_drop_labels(circuit, circuit->kept);
    return SN_OK;
}

const char *label_fault(const char *text, int kind)
{
    size_t length = strlen(text);
    if (length > (kind == SN_LABEL ? LABEL_BYTES : NOTE_BYTES))
        return kind == SN_LABEL ? "has more than 1024 bytes" : "has more than 1048576 bytes";
    if (!utf8_is_valid((const unsigned char *)text, length))
        return "is not UTF-8";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < ' ' && !(kind == SN_NOTE && (c == '\n' || c == '\t'))) || c == 0x7f)
            return kind == SN_LABEL ? "holds a control character"
                                    : "holds a control character other than newline and tab";
    }
    return NULL;
}

/* What two circuits say of a node: once where they say the same, else side by side. */
static int join(struct buffer *out, const char *a, const char *b, int kind)
{
    out->size = 0;
    buffer_text(out, a ? a : b);
    if (a && b && strcmp(a, b) != 0) {
        buffer_text(out, kind == SN_LABEL ? " | " : "\n\n");
        buffer_text(out, b);
        if (out->size > (kind == SN_LABEL ? LABEL_BYTES : NOTE_BYTES)) {
            out->size = 0;
            buffer_text(out, a);
        }
    }
    return !out->failed;
}

static const char *text_of(const struct sn_circuit *circuit, size_t node, int kind)
{
    const struct node_label *label = circuit ? find(circuit, node) : NULL;
    return label ? label->text[kind] : NULL;
}

int circuit_join_labels(struct sn_circuit *circuit, struct sn_context *context,
                        const struct sn_circuit *a, const struct sn_circuit *b)
{
    struct buffer text;
    int status = SN_OK;
    buffer_init(&text, context->memory);
    for (size_t i = 0; status == SN_OK && i < 2 * circuit->graph.n_nodes; i++) {
        size_t node = circuit->graph.nodes[i / 2];
        int kind = i % 2 ? SN_NOTE : SN_LABEL;
        const char *of_a = text_of(a, node, kind), *of_b = text_of(b, node, kind);
        if (!of_a && !of_b)
            continue;
        status = join(&text, of_a, of_b, kind)
                     ? circuit_label_node(circuit, context, node, kind, text.bytes)
                     : fail_memory(context, "a label", 0);
    }
    buffer_free(&text);
    return status;
}

/* ---- public */

static const char *const kinds[] = {"label", "note"};

int sn_circuit_set_label(sn_circuit *circuit, sn_context *context, const char *node, int kind,
                         const char *text)
{
    static const char function[] = "sn_circuit_set_label";
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !node)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    circuit ? "node" : "circuit");
    if (kind != SN_LABEL && kind != SN_NOTE)
        return fail(context, SN_ERROR_ARGUMENT, "%s: kind is %d", function, kind);
    size_t index = node_layout_find(&circuit->layout, circuit->model, node);
    if (index == NO_NODE || !circuit->kept[index])
        return fail(context, SN_ERROR_ARGUMENT, "%s: \"%.100s\" is no node of the circuit", function,
                    node);
    const char *fault = text ? label_fault(text, kind) : NULL;
    if (fault)
        return fail(context, SN_ERROR_ARGUMENT, "%s: the %s of %s %s", function, kinds[kind], node,
                    fault);
    return circuit_label_node(circuit, context, index, kind, text ? text : "");
}

const char *sn_circuit_label(const sn_circuit *circuit, size_t index, int kind)
{
    if (!circuit || index >= circuit->graph.n_nodes || (kind != SN_LABEL && kind != SN_NOTE))
        return NULL;
    return text_of(circuit, circuit->graph.nodes[index], kind);
}
