/* Settings by name: a byte that says whose they are, then lines "key=value", numbers where all of the
 * value is one. Every call that takes settings has its turn. */
#include "small.h"

#include <stdlib.h>
#include <string.h>

static void set(sn_options *options, sn_context *context, char *line)
{
    char *end, *equals = strchr(line, '=');
    if (!equals)
        return;
    *equals = '\0';
    const double number = strtod(equals + 1, &end);
    fuzz_check(*end == '\0' && equals[1] ? sn_options_set(options, context, line, number)
                                         : sn_options_set_text(options, context, line, equals + 1),
               context);
}

static void parse(sn_options *options, sn_context *context, const uint8_t *data, size_t size)
{
    char *state, *text = malloc(size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
        set(options, context, line);
    free(text);
}

typedef int (*call)(sn_context *context, const struct small *small, const sn_options *options);

static int session(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_session *out;
    const int status = sn_session_create(&out, context, small->model, options);
    sn_session_free(out);
    return status;
}

static int generator(sn_context *context, const struct small *small, const sn_options *options)
{
    static const int32_t prompt[] = {1, 2};
    sn_generator *out;
    int32_t token;
    int status = sn_generator_create(&out, context, small->model, options);
    if (status == SN_OK)
        status = sn_generator_append(out, prompt, 2);
    if (status == SN_OK)
        status = sn_generator_next(&token, out);
    sn_generator_free(out);
    return status;
}

static int trainer(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_trainer *out;
    int status = sn_trainer_create(&out, context, small->model, options);
    if (status == SN_OK)
        status = sn_trainer_add_corpus(out, small->corpus, 1, 0);
    if (status == SN_OK)
        status = sn_trainer_run(out, 1);
    sn_trainer_free(out);
    return status;
}

static int trainer_memory(sn_context *context, const struct small *small, const sn_options *options)
{
    size_t bytes;
    return sn_trainer_estimate_memory(&bytes, context, small->model, options);
}

static int evidence(sn_context *context, const struct small *small, const sn_options *options)
{
    const char *const node = "0.attn.act_in.0";
    sn_evidence *out;
    const int status = sn_evidence_create(&out, context, small->model, small->corpus, &node, 1, options);
    sn_evidence_free(out);
    return status;
}

static int plot(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_plot *out;
    (void)small;
    const int status = sn_plot_create(&out, context, "a", "b", "c", options);
    sn_plot_free(out);
    return status;
}

static int tokenizer(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_tokenizer *out;
    const int status = sn_tokenizer_train(&out, context, small->texts, 270, options);
    sn_tokenizer_free(out);
    return status;
}

static int idioms(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_corpus *corpus;
    (void)small;
    small_must(sn_corpus_create(&corpus, context));
    const int status = sn_python_add_idioms(corpus, context, 200, options);
    sn_corpus_free(corpus);
    return status;
}

static int python_task(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_task *out;
    const int status =
        sn_python_task(&out, context, small->tokenizer, sn_python_task_name(0), 2, options);
    sn_task_free(out);
    return status;
}

static int quote_lines(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_task *out;
    const int status =
        sn_python_quote_lines(&out, context, small->tokenizer, small->texts, ")", 2, options);
    sn_task_free(out);
    return status;
}

static int means(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_means *out;
    const int status = sn_means_create(&out, context, small->model, small->corpus, options);
    sn_means_free(out);
    return status;
}

static int extract(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_circuit *out;
    const int status =
        sn_circuit_extract(&out, context, small->model, small->means, small->task, NULL, options);
    sn_circuit_free(out);
    return status;
}

static int refine(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_circuit *circuit = small_circuit(context, small->model), *out;
    const int status =
        sn_circuit_refine(&out, context, circuit, small->means, small->task, NULL, options);
    sn_circuit_free(out);
    sn_circuit_free(circuit);
    return status;
}

static int circuit_memory(sn_context *context, const struct small *small, const sn_options *options)
{
    size_t bytes;
    return sn_circuit_estimate_memory(&bytes, context, small->model, small->means, small->task, NULL,
                                      options);
}

static int search(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_search *out;
    int status = sn_search_create(&out, context, small->model, small->means, small->task, NULL, options);
    if (status == SN_OK)
        status = sn_search_run(out);
    sn_search_free(out);
    return status;
}

static int released(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_circuit *circuit;
    sn_task *task;
    (void)small;
    const int status = sn_circuit_load_released(&circuit, &task, context, small_released(),
                                                "tests/data/released/same_answer.pt", options);
    sn_task_free(task);
    sn_circuit_free(circuit);
    return status;
}

static int fold(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_circuit *circuit = small_circuit(context, small->model);
    sn_model *out;
    const int status = sn_circuit_fold(&out, context, circuit, small->means, options);
    sn_model_free(out);
    sn_circuit_free(circuit);
    return status;
}

static int text_loss(sn_context *context, const struct small *small, const sn_options *options)
{
    double loss;
    return sn_circuit_text_loss(&loss, context, small->model, NULL, NULL, SN_ABLATE_NOTHING,
                                small->corpus, options);
}

static int trace(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_circuit *circuit = small_circuit(context, small->model);
    const int status =
        sn_circuit_trace(circuit, context, small->means, small->tokenizer, small->task, options);
    sn_circuit_free(circuit);
    return status;
}

static int evidence_circuit(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_circuit *circuit = small_circuit(context, small->model);
    sn_evidence *out;
    const int status = sn_evidence_create_circuit(&out, context, circuit, small->corpus, options);
    sn_evidence_free(out);
    sn_circuit_free(circuit);
    return status;
}

static int binarised(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_circuit *circuit = small_circuit(context, small->model);
    sn_binarised *out;
    const int status = sn_binarised_create(&out, context, circuit, small->means, small->task, options);
    sn_binarised_free(out);
    sn_circuit_free(circuit);
    return status;
}

static int ablation(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_ablation_result result = {.struct_size = sizeof result};
    sn_ablation *out;
    int status = sn_ablation_create(&out, context, small->model, small->means, small->corpus, options);
    if (status == SN_OK && sn_ablation_draw_count(out) <= 8)
        status = sn_evaluate_ablation(&result, NULL, 0, NULL, context, small->model, out, NULL,
                                      SN_ABLATE_EVERYTHING, small->task, small->task);
    sn_ablation_free(out);
    return status;
}

static int replace(sn_context *context, const struct small *small, const sn_options *options)
{
    sn_replacement result = {.struct_size = sizeof result};
    return sn_replace_node(&result, context, small->model, NULL, NULL, "0.mlp.act_in.1",
                           "0.attn.act_in.0", small->corpus, small->task, small->task, options);
}

/* Kept inputs name them by number. Those that would run 32768 tokens begin with 64. */
static const struct {
    call run;
    int takes_tokens;
} calls[] = {
    {session, 0},   {generator, 0}, {trainer, 0},   {trainer_memory, 0}, {evidence, 0},
    {plot, 0},      {tokenizer, 0}, {idioms, 0},    {python_task, 0},    {quote_lines, 0},
    {means, 1},     {extract, 0},   {refine, 0},    {circuit_memory, 0}, {search, 0},
    {released, 0},  {fold, 0},      {text_loss, 1}, {trace, 0},          {evidence_circuit, 0},
    {binarised, 0}, {ablation, 0},  {replace, 1},
};

/* Cancels what asks for its progress more often than a small piece of work would. */
static int limit_work(const char *stage, size_t done, size_t total, double value, void *payload)
{
    size_t *n = payload;
    (void)stage, (void)done, (void)total, (void)value;
    return (*n)++ >= 80;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n_reports = 0;
    if (size == 0 || size > 4096)
        return -1;
    const struct small *small = small_fixed();
    const size_t whose = data[0] % (sizeof calls / sizeof *calls);
    sn_context *context = fuzz_context(16);
    sn_options *options;
    small_must(sn_options_create(&options, context));
    if (calls[whose].takes_tokens)
        small_must(sn_options_set(options, context, "tokens", 64));
    parse(options, context, data + 1, size - 1);
    sn_context_set_progress(context, limit_work, &n_reports);
    fuzz_check(calls[whose].run(context, small, options), context);
    sn_options_free(options);
    sn_context_free(context);
    return 0;
}
