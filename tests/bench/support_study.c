/* Does the support mode earn its place? Models trained in pairs, dense gradients against gradients on
 * the support: same start, same batches, same steps. Uses the public header alone.
 *
 *   support_study loss CSV [steps=N] [seeds=N] [ARM...]       final validation loss, processor time
 *   support_study circuits CSV [steps=N] [seeds=N] [ARM...]   edges of circuits in small models
 *   support_study time [steps=N] [ARM...]                     clock a short run, arms interleaved
 *
 * An ARM is trainer options in one word: gradient=support,refresh_interval=20; arms given replace the
 * default ones, but for the reference, gradient=dense. A finished run is appended to CSV, a run found
 * there is skipped; support_report says what they amount to. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sparsenet.h>

#define PYTHON_LIBRARY "/usr/lib/python3.11" /* real source, where it exists */
#define MODULE_BYTES 200000
#define MOST_ARMS 16
#define BLOCK 10 /* steps that an arm is clocked for in turn */

#define SITES "attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q"
#define CONFIG(block, width, heads)                                                                     \
    "{\"block_size\": " block ", \"vocab_size\": 768, \"n_layer\": 2, \"d_model\": " width              \
    ", \"n_head\": " heads ", \"d_head\": 16, \"rms_norm\": true, \"tied_unembed\": false,"             \
    " \"sink\": true, \"afrac\": 0.25, \"afrac_loctypes\": \"" SITES "\","                              \
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true,"                                 \
    " \"d_pos_emb\": 16, \"sinusoidal_cat_pos_emb\": true}"

/* A kind of study: which models, trained how, in which arms. */
struct study {
    const char *name, *config, *options;
    double drill, idioms, real; /* shares of the windows */
    size_t steps, seeds, n_arms;
    const char *arms[MOST_ARMS];
    void (*run)(const struct study *study, size_t seed, const char *arm);
};

static sn_context *context;
static sn_corpus *idioms, *drill, *real, *held_out;
static sn_tokenizer *tokenizer;
static const char *csv_path;

static void stop(const char *what, const char *why)
{
    fprintf(stderr, "support_study: %s: %s\n", what, why);
    exit(1);
}

