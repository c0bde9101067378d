/* Continues a text token by token. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sparsenet.h>

static const char usage[] =
    "usage: generate MODEL --prompt TEXT [--tokenizer PATH] [--tokens N] [--temperature T] [--top-k K]\n"
    "                [--seed S]\n"
    "\n"
    "Prints the prompt and what the model makes of it, until N tokens (64) are drawn or its context is "
    "full.\n"
    "  --tokenizer    folder with encoder.json + vocab.bpe or tokenizer.json (default: MODEL)\n"
    "  --temperature  1; 0 always takes the likeliest token\n"
    "  --top-k        draw among the K likeliest tokens; 0: among all\n"
    "  --seed         0\n";

struct request {
    const char *model, *prompt, *tokenizer;
    size_t n_tokens;
    double temperature, top_k, seed;
};

static sn_context *context;

static int check(int status)
{
    if (status != SN_OK)
        fprintf(stderr, "generate: %s: %s\n", sn_status_string(status), sn_context_message(context));
    return status == SN_OK;
}

static int32_t *encode(size_t *n, const sn_tokenizer *tokenizer, const char *text)
{
    int32_t *tokens = NULL;
    const size_t length = strlen(text);
    if (!check(sn_tokenizer_encode(NULL, 0, n, context, tokenizer, text, length)))
        return NULL;
    tokens = malloc((*n + 1) * sizeof *tokens);
    if (tokens && check(sn_tokenizer_encode(tokens, *n, n, context, tokenizer, text, length)))
        return tokens;
    free(tokens);
    return NULL;
}

static int start(sn_generator **generator, sn_model *model, const struct request *r)
{
    sn_options *options = NULL;
    int good = check(sn_options_create(&options, context)) &&
               check(sn_options_set(options, context, "temperature", r->temperature)) &&
               check(sn_options_set(options, context, "top_k", r->top_k)) &&
               check(sn_options_set(options, context, "seed", r->seed)) &&
               check(sn_generator_create(generator, context, model, options));
    sn_options_free(options);
    return good;
}

static int generate(sn_generator *generator, const sn_model *model, const sn_tokenizer *tokenizer,
                    const struct request *r)
{
    const size_t limit = (size_t)sn_model_config_number(model, "block_size");
    size_t n_prompt = 0;
    int32_t *prompt = encode(&n_prompt, tokenizer, r->prompt);
    int good = prompt && check(sn_generator_append(generator, prompt, n_prompt));
    free(prompt);
    if (good)
        fputs(r->prompt, stdout);
    for (size_t i = 0; i < r->n_tokens && good && sn_generator_count(generator) < limit; i++) {
        int32_t token;
        size_t length;
        good = check(sn_generator_next(&token, generator));
        const char *text = good ? sn_tokenizer_token(&length, tokenizer, token) : NULL;
        if (text)
            fwrite(text, 1, length, stdout);
        else if (good)
            printf("<%ld>", (long)token); /* the model knows more tokens than the tokenizer */
        fflush(stdout);
    }
    if (good)
        putchar('\n');
    return good;
}

static int parse(struct request *r, int n_arguments, char **arguments)
{
    static const struct option options[] = {{"prompt", 1, NULL, 'p'},
                                            {"tokenizer", 1, NULL, 'z'},
                                            {"tokens", 1, NULL, 'n'},
                                            {"temperature", 1, NULL, 't'},
                                            {"top-k", 1, NULL, 'k'},
                                            {"seed", 1, NULL, 's'},
                                            {0}};
    for (int option; (option = getopt_long(n_arguments, arguments, "", options, NULL)) != -1;) {
        char *end = NULL;
        const double number = option == '?' ? 0 : strtod(optarg, &end);
        if (option == '?' || (!strchr("pz", option) && (end == optarg || *end || !(number >= 0))))
            return 0;
        switch (option) {
        case 'p': r->prompt = optarg; break;
        case 'z': r->tokenizer = optarg; break;
        case 'n': r->n_tokens = (size_t)number; break;
        case 't': r->temperature = number; break;
        case 'k': r->top_k = number; break;
        default: r->seed = number;
        }
    }
    r->model = optind + 1 == n_arguments ? arguments[optind] : NULL;
    return r->model && r->prompt;
}

int main(int n_arguments, char **arguments)
{
    struct request r = {.n_tokens = 64, .temperature = 1};
    sn_model *model = NULL;
    sn_tokenizer *tokenizer = NULL;
    sn_generator *generator = NULL;
    if (n_arguments == 2 && strcmp(arguments[1], "--help") == 0)
        return fputs(usage, stdout), 0;
    if (!parse(&r, n_arguments, arguments))
        return fputs(usage, stderr), 2;
    int good = check(sn_context_create(&context, NULL)) &&
               check(sn_model_load(&model, context, r.model)) &&
               check(sn_tokenizer_load(&tokenizer, context, r.tokenizer ? r.tokenizer : r.model)) &&
               start(&generator, model, &r) && generate(generator, model, tokenizer, &r);
    sn_generator_free(generator);
    sn_tokenizer_free(tokenizer);
    sn_model_free(model);
    sn_context_free(context);
    return good ? 0 : 1;
}
