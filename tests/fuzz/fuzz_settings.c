/* Settings by name: a byte that says whose they are, then lines "key=value", numbers where all of the
 * value is one. */
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

static sn_options *parse(sn_context *context, const uint8_t *data, size_t size)
{
    sn_options *options;
    char *state, *text = malloc(size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    small_must(sn_options_create(&options, context));
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
        set(options, context, line);
    free(text);
    return options;
}

/* What creates no more than it is asked for at once; nothing is run for long. */
static void create(sn_context *context, int whose, const sn_options *options)
{
    size_t bytes;
    sn_model *model = small_model(context);
    sn_corpus *corpus = small_corpus(context), *texts = NULL;
    sn_session *session = NULL;
    sn_generator *generator = NULL;
    sn_trainer *trainer = NULL;
    sn_evidence *evidence = NULL;
    sn_plot *plot = NULL;
    sn_tokenizer *tokenizer = NULL;
    const char *const node = "0.attn.act_in.0";
    small_must(sn_corpus_create(&texts, context));
    small_must(sn_corpus_add_text(texts, context, "for a in b:\n    a = 'c'\n", 23));
    int status = SN_OK;
    switch (whose % 8) {
    case 0: status = sn_session_create(&session, context, model, options); break;
    case 1: status = sn_generator_create(&generator, context, model, options); break;
    case 2: status = sn_trainer_create(&trainer, context, model, options); break;
    case 3: status = sn_trainer_estimate_memory(&bytes, context, model, options); break;
    case 4: status = sn_evidence_create(&evidence, context, model, corpus, &node, 1, options); break;
    case 5: status = sn_plot_create(&plot, context, "a", "b", "c", options); break;
    case 6: status = sn_tokenizer_train(&tokenizer, context, texts, 270, options); break;
    default: status = sn_python_add_idioms(texts, context, 200, options);
    }
    fuzz_check(status, context);
    sn_session_free(session);
    sn_generator_free(generator);
    sn_trainer_free(trainer);
    sn_evidence_free(evidence);
    sn_plot_free(plot);
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(texts);
    sn_corpus_free(corpus);
    sn_model_free(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 4096)
        return -1;
    sn_context *context = fuzz_context(32);
    sn_options *options = parse(context, data + 1, size - 1);
    create(context, data[0], options);
    sn_options_free(options);
    sn_context_free(context);
    return 0;
}
