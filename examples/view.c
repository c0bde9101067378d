/* A circuit as a page for a browser: view MODEL CIRCUIT.json OUT.html. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sparsenet.h>

static const char usage[] =
    "usage: view MODEL CIRCUIT.json OUT.html [OPTION VALUE]...\n"
    "\n"
    "Writes one HTML file that any browser opens offline.\n"
    "\n"
    "  --tokenizer FOLDER   texts of tokens, not their numbers\n"
    "  --task FILE.jsonl    pairs of prompts: what every node does on them\n"
    "  --corpus FOLDER      what every node does over the .py files of a folder (needs --tokenizer)\n"
    "  --tokens N           how many tokens of them (131072)\n"
    "  --other CIRCUIT      a second circuit of the model, to compare with\n"
    "  --other-task FILE    its pairs\n"
    "  --labels CIRCUIT     labels and notes of another file of the circuit\n";

struct request {
    const char *model, *circuit, *out;
    const char *tokenizer, *task, *corpus, *tokens, *other, *other_task, *labels;
};

struct loaded {
    sn_context *context;
    sn_model *model;
    sn_tokenizer *tokenizer;
    sn_circuit *circuit, *other, *shown, *labels; /* shown: both circuits' nodes */
    sn_task *task, *other_task;
    sn_corpus *corpus;
    sn_options *options;
    sn_evidence *evidence;
};

static int read_arguments(struct request *request, int n, char **arguments)
{
    const struct {
        const char *name;
        const char **value;
    } options[] = {
        {"--tokenizer", &request->tokenizer}, {"--task", &request->task},
        {"--corpus", &request->corpus},       {"--tokens", &request->tokens},
        {"--other", &request->other},         {"--other-task", &request->other_task},
        {"--labels", &request->labels},
    };
    if (n < 4 || n % 2)
        return 0;
    request->model = arguments[1];
    request->circuit = arguments[2];
    request->out = arguments[3];
    for (int i = 4; i < n; i += 2) {
        size_t k = 0, n_options = sizeof options / sizeof *options;
        while (k < n_options && strcmp(arguments[i], options[k].name) != 0)
            k++;
        if (k == n_options)
            return 0;
        *options[k].value = arguments[i + 1];
    }
    return !request->corpus || request->tokenizer;
}

static int load(struct loaded *l, const struct request *request)
{
    int status = sn_context_create(&l->context, NULL);
    if (status == SN_OK)
        status = sn_model_load(&l->model, l->context, request->model);
    if (status == SN_OK)
        status = sn_circuit_load(&l->circuit, l->context, l->model, request->circuit);
    if (status == SN_OK && request->other)
        status = sn_circuit_load(&l->other, l->context, l->model, request->other);
    if (status == SN_OK && request->labels)
        status = sn_circuit_load(&l->labels, l->context, l->model, request->labels);
    if (status == SN_OK && request->tokenizer)
        status = sn_tokenizer_load(&l->tokenizer, l->context, request->tokenizer);
    if (status == SN_OK && request->task)
        status = sn_task_load_jsonl(&l->task, l->context, l->tokenizer, request->task);
    if (status == SN_OK && request->other_task)
        status = sn_task_load_jsonl(&l->other_task, l->context, l->tokenizer, request->other_task);
    return status;
}

/* Labels go by the names of nodes. */
static int take_labels(struct loaded *l)
{
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < sn_circuit_node_count(l->labels); i++)
        for (int kind = SN_LABEL; status == SN_OK && kind <= SN_NOTE; kind++) {
            const char *text = sn_circuit_label(l->labels, i, kind);
            if (text)
                status = sn_circuit_set_label(l->circuit, l->context, sn_circuit_node_name(l->labels, i),
                                              kind, text);
        }
    return status;
}

static int gather(struct loaded *l, const struct request *request)
{
    int status = sn_corpus_create(&l->corpus, l->context);
    if (status == SN_OK)
        status = sn_corpus_add_directory(l->corpus, l->context, request->corpus, ".py", 0, 0);
    if (status == SN_OK)
        status = sn_corpus_tokenize(l->corpus, l->context, l->tokenizer);
    if (status == SN_OK)
        status = sn_options_create(&l->options, l->context);
    if (status == SN_OK)
        status = sn_options_set(l->options, l->context, "tokens",
                                request->tokens ? atof(request->tokens) : 131072);
    if (status == SN_OK && l->other)
        status = sn_circuit_combine(&l->shown, l->context, l->circuit, l->other, SN_UNION);
    if (status == SN_OK)
        status = sn_evidence_create_circuit(&l->evidence, l->context, l->shown ? l->shown : l->circuit,
                                            l->corpus, l->options);
    return status;
}

static void free_all(struct loaded *l)
{
    sn_evidence_free(l->evidence);
    sn_options_free(l->options);
    sn_corpus_free(l->corpus);
    sn_task_free(l->task);
    sn_task_free(l->other_task);
    sn_circuit_free(l->shown);
    sn_circuit_free(l->labels);
    sn_circuit_free(l->other);
    sn_circuit_free(l->circuit);
    sn_tokenizer_free(l->tokenizer);
    sn_model_free(l->model);
    sn_context_free(l->context);
}

int main(int n_arguments, char **arguments)
{
    struct request request = {0};
    struct loaded l = {0};
    if (n_arguments == 2 && strcmp(arguments[1], "--help") == 0)
        return fputs(usage, stdout), 0;
    if (!read_arguments(&request, n_arguments, arguments))
        return fputs(usage, stderr), 2;
    int status = load(&l, &request);
    if (status == SN_OK && request.labels)
        status = take_labels(&l);
    if (status == SN_OK && request.corpus)
        status = gather(&l, &request);
    if (status == SN_OK) {
        const sn_page page = {.struct_size = sizeof page,
                              .tokenizer = l.tokenizer,
                              .evidence = l.evidence,
                              .task = l.task,
                              .other = l.other,
                              .other_task = l.other_task};
        status = sn_report_write_html(l.context, l.circuit, &page, request.out);
    }
    if (status != SN_OK)
        fprintf(stderr, "view: %s: %s\n", sn_status_string(status), sn_context_message(l.context));
    free_all(&l);
    return status != SN_OK;
}
