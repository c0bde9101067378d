/* Makes models of their own from a model's circuits:
 * fold MODEL TOKENIZER_DIR OUT.safetensors CIRCUIT.json ...
 * Several circuits are united. `make demo` writes all that this reads; each circuit's task is a Python
 * task. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sparsenet.h>

#define PAIRS 100

static sn_context *context;

static int check(int status)
{
    if (status != SN_OK)
        fprintf(stderr, "fold: %s: %s\n", sn_status_string(status), sn_context_message(context));
    return status == SN_OK;
}

/* *united grows by the circuit of a file; *circuit is that circuit alone. */
static int read_circuit(sn_circuit **circuit, sn_circuit **united, sn_model *model, const char *path)
{
    sn_circuit *both = NULL;
    if (!check(sn_circuit_load(circuit, context, model, path)))
        return 0;
    if (!*united)
        return check(sn_circuit_load(united, context, model, path));
    if (!check(sn_circuit_combine(&both, context, *united, *circuit, SN_UNION)))
        return 0;
    sn_circuit_free(*united);
    *united = both;
    return 1;
}

static int report(sn_model *model, const sn_means *means, const sn_circuit *circuit, sn_model *small,
                  const char *what, const sn_tokenizer *tokenizer, const char *name)
{
    sn_task *task = NULL;
    sn_evaluation before, after;
    before.struct_size = after.struct_size = sizeof before;
    int good = check(sn_python_task(&task, context, tokenizer, name, PAIRS, NULL)) &&
               check(sn_evaluate(&before, context, model, means, circuit, SN_ABLATE_REST, task, task)) &&
               check(sn_evaluate(&after, context, small, NULL, NULL, SN_ABLATE_NOTHING, task, task));
    if (good)
        printf("%-20s %-7s loss %.4f (uncalibrated %.4f), %.1f %% right; circuit %.4f (%.4f), %.1f %%\n",
               name, what, after.loss, after.raw_loss, 100 * after.accuracy, before.loss,
               before.raw_loss, 100 * before.accuracy);
    sn_task_free(task);
    return good;
}

static size_t matrix_nonzeros(const sn_model *model)
{
    size_t n = 0;
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        const char *name = sn_model_tensor_name(model, i);
        size_t rows, cols, support;
        int sparse;
        if ((strstr(name, "c_attn.weight") || strstr(name, "c_proj.weight") ||
             strstr(name, "c_fc.weight")) &&
            sn_model_tensor_info(&rows, &cols, &support, &sparse, model, i) == SN_OK)
            n += support;
    }
    return n;
}

/* Microseconds per token of `block_size`, one by one, the best of three; below 0 on failure. */
static double token_time(sn_model *model)
{
    double best = -1;
    const int32_t n = (int32_t)sn_model_config_number(model, "block_size");
    const int32_t vocabulary = (int32_t)sn_model_config_number(model, "vocab_size");
    for (int repeat = 0; repeat < 3; repeat++) {
        sn_generator *generator = NULL;
        struct timespec from, to;
        int good = check(sn_generator_create(&generator, context, model, NULL));
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int32_t t = 0; t < n && good; t++) {
            const int32_t token = t * 37 % vocabulary;
            good = check(sn_generator_append(generator, &token, 1));
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        sn_generator_free(generator);
        if (!good)
            return -1;
        const double time =
            ((double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3) / n;
        if (best < 0 || time < best)
            best = time;
    }
    return best;
}

static void print_cost(const char *what, sn_model *model)
{
    printf("%-7s %8lu weights in matrices, %6.1f us per token\n", what,
           (unsigned long)matrix_nonzeros(model), token_time(model));
}

static int fold(sn_model **small, const sn_circuit *circuit, const sn_means *means, const char *topk)
{
    sn_options *options = NULL;
    const int good = check(sn_options_create(&options, context)) &&
                     check(sn_options_set_text(options, context, "topk", topk)) &&
                     check(sn_circuit_fold(small, context, circuit, means, options));
    sn_options_free(options);
    return good;
}

/* The folded model of one circuit beside the circuit, with and without the inner AbsTopK. */
static int compare(sn_model *model, const sn_means *means, const sn_circuit *circuit,
                   const sn_tokenizer *tokenizer)
{
    static const char *const ways[] = {"exact", "off"};
    int good = 1;
    for (int i = 0; i < 2 && good; i++) {
        sn_model *small = NULL;
        good = fold(&small, circuit, means, ways[i]) &&
               report(model, means, circuit, small, ways[i], tokenizer, sn_circuit_task(circuit));
        if (good)
            print_cost(ways[i], small);
        sn_model_free(small);
    }
    return good;
}

int main(int n_arguments, char **arguments)
{
    sn_model *model = NULL, *small = NULL;
    sn_tokenizer *tokenizer = NULL;
    sn_corpus *text = NULL;
    sn_means *means = NULL;
    sn_circuit *united = NULL;
    if (n_arguments < 5 || sn_context_create(&context, NULL) != SN_OK)
        return fprintf(stderr, "usage: fold MODEL TOKENIZER_DIR OUT.safetensors CIRCUIT.json ...\n"), 2;
    int good = check(sn_model_load(&model, context, arguments[1])) &&
               check(sn_tokenizer_load(&tokenizer, context, arguments[2])) &&
               check(sn_corpus_create(&text, context)) &&
               check(sn_python_add_idioms(text, context, 500000, NULL)) &&
               check(sn_corpus_tokenize(text, context, tokenizer)) &&
               check(sn_means_create(&means, context, model, text, NULL));
    if (good)
        print_cost("whole", model);
    for (int i = 4; i < n_arguments && good; i++) {
        sn_circuit *circuit = NULL;
        good = read_circuit(&circuit, &united, model, arguments[i]) &&
               compare(model, means, circuit, tokenizer);
        sn_circuit_free(circuit);
    }
    if (good && fold(&small, united, means, "exact") &&
        check(sn_model_save(small, context, arguments[3]))) {
        printf("%s: %lu nodes, %lu edges\n", arguments[3], (unsigned long)sn_circuit_node_count(united),
               (unsigned long)sn_circuit_edge_count(united));
        print_cost("saved", small);
        for (int i = 4; i < n_arguments && good; i++) {
            sn_circuit *circuit = NULL;
            good = check(sn_circuit_load(&circuit, context, model, arguments[i])) &&
                   report(model, means, united, small, "saved", tokenizer, sn_circuit_task(circuit));
            sn_circuit_free(circuit);
        }
    } else {
        good = 0;
    }
    sn_model_free(small);
    sn_circuit_free(united);
    sn_means_free(means);
    sn_corpus_free(text);
    sn_tokenizer_free(tokenizer);
    sn_model_free(model);
    sn_context_free(context);
    return !good;
}
