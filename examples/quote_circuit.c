/* Finds the circuit with which a trained model closes a string: quote_circuit MODEL TOKENIZER_DIR
 * (`make demo` writes out/model.safetensors and out/tokenizer). */
#include <stdio.h>
#include <sparsenet.h>

int main(int n_arguments, char **arguments)
{
    sn_context *context = NULL;
    sn_model *model = NULL;
    sn_tokenizer *tokenizer = NULL;
    sn_corpus *text = NULL;
    sn_means *means = NULL;
    sn_task *task = NULL;
    sn_circuit *circuit = NULL;
    sn_evaluation e;
    int status = SN_ERROR_ARGUMENT;
    e.struct_size = sizeof e;
    if (n_arguments != 3 || (status = sn_context_create(&context, NULL)) != SN_OK)
        return fprintf(stderr, "usage: %s MODEL TOKENIZER_DIR\n", arguments[0]), 2;
    if ((status = sn_model_load(&model, context, arguments[1])) == SN_OK &&
        (status = sn_tokenizer_load(&tokenizer, context, arguments[2])) == SN_OK &&
        (status = sn_corpus_create(&text, context)) == SN_OK &&
        (status = sn_python_add_idioms(text, context, 500000, NULL)) == SN_OK &&
        (status = sn_corpus_tokenize(text, context, tokenizer)) == SN_OK &&
        (status = sn_means_create(&means, context, model, text, NULL)) == SN_OK &&
        (status = sn_python_task(&task, context, tokenizer, "single_double_quote", 64, NULL)) == SN_OK &&
        (status = sn_circuit_extract(&circuit, context, model, means, task, NULL, NULL)) == SN_OK &&
        (status = sn_circuit_trace(circuit, context, means, tokenizer, task, NULL)) == SN_OK &&
        (status = sn_evaluate(&e, context, model, means, circuit, SN_ABLATE_REST, task, task)) ==
            SN_OK) {
        printf("%lu nodes, %lu edges, loss %.3f, %.1f %% right; the strongest path:\n%s\n",
               (unsigned long)sn_circuit_node_count(circuit),
               (unsigned long)sn_circuit_edge_count(circuit), e.loss, 100 * e.accuracy,
               sn_circuit_path(NULL, NULL, circuit, 0));
    } else {
        fprintf(stderr, "%s: %s\n", sn_status_string(status), sn_context_message(context));
    }
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_corpus_free(text);
    sn_tokenizer_free(tokenizer);
    sn_model_free(model);
    sn_context_free(context);
    return status != SN_OK;
}
