/* Pairs of prompts for the tasks of the paper (A.3), from one table of templates. */
#include <string.h>

#include "base/options.h"
#include "python/candidate.h"

#define MAX_ATTEMPTS 200 /* candidates per pair before the task is refused */

size_t sn_python_task_count(void)
{
    return N_CONSTRUCTS;
}

const char *sn_python_task_name(size_t index)
{
    return index < N_CONSTRUCTS ? TASK_ROWS[index].name : NULL;
}

const char *sn_python_required_tokens(void)
{
    return "')\\n\n\")\\n\n]\\n\n]]\\n\n in\n:\\n\n.add\n +=\n=None\n):\\n\n)\\n\n not\n {\n else\n   "
           "\n       \n"
           " ==\n =\n enumerate\n range\n"
           /* what the tasks turn on, so that it is one token in both prompts */
           "('\n(\"\n '\n \"\n [\n],\n [[\nfor\n for\nwhile\n while\n set\n()\\n\n \"\"\\n";
}

static const struct option_spec TASK_OPTIONS[] = {
    {"seed", OPTION_INTEGER, offsetof(struct task_settings, seed), 0, 0, 9e15, NULL},
    {"split", OPTION_CHOICE, offsetof(struct task_settings, split), 0, 0, 0,
     "prune|develop|fresh|train"},
    {"min_tokens", OPTION_INTEGER, offsetof(struct task_settings, min_tokens), 20, 1, 1e6, NULL},
    {"max_tokens", OPTION_INTEGER, offsetof(struct task_settings, max_tokens), 120, 1, 1e6, NULL},
    {"distractor", OPTION_NUMBER, offsetof(struct task_settings, distractor), 0.33, 0, 1, NULL},
};

/* Adds pair `index` with the maker's form, drawing candidates until one fits. *verdict: of the last
 * attempts, CANDIDATE_TARGET if the targets of any candidate were the reason to go on. */
static int try_pair(enum verdict *verdict, sn_task *task, struct maker *maker, size_t index)
{
    struct candidate candidate;
    enum verdict last = CANDIDATE_LENGTH;
    int status = SN_OK;
    *verdict = CANDIDATE_LENGTH;
    candidate_init(&candidate, maker->context->memory);
    for (size_t attempt = 0; attempt < MAX_ATTEMPTS && status == SN_OK; attempt++) {
        status = candidate_write(&last, &candidate, maker, index * MAX_ATTEMPTS + attempt);
        if (status == SN_OK && last == CANDIDATE_FITS) {
            const struct token_list *a = &candidate.tokens[0], *b = &candidate.tokens[1];
            status = sn_task_add_pair(task, maker->context, a->tokens, a->n_tokens, b->tokens,
                                      b->n_tokens, candidate.targets[0], candidate.targets[1]);
            *verdict = CANDIDATE_FITS;
            break;
        }
        if (last == CANDIDATE_TARGET) {
            *verdict = CANDIDATE_TARGET;
            maker->wrong_side = candidate.wrong_side;
        }
    }
    candidate_free(&candidate);
    return status;
}

static int refuse_pair(const struct maker *maker, enum verdict verdict)
{
    if (verdict == CANDIDATE_TARGET)
        return refuse_targets(maker);
    return fail(maker->context, SN_ERROR_ARGUMENT,
                "sn_python_task: no prompt of task %s has between min_tokens %zu and max_tokens %zu "
                "tokens",
                maker->row->name, maker->settings.min_tokens, maker->settings.max_tokens);
}

/* Adds the first pair in the first form of the targets that this tokenizer writes; all pairs have that. */
static int add_first_pair(sn_task *task, struct maker *maker)
{
    enum verdict verdict = CANDIDATE_TARGET;
    for (size_t i = 0; i < N_TARGET_FORMS && maker->row->forms[i].before; i++) {
        maker->form = &maker->row->forms[i];
        if (!form_is_possible(maker, maker->form))
            continue;
        int status = try_pair(&verdict, task, maker, 0);
        if (status != SN_OK || verdict != CANDIDATE_TARGET)
            return status != SN_OK || verdict == CANDIDATE_FITS ? status : refuse_pair(maker, verdict);
    }
    return refuse_targets(maker);
}

static int add_pairs(sn_task *task, struct maker *maker, size_t n_pairs)
{
    int status = add_first_pair(task, maker);
    for (size_t i = 1; status == SN_OK && i < n_pairs; i++) {
        enum verdict verdict;
        status = try_pair(&verdict, task, maker, i);
        if (status == SN_OK && verdict != CANDIDATE_FITS)
            status = refuse_pair(maker, verdict);
    }
    return status;
}

/* Where prompts and the code in front of them come from; the splits prune and train have the
 * code of training. */
static void choose_patterns(struct maker *maker)
{
    const struct task_row *row = maker->row;
    const struct {
        const char *const *prompts, *const *context;
        size_t n_plain, n_context;
    } splits[] = {{row->prune, STATEMENTS, N_PLAIN_STATEMENTS, 0},
                  {row->develop, DEVELOP_CONTEXT, N_PLAIN_DEVELOP_CONTEXT, N_DEVELOP_CONTEXT},
                  {row->fresh, FRESH_CONTEXT, N_PLAIN_FRESH_CONTEXT, N_FRESH_CONTEXT},
                  {row->train ? row->train : row->prune, STATEMENTS, N_PLAIN_STATEMENTS, 0}},
      *split = &splits[maker->settings.split];
    maker->patterns = split->prompts;
    maker->n_patterns = count_patterns(split->prompts);
    maker->plain.patterns = split->context;
    maker->plain.n_patterns = split->n_plain;
    unit_choice_excluding(&maker->unrelated, row->excluded);
    maker->unrelated.in_front = 1;
    if (split->n_context) {
        maker->unrelated.patterns = split->context;
        maker->unrelated.n_patterns = split->n_context;
    }
}

static int maker_init(struct maker *maker, sn_context *context, const sn_tokenizer *tokenizer,
                      const char *name, const sn_options *options)
{
    *maker = (struct maker){.context = context, .tokenizer = tokenizer};
    for (size_t i = 0; i < N_CONSTRUCTS; i++)
        if (strcmp(TASK_ROWS[i].name, name) == 0)
            maker->row = &TASK_ROWS[i];
    if (!maker->row)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_task: name is \"%.64s\", which is no task",
                    name);
    int status = options_read(&maker->settings, context, "sn_python_task", TASK_OPTIONS,
                              sizeof TASK_OPTIONS / sizeof *TASK_OPTIONS, options);
    if (status != SN_OK)
        return status;
    if (maker->settings.min_tokens > maker->settings.max_tokens)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_task: min_tokens %zu is above max_tokens %zu",
                    maker->settings.min_tokens, maker->settings.max_tokens);
    choose_patterns(maker);
    return SN_OK;
}

int sn_python_task(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer, const char *name,
                   size_t n_pairs, const sn_options *options)
{
    struct maker maker;
    sn_task *task = NULL;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!tokenizer || !name)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_task: %s is NULL",
                    tokenizer ? "name" : "tokenizer");
    if (!n_pairs)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_task: n_pairs is 0");
    int status = maker_init(&maker, context, tokenizer, name, options);
    if (status == SN_OK)
        status = sn_task_create(&task, context, name);
    if (status == SN_OK)
        status = add_pairs(task, &maker, n_pairs);
    if (status != SN_OK) {
        sn_task_free(task);
        return status;
    }
    *out = task;
    return SN_OK;
}
