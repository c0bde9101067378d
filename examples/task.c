/* Pairs of prompts: generates those of a task, or reads them from JSON Lines, and prints or writes them. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sparsenet.h>

static const char usage[] =
    "usage: task NAME [--tokenizer PATH] [--split S] [--pairs N] [--seed N] [--out OUT.jsonl]\n"
    "       task FILE.jsonl [--tokenizer PATH] [--out OUT.jsonl]\n"
    "       task --help | --list\n"
    "\n"
    "Prints pairs of prompts and their targets, or writes them as JSON Lines (docs/tasks.md).\n"
    "  --tokenizer  its folder (NAME: one that is made for it; FILE: none, token ids only)\n"
    "  --split      prune (default), develop, fresh or train; --pairs 4; --seed 0\n";

struct request {
    const char *source, *out, *tokenizer, *split;
    double n_pairs, seed;
};

static sn_context *context;

static int check(int status)
{
    if (status != SN_OK)
        fprintf(stderr, "task: %s: %s\n", sn_status_string(status), sn_context_message(context));
    return status == SN_OK;
}

static int is_task(const char *name)
{
    size_t i = 0;
    while (i < sn_python_task_count() && strcmp(sn_python_task_name(i), name) != 0)
        i++;
    return i < sn_python_task_count();
}

static int train_tokenizer(sn_tokenizer **tokenizer)
{
    sn_corpus *idioms = NULL;
    sn_options *options = NULL;
    int good = check(sn_corpus_create(&idioms, context)) &&
               check(sn_python_add_idioms(idioms, context, 400000, NULL)) &&
               check(sn_options_create(&options, context)) &&
               check(sn_options_set_text(options, context, "required", sn_python_required_tokens())) &&
               check(sn_tokenizer_train(tokenizer, context, idioms, 768, options));
    sn_options_free(options);
    sn_corpus_free(idioms);
    return good;
}

static int generate(sn_task **task, const sn_tokenizer *tokenizer, const struct request *r)
{
    sn_options *options = NULL;
    int good = check(sn_options_create(&options, context)) &&
               check(sn_options_set(options, context, "seed", r->seed)) &&
               check(sn_options_set_text(options, context, "split", r->split)) &&
               check(sn_python_task(task, context, tokenizer, r->source, (size_t)r->n_pairs, options));
    sn_options_free(options);
    return good;
}

/* Tokens as text, newlines as they are, or as ids. */
static void print_tokens(const sn_tokenizer *tokenizer, const int32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t length;
        const char *text = tokenizer ? sn_tokenizer_token(&length, tokenizer, tokens[i]) : NULL;
        if (text)
            fwrite(text, 1, length, stdout);
        else
            printf("%s%ld", i ? " " : "", (long)tokens[i]);
    }
}

static void print_task(const sn_task *task, const sn_tokenizer *tokenizer)
{
    for (size_t i = 0; i < sn_task_count(task); i++) {
        const int32_t *prompts[2];
        int32_t targets[2];
        size_t n[2];
        sn_task_pair(&prompts[0], &n[0], &prompts[1], &n[1], &targets[0], &targets[1], task, i);
        for (int side = 0; side < 2; side++) {
            printf("--- %s, pair %zu, prompt %c\n", sn_task_name(task), i, "AB"[side]);
            print_tokens(tokenizer, prompts[side], n[side]);
            printf("<<<");
            print_tokens(tokenizer, &targets[side], 1);
            printf(">>>\n");
        }
    }
}

static int parse(struct request *r, int n_arguments, char **arguments)
{
    static const struct option options[] = {{"out", 1, NULL, 'o'},   {"tokenizer", 1, NULL, 'z'},
                                            {"split", 1, NULL, 'p'}, {"pairs", 1, NULL, 'n'},
                                            {"seed", 1, NULL, 's'},  {0}};
    for (int option; (option = getopt_long(n_arguments, arguments, "", options, NULL)) != -1;) {
        char *end = NULL;
        const double number = option == '?' ? 0 : strtod(optarg, &end);
        if (option == '?' || (strchr("ns", option) && (end == optarg || *end || !(number >= 0))))
            return 0;
        switch (option) {
        case 'o': r->out = optarg; break;
        case 'z': r->tokenizer = optarg; break;
        case 'p': r->split = optarg; break;
        case 'n': r->n_pairs = number; break;
        default: r->seed = number;
        }
    }
    r->source = optind + 1 == n_arguments ? arguments[optind] : NULL;
    return r->source != NULL;
}

int main(int n_arguments, char **arguments)
{
    struct request r = {.split = "prune", .n_pairs = 4};
    sn_tokenizer *tokenizer = NULL;
    sn_task *task = NULL;
    const int list = n_arguments == 2 && strcmp(arguments[1], "--list") == 0;
    if (n_arguments == 2 && strcmp(arguments[1], "--help") == 0)
        return fputs(usage, stdout), 0;
    for (size_t i = 0; list && i < sn_python_task_count(); i++)
        puts(sn_python_task_name(i));
    if (list)
        return 0;
    if (!parse(&r, n_arguments, arguments))
        return fputs(usage, stderr), 2;
    if (sn_context_create(&context, NULL) != SN_OK)
        return 1;
    int good = r.tokenizer         ? check(sn_tokenizer_load(&tokenizer, context, r.tokenizer))
               : is_task(r.source) ? train_tokenizer(&tokenizer)
                                   : 1;
    good = good && (is_task(r.source) ? generate(&task, tokenizer, &r)
                                      : check(sn_task_load_jsonl(&task, context, tokenizer, r.source)));
    if (good && r.out)
        good = check(sn_task_save_jsonl(task, context, tokenizer, r.out));
    else if (good)
        print_task(task, tokenizer);
    sn_task_free(task);
    sn_tokenizer_free(tokenizer);
    sn_context_free(context);
    return !good;
}
