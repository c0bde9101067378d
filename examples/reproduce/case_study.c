#include "case_study.h"

#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "draw.h"
#include "train_model.h"

#define N_PAIRS 64
#define N_PATHS 8
#define N_SOURCES 4 /* shown of a node */
#define N_TOKENS 5
#define N_LISTS 64 /* pairs of prompts at each length */

static const char quote[] = "single_double_quote", bracket[] = "bracket_counting";

struct study_of_case {
    const struct study *study;
    const struct texts *texts;
    struct subject subject;
    sn_circuit *circuit;
    FILE *page;
};

static size_t task_index(const char *name)
{
    size_t i = 0;
    while (i < sn_python_task_count() && strcmp(sn_python_task_name(i), name) != 0)
        i++;
    return i;
}

/* ------------------------------------------------------------------ node by node */

/* A token's text, so that it can stand between backquotes on one line. */
static void print_token(FILE *page, const sn_tokenizer *tokenizer, int32_t token)
{
    size_t length;
    const char *text = sn_tokenizer_token(&length, tokenizer, token);
    fputs(" `", page);
    for (size_t i = 0; text && i < length; i++)
        if (text[i] == '\n')
            fputs("\\n", page);
        else
            fputc(text[i] == '`' || text[i] == '|' ? '.' : text[i], page);
    fputc('`', page);
}

/* The tokens of an embedding or an unembedding channel, strongest first. */
static void print_tokens(const struct study_of_case *c, const char *node, int table, const char *what)
{
    sn_context *context = c->subject.context;
    size_t n;
    check(context, sn_node_tokens(NULL, NULL, 0, &n, context, c->subject.model, node, table));
    if (n == 0)
        return;
    int32_t *tokens = malloc(n * sizeof *tokens);
    float *weights = malloc(n * sizeof *weights);
    if (!tokens || !weights)
        stop("no memory for", "tokens");
    check(context, sn_node_tokens(tokens, weights, n, &n, context, c->subject.model, node, table));
    fprintf(c->page, "%s of %zu tokens:", what, n);
    for (size_t i = 0; i < n && i < N_TOKENS; i++) {
        print_token(c->page, c->texts->tokenizer, tokens[i]);
        fprintf(c->page, " %+.2f", (double)weights[i]);
    }
    fputs(". ", c->page);
    free(tokens);
    free(weights);
}

/* What makes the node's value at the last token, inside the circuit: prompts A and prompts B. */
static void print_sources(const struct study_of_case *c, const char *node)
{
    sn_context *context = c->subject.context;
    sn_contributions *made_of;
    double input, input_b, value, value_b;
    check(context, sn_contributions_create_task(&made_of, context, c->subject.model, c->circuit,
                                                c->subject.means, node, c->subject.prune));
    check(context, sn_contributions_sum(&input, &input_b, &value, &value_b, made_of));
    fprintf(c->page, "%.3f | %.3f | ", value, value_b);
    for (size_t i = 0, shown = 0; i < sn_contributions_count(made_of) && shown < N_SOURCES; i++) {
        sn_contribution source = {.struct_size = sizeof source};
        check(context, sn_contributions_get(&source, made_of, i));
        if (!source.used)
            continue;
        fprintf(c->page, "%s%s x %+.2f (%.2f, %.2f)", shown ? "; " : "", source.source, source.weight,
                source.value, source.value_b);
        shown++;
    }
    fputs(" | ", c->page);
    sn_contributions_free(made_of);
}

static void print_nodes(const struct study_of_case *c)
{
    fputs("\n## Node by node\n\nValues at the last token, mean over prompts A and over prompts B, "
          "everything "
          "outside the circuit at its mean; what they\nare made of: source x weight (contribution in A, "
          "in B). "
          "*delta*: rise of the loss without the node.\n\n"
          "| node | delta | in A | in B | made of | tokens |\n|---|---|---|---|---|---|\n",
          c->page);
    for (size_t i = 0; i < sn_circuit_node_count(c->circuit); i++) {
        const char *node = sn_circuit_node_name(c->circuit, i);
        double raw;
        check(c->subject.context, sn_circuit_node_delta(NULL, &raw, c->circuit, i));
        fprintf(c->page, "| %s | %.3f | ", node, raw);
        print_sources(c, node);
        print_tokens(c, node, SN_TOKENS_EMBEDDING, "embedding");
        print_tokens(c, node, SN_TOKENS_UNEMBEDDING, "logits");
        fputs("|\n", c->page);
    }
}