static void check(int status)
{
    if (status != SN_OK)
        stop(sn_status_string(status), sn_context_message(context));
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Sets key=value, key=value, ...; what is no number is text. */
static void set_options(sn_options *options, const char *list)
{
    char copy[1024], *rest = copy;
    snprintf(copy, sizeof copy, "%s", list);
    for (char *key; (key = strtok_r(rest, ", ", &rest));) {
        char *value = strchr(key, '='), *end;
        if (!value)
            stop("no value", key);
        *value++ = 0;
        double number = strtod(value, &end);
        check(*end ? sn_options_set_text(options, context, key, value)
                   : sn_options_set(options, context, key, number));
    }
}

static sn_options *make_options(const char *list)
{
    sn_options *options;
    check(sn_options_create(&options, context));
    set_options(options, list);
    return options;
}

/* ------------------------------------------------------------------- text */

static sn_corpus *make_idioms(size_t bytes, const char *how, const char *constructs)
{
    sn_corpus *corpus;
    sn_options *options = make_options(how);
    check(sn_corpus_create(&corpus, context));
    if (constructs)
        check(sn_options_set_text(options, context, "constructs", constructs));
    check(sn_python_add_idioms(corpus, context, bytes, options));
    sn_options_free(options);
    return corpus;
}

static void add_python_library(sn_corpus *corpus)
{
    static char text[MODULE_BYTES];
    glob_t modules;
    if (glob(PYTHON_LIBRARY "/[a-z]*.py", 0, NULL, &modules) != 0)
        stop("no Python source in", PYTHON_LIBRARY);
    for (size_t i = 0; i < modules.gl_pathc; i++) {
        FILE *file = fopen(modules.gl_pathv[i], "rb");
        size_t length = file ? fread(text, 1, sizeof text, file) : 0;
        if (length > 0 && length < sizeof text)
            check(sn_corpus_add_text(corpus, context, text, length));
        if (file)
            fclose(file);
    }
    globfree(&modules);
}

static void add_some(sn_corpus *to, const sn_corpus *from, size_t bytes)
{
    for (size_t i = 0, total = 0, length; total < bytes && i < sn_corpus_count(from); i++) {
        const char *text = sn_corpus_text(&length, from, i);
        check(sn_corpus_add_text(to, context, text, length));
        total += length;
    }
}

/* One text for all seeds: a seed is a start and an order of batches. */
static void read_text(void)
{
    sn_corpus *sample;
    sn_options *options;
    idioms = make_idioms(4000000, "seed=1", NULL);
    drill = make_idioms(2000000, "seed=1001 short=1",
                        "single_double_quote,for_while,set_or_string,set_or_string,set_or_string,"
                        "set_or_string");
    check(sn_corpus_create(&real, context));
    add_python_library(real);
    check(sn_corpus_split(&held_out, real, context, 0.1, 1));
    check(sn_corpus_create(&sample, context));
    add_some(sample, idioms, 1500000);
    add_some(sample, real, 1000000);
    check(sn_options_create(&options, context));
    check(sn_options_set_text(options, context, "required", sn_python_required_tokens()));
    check(sn_tokenizer_train(&tokenizer, context, sample, 768, options));
    sn_options_free(options);
    sn_corpus_free(sample);
    sn_corpus *unseen = make_idioms(1000000, "seed=7001", NULL);
    add_some(held_out, unseen, 1000000);
    sn_corpus_free(unseen);
    sn_corpus *const all[] = {idioms, drill, real, held_out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check(sn_corpus_tokenize(all[i], context, tokenizer));
}

static void free_text(void)
{
    sn_corpus *const all[] = {idioms, drill, real, held_out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sn_corpus_free(all[i]);
    sn_tokenizer_free(tokenizer);
}

/* ---------------------------------------------------------------- training */

static sn_trainer *make_trainer(const struct study *study, size_t seed, const char *arm)
{
    sn_model *start;
    sn_trainer *trainer;
    sn_options *options = make_options(study->options);
    set_options(options, arm);
    check(sn_options_set(options, context, "steps", (double)study->steps));
    check(sn_options_set(options, context, "seed", (double)seed));
    check(sn_model_create(&start, context, study->config, strlen(study->config), seed));
    check(sn_trainer_create(&trainer, context, start, options));
    check(sn_trainer_add_corpus(trainer, drill, study->drill, 48));
    check(sn_trainer_add_corpus(trainer, idioms, study->idioms, 0));
    check(sn_trainer_add_corpus(trainer, real, study->real, 0));
    sn_model_free(start);
    sn_options_free(options);
    return trainer;
}

static double statistic(sn_trainer *trainer, const char *name)
{
    double value;
    check(sn_trainer_statistic(&value, trainer, name));
    return value;
}

/* A finished run is one write of whole lines: an interrupted study has no half of one. */
static void append(const char *rows)
{
    FILE *file = fopen(csv_path, "a");
    if (!file || fputs(rows, file) < 0 || fclose(file) != 0)
        stop("cannot append to", csv_path);
    fputs(rows, stdout);
    fflush(stdout);
}

/* loss;seed;arm;steps;validation loss;processor seconds of the steps;density;dead neurons */
static void run_loss(const struct study *study, size_t seed, const char *arm)
{
    char row[1024];
    double loss;
    sn_trainer *trainer = make_trainer(study, seed, arm);
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    check(sn_trainer_run(trainer, 0));
    double used = seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
    check(sn_trainer_validate(&loss, trainer, held_out, 1024));
    snprintf(row, sizeof row, "%s;%zu;%s;%zu;%.6f;%.2f;%.6f;%.0f\n", study->name, seed, arm,
             study->steps, loss, used, statistic(trainer, "density"),
             statistic(trainer, "dead_neurons"));
    append(row);
    sn_trainer_free(trainer);
}

/* ---------------------------------------------------------------- circuits */

static sn_task *make_task(const char *name, const char *how)
{
    sn_task *task;
    sn_options *options = make_options(how);
    check(sn_python_task(&task, context, tokenizer, name, 128, options));
    sn_options_free(options);
    return task;
}

/* The fewest edges over two strengths of the penalty; -1 where the model cannot do the task. */
static long fewest_edges(sn_model *model, const sn_means *means, const char *name)
{
    static const char *const strengths[] = {"k_coef=1e-3", "k_coef=3e-3"};
    sn_task *prune = make_task(name, "seed=101 split=prune");
    sn_task *develop = make_task(name, "seed=201 split=develop");
    long best = -1;
    for (size_t i = 0; i < sizeof strengths / sizeof *strengths; i++) {
        sn_circuit *circuit;
        sn_options *options = make_options("calibrated=0 target_loss=0.15 steps=100 batch=16");
        set_options(options, strengths[i]);
        int status = sn_circuit_extract(&circuit, context, model, means, prune, develop, options);
        sn_options_free(options);
        if (status == SN_ERROR_TARGET)
            continue;
        check(status);
        long edges = (long)sn_circuit_edge_count(circuit);
        best = best < 0 || edges < best ? edges : best;
        sn_circuit_free(circuit);
    }
    sn_task_free(prune);
    sn_task_free(develop);
    return best;
}

/* circuits;seed;arm;steps;validation loss;dead neurons, then ;task=edges for every task */
static void run_circuits(const struct study *study, size_t seed, const char *arm)
{
    static const char *const tasks[] = {"single_double_quote", "for_while", "set_or_string",
                                        "bracket_counting"};
    char row[1024];
    double loss;
    sn_model *model;
    sn_means *means;
    sn_trainer *trainer = make_trainer(study, seed, arm);
    check(sn_trainer_run(trainer, 0));
    check(sn_trainer_validate(&loss, trainer, held_out, 512));
    check(sn_trainer_snapshot(&model, trainer));
    check(sn_means_create(&means, context, model, idioms, NULL));
    int n = snprintf(row, sizeof row, "%s;%zu;%s;%zu;%.6f;%.0f", study->name, seed, arm, study->steps,
                     loss, statistic(trainer, "dead_neurons"));
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        n += snprintf(row + n, sizeof row - (size_t)n, ";%s=%ld", tasks[i],
                      fewest_edges(model, means, tasks[i]));
    snprintf(row + n, sizeof row - (size_t)n, "\n");
    append(row);
    sn_means_free(means);
    sn_model_free(model);
    sn_trainer_free(trainer);
}

/* -------------------------------------------------------------------- time */

/* All arms side by side, BLOCK steps in turn, so that what disturbs one disturbs all. */
static void clock_arms(const struct study *study)
{
    sn_trainer *trainers[MOST_ARMS];
    double total[MOST_ARMS] = {0};
    for (size_t i = 0; i < study->n_arms; i++)
        trainers[i] = make_trainer(study, 1, study->arms[i]);
    for (size_t step = 0; step < study->steps; step += BLOCK)
        for (size_t i = 0; i < study->n_arms; i++) {
            double start = seconds(CLOCK_MONOTONIC);
            check(sn_trainer_run(trainers[i], BLOCK));
            total[i] += seconds(CLOCK_MONOTONIC) - start;
        }
    printf("a run of %zu steps, annealing included, %s, 1 thread\n", study->steps,
           sn_context_isa(context));
    for (size_t i = 0; i < study->n_arms; i++) {
        printf("%-48s %8.2f ms a step %6.2fx\n", study->arms[i], 1e3 * total[i] / (double)study->steps,
               total[0] / total[i]);
        sn_trainer_free(trainers[i]);
    }
}

/* -------------------------------------------------------------------- main */

static struct study studies[] = {
    {"loss",
     CONFIG("64", "512", "32"),
     "batch=8 learning_rate=0.02 learning_rate_scale=none density=0.015625 density_bias=1 "
     "schedule_start_density=0.25 schedule_end=0.5",
     0.5,
     0.35,
     0.15,
     1000,
     5,
     6,
     {"gradient=dense", "gradient=support,refresh_interval=10", "gradient=support,refresh_interval=20",
      "gradient=support,refresh_interval=50", "gradient=support,refresh_interval=100",
      "gradient=support,refresh_interval=10,refresh_fraction=0.15"},
     run_loss},
    {"circuits",
     CONFIG("128", "128", "8"),
     "batch=16 learning_rate=0.015 learning_rate_scale=none density=0.0208333 density_bias=1 "
     "schedule_start_density=0.3 schedule_end=0.5 minimum_per_neuron=1",
     0.6,
     0.28,
     0.12,
     8000,
     6,
     2,
     {"gradient=dense", "gradient=support,refresh_interval=20"},
     run_circuits},
};

/* steps=N, seeds=N, or an arm: arms named replace all but the reference. */
static void read_arguments(struct study *study, char **arguments)
{
    for (int named = 0; *arguments; arguments++) {
        if (strncmp(*arguments, "steps=", 6) == 0)
            study->steps = strtoul(*arguments + 6, NULL, 10);
        else if (strncmp(*arguments, "seeds=", 6) == 0)
            study->seeds = strtoul(*arguments + 6, NULL, 10);
        else {
            study->n_arms = named++ ? study->n_arms : 1;
            if (study->n_arms < MOST_ARMS)
                study->arms[study->n_arms++] = *arguments;
        }
    }
}

static int is_done(const struct study *study, size_t seed, const char *arm)
{
    char key[512], line[1024];
    int length = snprintf(key, sizeof key, "%s;%zu;%s;%zu;", study->name, seed, arm, study->steps);
    FILE *file = fopen(csv_path, "r");
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, key, (size_t)length) == 0;
    if (file)
        fclose(file);
    return found;
}

/* Seed by seed, so that a study cut short has whole pairs. */
static void run_all(const struct study *study)
{
    for (size_t seed = 1; seed <= study->seeds; seed++)
        for (size_t i = 0; i < study->n_arms; i++)
            if (!is_done(study, seed, study->arms[i]))
                study->run(study, seed, study->arms[i]);
}

int main(int n_arguments, char **arguments)
{
    const char *what = n_arguments > 1 ? arguments[1] : "";
    int clocks = strcmp(what, "time") == 0, circuits = strcmp(what, "circuits") == 0;
    if (!clocks && ((!circuits && strcmp(what, "loss") != 0) || n_arguments < 3)) {
        fprintf(stderr,
                "usage: %s loss|circuits CSV [steps=N] [seeds=N] [ARM...]\n"
                "       %s time [steps=N] [ARM...]\n",
                arguments[0], arguments[0]);
        return 2;
    }
    struct study *study = &studies[circuits];
    csv_path = arguments[2];
    read_arguments(study, arguments + (clocks ? 2 : 3));
    if (sn_context_create(&context, NULL) != SN_OK)
        stop("cannot make", "a context");
    read_text();
    if (clocks)
        clock_arms(study);
    else
        run_all(study);
    free_text();
    sn_context_free(context);
    return 0;
}
