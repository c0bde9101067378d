/* A small user of the library: trains a tokenizer, makes a model, runs it. So it needs what the library itself links:
 * PCRE2, jansson, and in its dense products libxsmm. Prints the version. */
#include <math.h>
#include <sparsenet.h>
#include <stdio.h>
#include <string.h>

static const char config[] = "{\"vocab_size\": 260, \"n_layer\": 1, \"n_head\": 2, \"d_model\": 32, "
                             "\"block_size\": 16}";
static const char text[] = "for i in range(10):\n    print(i)\n";

static int run(sn_context *context, sn_tokenizer **tokenizer, sn_model **model, sn_session **session,
               sn_corpus *corpus)
{
    int32_t tokens[16];
    size_t offsets[2] = {0, 0}, n_tokens;
    double loss;
    int status;
    if ((status = sn_corpus_add_text(corpus, context, text, strlen(text))) != SN_OK ||
        (status = sn_tokenizer_train(tokenizer, context, corpus, 260, NULL)) != SN_OK ||
        (status = sn_tokenizer_encode(tokens, 16, &n_tokens, context, *tokenizer, "print(i)\n", 9)) !=
            SN_OK ||
        (status = sn_model_create(model, context, config, strlen(config), 1)) != SN_OK ||
        (status = sn_session_create(session, context, *model, NULL)) != SN_OK)
        return status;
    offsets[1] = n_tokens;
    if ((status = sn_session_forward(*session, tokens, offsets, 1)) != SN_OK ||
        (status = sn_session_loss(&loss, *session, tokens)) != SN_OK)
        return status;
    return fabs(loss - log(260)) < 1 ? SN_OK : SN_ERROR_NUMERIC;
}

int main(void)
{
    sn_context *context = NULL;
    sn_corpus *corpus = NULL;
    sn_tokenizer *tokenizer = NULL;
    sn_model *model = NULL;
    sn_session *session = NULL;
    int status = sn_context_create(&context, NULL);
    if (status == SN_OK && (status = sn_corpus_create(&corpus, context)) == SN_OK)
        status = run(context, &tokenizer, &model, &session, corpus);
    if (status == SN_OK)
        puts(sn_version_string());
    else
        fprintf(stderr, "%s: %s\n", sn_status_string(status),
                context ? sn_context_message(context) : "");
    sn_session_free(session);
    sn_model_free(model);
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(corpus);
    sn_context_free(context);
    return status != SN_OK;
}