static void print_paths(struct study_of_case *c)
{
    sn_context *context = c->subject.context;
    sn_options *how = options(context);
    set(context, how, "paths", N_PATHS);
    check(context, sn_circuit_trace(c->circuit, context, c->subject.means, c->texts->tokenizer,
                                    c->subject.prune, how));
    sn_options_free(how);
    fputs("\n## Paths\n\nFrom a token to the difference of the two logits, with their contribution to "
          "it.\n\n"
          "| contribution | path |\n|---|---|\n",
          c->page);
    for (size_t i = 0; i < sn_circuit_path_count(c->circuit); i++) {
        double contribution;
        const char *path = sn_circuit_path(NULL, &contribution, c->circuit, i);
        fprintf(c->page, "| %+.3f | ", contribution);
        for (; *path; path++)
            fputs(*path == '\n' ? "\\n" : *path == '|' ? "." : (char[]){*path, 0}, c->page);
        fputs(" |\n", c->page);
    }
}

/* ------------------------------------------------------------------- a prediction */

/* "depth = [8, [3, 4, ..." against "depth = [8, [3], 4, ...": the list goes on for n more elements. */
static void add_list(sn_task *task, const struct study_of_case *c, size_t pair, size_t n)
{
    static const char *const targets[2] = {"]]\n", "]\n"};
    char prompt[2][1024];
    for (size_t side = 0; side < 2; side++) {
        unsigned digit = (unsigned)pair;
        int length =
            snprintf(prompt[side], sizeof prompt[side], "    %s = [%u, [%u%s",
                     pair % 2 ? "rows" : "value", digit % 10, digit / 10 % 10, side == 0 ? ", " : "], ");
        for (size_t i = 0; i < n; i++) {
            digit = digit * 7 + 3;
            length += snprintf(prompt[side] + length, sizeof prompt[side] - (size_t)length, "%s%u",
                               i ? ", " : "", digit % 10);
        }
    }
    check(c->subject.context, sn_task_add_text_pair(task, c->subject.context, c->texts->tokenizer,
                                                    prompt[0], prompt[1], targets[0], targets[1]));
}

static sn_evaluation evaluate_lists(const struct study_of_case *c, const sn_task *lists, int ablate)
{
    sn_evaluation result = {.struct_size = sizeof result};
    check(c->subject.context,
          sn_evaluate(&result, c->subject.context, c->subject.model, c->subject.means, c->circuit,
                      ablate, c->subject.prune, lists));
    return result;
}

/* The circuit tells depth by what attention carries from the brackets, which is a share of all that it looks at:
 * the longer the list, the smaller. So the circuit says at which length the whole model will fail. */
