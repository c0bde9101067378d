/* A card for every node of a circuit, in plain text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sparsenet.h>

static const char usage[] =
    "usage: evidence MODEL TOKENIZER CIRCUIT.json FOLDER\n"
    "\n"
    "Prints what every node of a circuit does over the .py files of a folder, and its weights.\n";

#define MOST 12 /* lines of a list */

static void print_token(const sn_tokenizer *tokenizer, int32_t token)
{
    size_t length = 0;
    const char *bytes = sn_tokenizer_token(&length, tokenizer, token);
    for (size_t i = 0; bytes && i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        printf(c < ' ' || c == 0x7f ? "\\x%02x" : "%c", c);
    }
}

static void print_values(const sn_evidence *evidence, size_t index)
{
    sn_evidence_summary s = {.struct_size = sizeof s};
    const double *edges;
    const uint64_t *counts;
    uint64_t most = 1;
    size_t n_bins;
    sn_evidence_summarize(&s, evidence, index);
    sn_evidence_histogram(&edges, &counts, &n_bins, evidence, index);
    printf("  values at %llu tokens: %.1f %% exactly 0, %.4g to %.4g, mean %.4g, deviation %.4g\n",
           (unsigned long long)s.n_tokens, 100 * (double)s.n_zero / (double)s.n_tokens, s.minimum,
           s.maximum, s.mean, s.deviation);
    for (size_t i = 0; i < n_bins; i++)
        most = counts[i] > most ? counts[i] : most;
    for (size_t i = 0; i < n_bins; i++)
        printf("  %10.4g %8llu %.*s\n", edges[i], (unsigned long long)counts[i],
               (int)((40 * counts[i] + most - 1) / most), "########################################");
}

static void print_contexts(const sn_evidence *evidence, const sn_tokenizer *tokenizer, size_t index,
                           int kind, const char *title)
{
    for (size_t i = 0; i < sn_evidence_context_count(evidence, index, kind); i++) {
        sn_token_context c = {.struct_size = sizeof c};
        sn_evidence_context(&c, evidence, index, kind, i);
        printf("  %s %8.4g  %zu:%zu  ", title, c.value, c.document, c.position);
        for (size_t t = 0; t < c.n_tokens; t++) {
            fputs(t == c.at ? "[[" : "", stdout);
            print_token(tokenizer, c.tokens[t]);
            fputs(t == c.at ? "]]" : "", stdout);
        }
        puts("");
    }
}

static int print_tokens(sn_context *context, const sn_circuit *circuit, const sn_tokenizer *tokenizer,
                        const char *node, int table, const char *title)
{
    const sn_model *model = sn_circuit_model(circuit);
    const size_t n = (size_t)sn_model_config_number(model, "vocab_size");
    size_t needed = 0;
    int32_t *tokens = calloc(n, sizeof *tokens);
    float *weights = calloc(n, sizeof *weights);
    const int ok = tokens && weights &&
                   sn_node_tokens(tokens, weights, n, &needed, context, model, node, table) == SN_OK;
    for (size_t i = 0; ok && i < needed && i < MOST; i++) {
        printf(i ? ", " : "  %s", title);
        print_token(tokenizer, tokens[i]);
        printf(" %.3g", (double)weights[i]);
    }
    if (needed)
        puts(needed > MOST ? ", ..." : "");
    free(tokens);
    free(weights);
    return ok;
}

static int print_edges(sn_context *context, const sn_circuit *circuit, const char *node, int direction)
{
    const sn_model *model = sn_circuit_model(circuit);
    const char *title = direction == SN_INCOMING ? "from" : "to  ";
    size_t n = 0;
    sn_node_edges(NULL, 0, &n, context, model, circuit, node, direction);
    sn_node_edge *edges = calloc(n + 1, sizeof *edges);
    const int ok =
        edges && sn_node_edges(edges, n + 1, &n, context, model, circuit, node, direction) == SN_OK;
    for (size_t i = 0; ok && i < n && i < MOST; i++)
        printf("  %s %9.4g %s %s\n", title, (double)edges[i].weight, edges[i].node,
               edges[i].used ? "*" : "");
    free(edges);
    return ok;
}

static int print_card(sn_context *context, const sn_circuit *circuit, const sn_tokenizer *tokenizer,
                      const sn_evidence *evidence, size_t i)
{
    const char *node = sn_circuit_node_name(circuit, i), *label = sn_circuit_label(circuit, i, SN_LABEL);
    const char *note = sn_circuit_label(circuit, i, SN_NOTE);
    printf("== %s: %s\n%s\n", node, label ? label : "", note ? note : "");
    print_values(evidence, i);
    print_contexts(evidence, tokenizer, i, SN_CONTEXT_TOP, "top   ");
    print_contexts(evidence, tokenizer, i, SN_CONTEXT_BOTTOM, "bottom");
    return print_tokens(context, circuit, tokenizer, node, SN_TOKENS_EMBEDDING, "embedding: ") &&
           print_tokens(context, circuit, tokenizer, node, SN_TOKENS_UNEMBEDDING, "unembedding: ") &&
           print_edges(context, circuit, node, SN_INCOMING) &&
           print_edges(context, circuit, node, SN_OUTGOING);
}

int main(int n_arguments, char **arguments)
{
    sn_context *context = NULL;
    sn_model *model = NULL;
    sn_tokenizer *tokenizer = NULL;
    sn_circuit *circuit = NULL;
    sn_corpus *corpus = NULL;
    sn_options *options = NULL;
    sn_evidence *evidence = NULL;
    int status, complete = 1;
    if (n_arguments == 2 && strcmp(arguments[1], "--help") == 0)
        return fputs(usage, stdout), 0;
    if (n_arguments != 5)
        return fputs(usage, stderr), 2;
    if ((status = sn_context_create(&context, NULL)) == SN_OK &&
        (status = sn_model_load(&model, context, arguments[1])) == SN_OK &&
        (status = sn_tokenizer_load(&tokenizer, context, arguments[2])) == SN_OK &&
        (status = sn_circuit_load(&circuit, context, model, arguments[3])) == SN_OK &&
        (status = sn_corpus_create(&corpus, context)) == SN_OK &&
        (status = sn_corpus_add_directory(corpus, context, arguments[4], ".py", 0, 0)) == SN_OK &&
        (status = sn_corpus_tokenize(corpus, context, tokenizer)) == SN_OK &&
        (status = sn_options_create(&options, context)) == SN_OK &&
        (status = sn_options_set(options, context, "bins", 12)) == SN_OK)
        status = sn_evidence_create_circuit(&evidence, context, circuit, corpus, options);
    for (size_t i = 0; status == SN_OK && complete && i < sn_evidence_count(evidence); i++)
        complete = print_card(context, circuit, tokenizer, evidence, i);
    if (status != SN_OK || !complete)
        fprintf(stderr, "evidence: %s: %s\n", sn_status_string(status), sn_context_message(context));
    sn_evidence_free(evidence);
    sn_options_free(options);
    sn_corpus_free(corpus);
    sn_circuit_free(circuit);
    sn_tokenizer_free(tokenizer);
    sn_model_free(model);
    sn_context_free(context);
    return status != SN_OK || !complete;
}
