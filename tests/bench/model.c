/* Our side of whole-model work, to be set beside any peer: tokens per second and peak memory. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const char help[] =
    "model [--what forward|backward|step|step-support|generate|prune] [--width 1024] [--layers 8]\n"
    "      [--density 1/64] [--batch 4] [--tokens 256] [--pairs 64] [--threads 1] [--seconds 3]\n"
    "      [--recompute 1]\n"
    "A random model with d_head 16, d_mlp 4 x width, vocabulary 2048, AbsTopK 1/4 at 8 places.\n"
    "  forward       logits of `batch` sequences of `tokens` tokens\n"
    "  backward      forward and backward, gradients on the support\n"
    "  step          a training step with dense gradients\n"
    "  step-support  the same on the support, averaged over 20 steps with one refresh\n"
    "  generate      `tokens` tokens one by one, from an empty context\n"
    "  prune         a step of learning masks: 2 x `pairs` prompts of `tokens` tokens (32 unless "
    "given)\n"
    "Prints the best of some `seconds` of runs. SPARSENET_ISA chooses the instruction set.\n";

static const char *const names[] = {"what",   "width", "layers",  "density", "batch",
                                    "tokens", "pairs", "threads", "seconds", "recompute"};
#define N_NAMES (sizeof names / sizeof *names)

static int refuse(const char *what, const char *value, const char *why)
{
    fprintf(stderr, "model: --%s %s: %s; --help explains\n", what, value, why);
    return 2;
}

/* NULL, or what is wrong with a number or fraction given for names[i]. */
static const char *wrong_number(size_t i, const char *text)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text)
        return "not a number";
    if (*end == '/')
        number /= strtod(end + 1, &end);
    if (*end != '\0')
        return "not a number";
    if (strcmp(names[i], "density") == 0)
        return number > 0 && number <= 1 ? NULL : "must be above 0 and at most 1";
    if (strcmp(names[i], "width") == 0 && (number < 16 || number != 16 * (double)(int)(number / 16)))
        return "must be a multiple of 16";
    if (strcmp(names[i], "recompute") == 0)
        return number == 0 || number == 1 ? NULL : "must be 0 or 1";
    return number >= 1 && number <= 1e6 ? NULL : "must be 1 to 1000000";
}

static int measure(const struct settings *settings)
{
    struct job job;
    const char *what = setting_text(settings, "what", "forward");
    size_t before, now, peak;
    memory_of_process(&before, &peak);
    const char *why = job_open(&job, "model", settings);
    if (why)
        return refuse("what", what, why);
    job_measure(&job, 0); /* warms up */
    double seconds = job_measure(&job, setting(settings, "seconds", 3));
    memory_of_process(&now, &peak);
    printf("%s: %.1f tokens/s, %.3f ms, peak memory %.1f MB (process %.1f MB), %s\n", what,
           job.tokens / seconds, 1e3 * seconds, 1e-6 * (double)(peak - before), 1e-6 * (double)peak,
           sn_context_isa(job.context));
    job_close(&job);
    return 0;
}

int main(int n_arguments, char **arguments)
{
    struct option options[N_NAMES + 2] = {{"help", no_argument, NULL, 'h'}};
    char words[N_NAMES][64], *list[N_NAMES];
    struct settings settings = {list, 0};
    int at = 0, found;
    for (size_t i = 0; i < N_NAMES; i++)
        options[i + 1] = (struct option){names[i], required_argument, NULL, 'v'};
    while ((found = getopt_long(n_arguments, arguments, "h", options, &at)) != -1) {
        if (found == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (found != 'v')
            return 2; /* getopt_long has said why */
        const size_t i = (size_t)at - 1;
        const char *wrong = i > 0 ? wrong_number(i, optarg) : NULL;
        if (wrong)
            return refuse(names[i], optarg, wrong);
        snprintf(words[i], sizeof words[i], "%s=%s", names[i], optarg);
        int known = 0;
        for (size_t j = 0; j < settings.n_words; j++)
            known |= list[j] == words[i];
        if (!known)
            list[settings.n_words++] = words[i];
    }
    if (optind < n_arguments) {
        fprintf(stderr, "model: %s is no option; --help lists them\n", arguments[optind]);
        return 2;
    }
    return measure(&settings);
}