static void predict_dilution(const struct study_of_case *c)
{
    static const size_t lengths[] = {1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30, 36};
    struct curve *curves = calloc(2, sizeof *curves);
    if (!curves)
        stop("no memory for", "curves");
    snprintf(curves[0].name, sizeof curves[0].name, "predicted by the circuit");
    snprintf(curves[1].name, sizeof curves[1].name, "the whole model");
    FILE *table = study_table(c->study, "case_dilution",
                              "elements,circuit_loss,circuit_accuracy,model_loss,model_accuracy");
    fputs("\n## A prediction\n\nThe circuit tells depth by what attention carries from the brackets, "
          "diluted among "
          "all that it looks at: lists that go on\nfor longer behind the bracket should be closed "
          "wrongly, "
          "and the circuit alone says from which length. None of these\nlists was used to find it.\n\n"
          "![](case_dilution.svg)\n\n| elements behind the bracket | circuit: loss, accuracy | whole "
          "model: loss, "
          "accuracy |\n|---|---|---|\n",
          c->page);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        sn_task *lists;
        check(c->subject.context, sn_task_create(&lists, c->subject.context, "long lists"));
        for (size_t pair = 0; pair < N_LISTS; pair++)
            add_list(lists, c, pair, lengths[i]);
        const sn_evaluation circuit = evaluate_lists(c, lists, SN_ABLATE_REST);
        const sn_evaluation model = evaluate_lists(c, lists, SN_ABLATE_NOTHING);
        sn_task_free(lists);
        fprintf(table, "%zu,%.4f,%.4f,%.4f,%.4f\n", lengths[i], circuit.raw_loss, circuit.raw_accuracy,
                model.raw_loss, model.raw_accuracy);
        fprintf(c->page, "| %zu | %.3f, %.2f | %.3f, %.2f |\n", lengths[i], circuit.raw_loss,
                circuit.raw_accuracy, model.raw_loss, model.raw_accuracy);
        curve_add(&curves[0], (double)lengths[i], circuit.raw_accuracy, 0, 0);
        curve_add(&curves[1], (double)lengths[i], model.raw_accuracy, 0, 0);
    }
    study_close(table, "case_dilution");
    struct axes axes = {"Dilution of bracket depth", "elements behind the deciding bracket",
                        "accuracy, uncalibrated", 0, 0};
    draw(c->study->setup, c->study->context, "case_dilution", &axes, curves, 2);
    free(curves);
}

/* -------------------------------------------------------------------------- pages */

static int open_case(struct study_of_case *c, const struct model_spec *spec, const char *task)
{
    sn_context *context = c->study->context;
    char name[128], path[PATH_CAPACITY];
    snprintf(name, sizeof name, "circuits/%s.%s", spec->name, task);
    make_path(path, c->study->setup, name, ".json");
    if (!file_exists(path))
        return 0;
    sn_model *model = load_trained_model(c->study->setup, spec, context);
    subject_open(&c->subject, context, c->study->setup, c->texts, model, task_index(task), N_PAIRS);
    check(context, sn_circuit_load(&c->circuit, context, model, path));
    check(context, sn_circuit_measure_deltas(c->circuit, context, c->subject.means, c->subject.prune,
                                             c->subject.prune));
    return 1;
}

static void close_case(struct study_of_case *c)
{
    sn_circuit_free(c->circuit);
    subject_close(&c->subject);
    sn_model_free(c->subject.model);
}

static void write_case(const struct study *study, const struct texts *texts,
                       const struct model_spec *spec, const char *task)
{
    struct study_of_case c = {.study = study, .texts = texts};
    char name[128], path[PATH_CAPACITY];
    if (!open_case(&c, spec, task)) {
        fprintf(study->report, "- %s: %s has no circuit at this loss\n", task, spec->name);
        return;
    }
    snprintf(name, sizeof name, "case_%s", task);
    make_path(path, study->setup, name, ".md");
    c.page = fopen(path, "w");
    if (!c.page)
        stop("cannot write", path);
    fprintf(c.page,
            "# The circuit of %s in %s\n\n%zu nodes, %zu edges of %zu that touch them.\n\n![](%s.svg)\n",
            task, spec->name, sn_circuit_node_count(c.circuit), sn_circuit_edge_count(c.circuit),
            sn_circuit_touching_edge_count(c.circuit), name);
    print_nodes(&c);
    print_paths(&c);
    if (strcmp(task, bracket) == 0)
        predict_dilution(&c);
    study_close(c.page, path);
    make_path(path, study->setup, name, ".svg");
    check(study->context, sn_report_write_svg(study->context, c.circuit, path));
    fprintf(study->report, "- [%s](%s.md): %zu nodes, %zu edges\n", task, name,
            sn_circuit_node_count(c.circuit), sn_circuit_edge_count(c.circuit));
    close_case(&c);
}

void case_study(const struct study *study, const struct texts *texts)
{
    const struct model_spec *spec = study_model(study, "sparse", 1);
    if (!spec)
        return;
    fputs("\n## Two circuits from the inside (the paper's figures 4 to 8)\n\n", study->report);
    write_case(study, texts, spec, quote);
    write_case(study, texts, spec, bracket);
}
