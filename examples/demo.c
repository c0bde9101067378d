/* The main job, end to end: from Python source to circuits that a person can read.
 *
 *   demo OUT_DIR [N_THREADS [SEED [SOURCE_DIR]]]
 *
 * Trains one weight-sparse transformer on generated idioms and on the Python library of this machine,
 * then treats four tasks: does the model do it, which circuit does it, is the circuit sufficient and
 * necessary on fresh pairs, and by which paths. Writes the model, the tokenizer and the circuits (JSON,
 * DOT, SVG, and a page for the browser) into OUT_DIR. Uses the public header alone. */
#include <glob.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <sparsenet.h>

#define N_TASKS 4
#define N_DRILLED 3 /* the first ones */
#define N_ROUNDS 3
#define LEARNT_LOSS 0.05
#define DENSITY (1.0 / 48)
#define PYTHON_LIBRARY "/usr/lib/python3.11"
#define MODULE_BYTES 200000 /* longer ones are left out: mostly tables */
#define TARGET_LOSS 0.15
#define TARGET_ACCURACY 0.95
#define MOST_EDGES 20
/* What the search is held to on pruning and development pairs: stricter than the judgement on fresh ones,
 * so that they have some room. The next one is tried where a circuit has too many edges to read. */
static const double search_losses[] = {0.05, 0.075, 0.10, 0.13};
#define N_SEARCHES 4 /* with masks of other seeds: greedy removal ends where its start leads */

static const char *const task_names[N_TASKS] = {"single_double_quote", "for_while", "set_or_string",
                                                "bracket_counting"};
static const char config[] =
    "{\"block_size\": 128, \"vocab_size\": 768, \"n_layer\": 2, \"n_head\": 8, \"d_head\": 16,"
    " \"d_model\": 128, \"rms_norm\": true, \"tied_unembed\": false, \"sink\": true, \"afrac\": 0.25,"
    " \"afrac_loctypes\": \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\","
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true,"
    " \"d_pos_emb\": 16, \"sinusoidal_cat_pos_emb\": true}";

struct demo {
    sn_context *context;
    const char *directory, *source; /* source NULL: the modules of this machine's Python library */
    unsigned seed;
    double start;
    sn_corpus *idioms, *drill, *real, *held_out;
    sn_corpus *more_drill[N_ROUNDS]; /* of the rounds that were needed */
    sn_tokenizer *tokenizer;
    sn_model *model;
    sn_means *means;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Every call goes through here: a demo has no better answer to an error than to say it and stop. */
static void check(const struct demo *demo, int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "demo: %s: %s\n", sn_status_string(status), sn_context_message(demo->context));
    exit(1);
}

static void say(const struct demo *demo, const char *format, ...)
{
    va_list arguments;
    printf("[%5.1f s] ", seconds() - demo->start);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

static sn_options *options(const struct demo *demo)
{
    sn_options *made;
    check(demo, sn_options_create(&made, demo->context));
    return made;
}

static void set(const struct demo *demo, sn_options *of, const char *key, double value)
{
    check(demo, sn_options_set(of, demo->context, key, value));
}

static void set_text(const struct demo *demo, sn_options *of, const char *key, const char *value)
{
    check(demo, sn_options_set_text(of, demo->context, key, value));
}

/* ------------------------------------------------------------------- text */

static sn_corpus *idioms(const struct demo *demo, double megabytes, unsigned seed,
                         const char *constructs)
{
    sn_corpus *corpus;
    sn_options *how = options(demo);
    check(demo, sn_corpus_create(&corpus, demo->context));
    set(demo, how, "seed", seed);
    if (constructs) {
        set_text(demo, how, "constructs", constructs);
        set(demo, how, "short", 1);
    }
    check(demo, sn_python_add_idioms(corpus, demo->context, (size_t)(1e6 * megabytes), how));
    sn_options_free(how);
    return corpus;
}

/* Adds about `bytes` of one corpus' documents to another. */
static void add_some(const struct demo *demo, sn_corpus *to, const sn_corpus *from, size_t bytes)
{
    for (size_t i = 0, total = 0, length; total < bytes && i < sn_corpus_count(from); i++) {
        const char *text = sn_corpus_text(&length, from, i);
        check(demo, sn_corpus_add_text(to, demo->context, text, length));
        total += length;
    }
}

static void train_tokenizer(struct demo *demo)
{
    /* the closers of real lines, besides what the tasks need (\n stands for a newline) */
    static const char closers[] =
        "'),\\n\n\"),\\n\n',\\n\n\",\\n\n']\\n\n\"]\\n\n':\\n\n\":\\n\n'\\n\n\"\\n";
    char required[8192];
    sn_corpus *sample;
    sn_options *how = options(demo);
    check(demo, sn_corpus_create(&sample, demo->context));
    add_some(demo, sample, demo->idioms, 1500000);
    add_some(demo, sample, demo->real, 1000000);
    snprintf(required, sizeof required, "%s\n%s", sn_python_required_tokens(), closers);
    set_text(demo, how, "required", required);
    check(demo, sn_tokenizer_train(&demo->tokenizer, demo->context, sample, 768, how));
    sn_options_free(how);
    sn_corpus_free(sample);
}

/* The modules at the top of the Python library, the same on every Debian 12; which packages lie below
 * depends on what else is installed. */
static void add_python_library(struct demo *demo)
{
    glob_t modules;
    if (glob(PYTHON_LIBRARY "/[a-z]*.py", 0, NULL, &modules) != 0) {
        fprintf(stderr, "demo: no Python source in %s; name a folder of it\n", PYTHON_LIBRARY);
        exit(1);
    }
    static char text[MODULE_BYTES];
    for (size_t i = 0; i < modules.gl_pathc; i++) {
        FILE *file = fopen(modules.gl_pathv[i], "rb");
        size_t length = file ? fread(text, 1, sizeof text, file) : 0;
        if (length > 0 && length < sizeof text)
            check(demo, sn_corpus_add_text(demo->real, demo->context, text, length));
        if (file)
            fclose(file);
    }
    globfree(&modules);
}

static void read_text(struct demo *demo)
{
    demo->idioms = idioms(demo, 4, demo->seed, NULL);
    demo->drill =
        idioms(demo, 2, demo->seed + 1000,
               "single_double_quote,for_while,set_or_string,set_or_string,set_or_string,set_or_string");
    check(demo, sn_corpus_create(&demo->real, demo->context));
    if (demo->source)
        check(demo,
              sn_corpus_add_directory(demo->real, demo->context, demo->source, ".py", 200000, 8000000));
    else
        add_python_library(demo);
    check(demo, sn_corpus_split(&demo->held_out, demo->real, demo->context, 0.1, demo->seed));
    train_tokenizer(demo);
    sn_corpus *const all[] = {demo->idioms, demo->drill, demo->real, demo->held_out};
    for (size_t i = 0; i < 4; i++)
        check(demo, sn_corpus_tokenize(all[i], demo->context, demo->tokenizer));
    say(demo, "text: %.1fM tokens of idioms, %.1fM of drill, %.1fM of %s; %zu of %zu files held out",
        1e-6 * (double)sn_corpus_token_count(demo->idioms),
        1e-6 * (double)sn_corpus_token_count(demo->drill),
        1e-6 * (double)sn_corpus_token_count(demo->real), demo->source ? demo->source : PYTHON_LIBRARY,
        sn_corpus_count(demo->held_out), sn_corpus_count(demo->held_out) + sn_corpus_count(demo->real));
}

/* ------------------------------------------------------------------ tasks */

static sn_task *make_task(const struct demo *demo, const char *name, const char *split, size_t n_pairs,
                          unsigned seed)
{
    sn_task *task;
    sn_options *how = options(demo);
    set(demo, how, "seed", seed);
    set_text(demo, how, "split", split);
    check(demo, sn_python_task(&task, demo->context, demo->tokenizer, name, n_pairs, how));
    sn_options_free(how);
    return task;
}

static sn_evaluation evaluate(const struct demo *demo, const sn_circuit *circuit, int ablate,
                              const sn_task *fit, const sn_task *task)
{
    sn_evaluation result;
    result.struct_size = sizeof result;
    check(demo,
          sn_evaluate(&result, demo->context, demo->model, demo->means, circuit, ablate, fit, task));
    return result;
}

/* --------------------------------------------------------------- training */

static int report_step(const char *stage, size_t done, size_t total, double loss, void *payload)
{
    const struct demo *demo = payload;
    if (strcmp(stage, "train") == 0 && (done % 1000 == 0 || done == total))
        say(demo, "step %zu of %zu: loss %.2f", done, total, loss);
    return 0;
}

static double statistic(const struct demo *demo, sn_trainer *trainer, const char *name)
{
    double value;
    check(demo, sn_trainer_statistic(&value, trainer, name));
    return value;
}

/* A stretch of training: the mix of drill, idioms and real source, towards the final density. */
struct stage {
    const sn_corpus *drill;
    size_t steps;
    double learning_rate, start_density;
    unsigned seed;
};

/* Trains a model on; *out starts as `from` is. */
static void train_stage(sn_model **out, struct demo *demo, const sn_model *from,
                        const struct stage *stage)
{
    sn_trainer *trainer;
    sn_options *how = options(demo);
    double loss;
    set(demo, how, "steps", (double)stage->steps);
    set(demo, how, "batch", 16);
    set(demo, how, "seed", stage->seed);
    set(demo, how, "learning_rate", stage->learning_rate);
    set_text(demo, how, "learning_rate_scale", "none");
    set(demo, how, "density", DENSITY);
    set(demo, how, "density_bias", 1);
    set(demo, how, "schedule_start_density", stage->start_density);
    set(demo, how, "schedule_end", 0.5);
    set_text(demo, how, "gradient", "support");
    set(demo, how, "minimum_per_neuron", 1);
    check(demo, sn_trainer_create(&trainer, demo->context, from, how));
    check(demo, sn_trainer_add_corpus(trainer, stage->drill, 0.6, 48));
    check(demo, sn_trainer_add_corpus(trainer, demo->idioms, 0.28, 0));
    check(demo, sn_trainer_add_corpus(trainer, demo->real, 0.12, 0));
    sn_context_set_progress(demo->context, report_step, demo);
    check(demo, sn_trainer_run(trainer, 0));
    sn_context_set_progress(demo->context, NULL, NULL);
    check(demo, sn_trainer_validate(&loss, trainer, demo->held_out, 256));
    say(demo, "trained: %.0f of %.0f weights are nonzero; loss on held-out files %.2f nats per token",
        statistic(demo, trainer, "nonzeros"), statistic(demo, trainer, "parameters"), loss);
    check(demo, sn_trainer_snapshot(out, trainer));
    sn_trainer_free(trainer);
    sn_options_free(how);
}

/* How well a model does the drilled tasks: the worse loss of pruning and development pairs of each. */
struct skill {
    double loss[N_DRILLED], sum;
    int weak; /* any above LEARNT_LOSS */
};

static struct skill measure_skill(const struct demo *demo)
{
    struct skill skill = {.weak = 0};
    for (size_t i = 0; i < N_DRILLED; i++) {
        sn_task *prune = make_task(demo, task_names[i], "prune", 128, 300 + demo->seed);
        sn_task *develop = make_task(demo, task_names[i], "develop", 128, 400 + demo->seed);
        sn_evaluation on_prune = evaluate(demo, NULL, SN_ABLATE_NOTHING, prune, prune);
        sn_evaluation on_develop = evaluate(demo, NULL, SN_ABLATE_NOTHING, prune, develop);
        skill.loss[i] = on_prune.loss > on_develop.loss ? on_prune.loss : on_develop.loss;
        skill.sum += skill.loss[i];
        skill.weak |= skill.loss[i] > LEARNT_LOSS;
        say(demo, "%s: loss %.3f on pruning and development pairs", task_names[i], skill.loss[i]);
        sn_task_free(prune);
        sn_task_free(develop);
    }
    return skill;
}

/* A round's drill: all constructs, and four times as much of what the model does not do well. */
static sn_corpus *round_drill(const struct demo *demo, const struct skill *skill, unsigned round)
{
    char constructs[1024];
    size_t length = 0;
    for (size_t i = 0; i < N_DRILLED; i++)
        for (size_t k = 0; k < (skill->loss[i] > LEARNT_LOSS ? 4 : 1); k++)
            length += (size_t)snprintf(constructs + length, sizeof constructs - length, "%s%s",
                                       length ? "," : "", task_names[i]);
    sn_corpus *drill = idioms(demo, 2, demo->seed + 1000 * (2 + round), constructs);
    check(demo, sn_corpus_tokenize(drill, demo->context, demo->tokenizer));
    return drill;
}

/* Once on everything, then in rounds on what the model does not do yet: which tasks a model learns first
 * differs from seed to seed. Every other round lets in more weights to begin with, since what was never
 * learnt may find no place among those of a sparse model. A round that makes things worse is dropped. */
static void train(struct demo *demo)
{
    sn_model *start;
    struct stage first = {demo->drill, 8000, 0.015, 0.3, demo->seed};
    check(demo, sn_model_create(&start, demo->context, config, strlen(config), demo->seed));
    train_stage(&demo->model, demo, start, &first);
    sn_model_free(start);
    struct skill skill = measure_skill(demo);
    for (unsigned round = 0; skill.weak && round < N_ROUNDS; round++) {
        demo->more_drill[round] = round_drill(demo, &skill, round);
        struct stage more = {demo->more_drill[round], 2000, 0.01, round % 2 ? 0.1 : DENSITY,
                             demo->seed + 1 + round};
        sn_model *before = demo->model;
        train_stage(&demo->model, demo, before, &more);
        struct skill now = measure_skill(demo);
        const int better = now.sum < skill.sum;
        sn_model_free(better ? before : demo->model);
        if (better)
            skill = now;
        else
            demo->model = before;
    }
}

/* Means over the text that the model was trained on: idioms and real source in equal parts. */
static void measure_means(struct demo *demo)
{
    sn_corpus *mixed;
    check(demo, sn_corpus_create(&mixed, demo->context));
    add_some(demo, mixed, demo->idioms, 500000);
    add_some(demo, mixed, demo->real, 500000);
    check(demo, sn_corpus_tokenize(mixed, demo->context, demo->tokenizer));
    check(demo, sn_means_create(&demo->means, demo->context, demo->model, mixed, NULL));
    sn_corpus_free(mixed);
}

/* --------------------------------------------------------------- circuits */

/* SN_OK where no identifier or string of the pairs occurs in any text that the model was trained on. */
static int check_fresh(size_t *n_words, const struct demo *demo, const sn_task *fresh)
{
    const sn_corpus *const first[] = {demo->idioms, demo->drill, demo->real};
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < 3; i++)
        status = sn_python_check_fresh(n_words, demo->context, demo->tokenizer, fresh, first[i]);
    for (size_t i = 0; status == SN_OK && i < N_ROUNDS && demo->more_drill[i]; i++)
        status =
            sn_python_check_fresh(n_words, demo->context, demo->tokenizer, fresh, demo->more_drill[i]);
    return status;
}

/* Fresh pairs whose identifiers and strings occur nowhere in the training text. */
static sn_task *make_fresh(const struct demo *demo, const char *name)
{
    size_t n_words = 0;
    for (unsigned attempt = 0; attempt < 8; attempt++) {
        sn_task *fresh = make_task(demo, name, "fresh", 100, 930000 + 10 * demo->seed + attempt);
        if (check_fresh(&n_words, demo, fresh) == SN_OK) {
            printf("   fresh pairs: none of their %zu words occurs in the training text\n", n_words);
            return fresh;
        }
        printf("   drawn anew: %s\n", sn_context_message(demo->context));
        sn_task_free(fresh);
    }
    fprintf(stderr, "demo: every draw of fresh %s pairs shares a word with the training text\n", name);
    exit(1);
}

static void print_evaluation(const char *what, const sn_evaluation *e)
{
    printf("   %-34s calibrated %.3f nats, %5.1f %% right; uncalibrated %.3f, %5.1f %%\n", what, e->loss,
           100 * e->accuracy, e->raw_loss, 100 * e->raw_accuracy);
}

static void measure(const struct demo *demo, sn_circuit *circuit, const char *what,
                    const sn_evaluation *e)
{
    const char *const names[] = {"loss", "accuracy", "raw_loss", "raw_accuracy"};
    const double values[] = {e->loss, e->accuracy, e->raw_loss, e->raw_accuracy};
    char name[64];
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s_%s", what, names[i]);
        check(demo, sn_circuit_set_measurement(circuit, demo->context, name, values[i]));
    }
}

struct pairs {
    sn_task *prune, *develop, *fresh;
};

/* One line of numbers about a circuit, printed and kept with it. */
static sn_evaluation report(const struct demo *demo, sn_circuit *circuit, const char *label,
                            const char *key, int ablate, const sn_task *fit, const sn_task *task)
{
    sn_evaluation e = evaluate(demo, circuit, ablate, fit, task);
    print_evaluation(label, &e);
    if (key)
        measure(demo, circuit, key, &e);
    return e;
}

static double measured(const sn_circuit *circuit, const char *name)
{
    double value;
    for (size_t i = 0; i < sn_circuit_measurement_count(circuit); i++)
        if (strcmp(sn_circuit_measurement(&value, circuit, i), name) == 0)
            return value;
    return NAN;
}

/* Growing may end before the rest fails without the circuit; the circuit says so. */
static void print_unnecessary(const sn_circuit *circuit)
{
    if (measured(circuit, "necessity_reached") == 0)
        printf("   not grown to necessity: without it the rest comes to %.3f nats, where %.3f were wanted\n",
               measured(circuit, "grown_necessity"), measured(circuit, "necessity_wanted"));
}

/* Necessity is judged after the calibration was fitted anew on the complement (docs/circuits.md). */
static void print_checks(const struct demo *demo, sn_circuit *circuit, const struct pairs *pairs)
{
    sn_circuit *random;
    check(demo, sn_circuit_create_random(&random, demo->context, circuit, demo->seed));
    printf("   circuit: %zu nodes, %zu edges (of %zu that touch its nodes)\n",
           sn_circuit_node_count(circuit), sn_circuit_edge_count(circuit),
           sn_circuit_touching_edge_count(circuit));
    print_unnecessary(circuit);
    report(demo, circuit, "circuit, pruning pairs", "prune", SN_ABLATE_REST, pairs->prune, pairs->prune);
    report(demo, circuit, "circuit, fresh pairs", "fresh", SN_ABLATE_REST, pairs->prune, pairs->fresh);
    report(demo, random, "random circuit of its size, fresh", NULL, SN_ABLATE_REST, pairs->prune,
           pairs->fresh);
    report(demo, circuit, "bigram table alone, fresh", "bigram", SN_ABLATE_EVERYTHING, pairs->prune,
           pairs->fresh);
    report(demo, circuit, "model without the circuit, refitted", "necessity", SN_ABLATE_CIRCUIT,
           pairs->prune, pairs->fresh);
    report(demo, random, "model without random nodes, refitted", NULL, SN_ABLATE_CIRCUIT, pairs->prune,
           pairs->fresh);
    sn_circuit_free(random);
}

static void print_paths(const struct demo *demo, sn_circuit *circuit, const sn_task *task)
{
    sn_options *how = options(demo);
    set(demo, how, "paths", 4);
    check(demo, sn_circuit_trace(circuit, demo->context, demo->means, demo->tokenizer, task, how));
    sn_options_free(how);
    for (size_t i = 0; i < sn_circuit_path_count(circuit); i++) {
        double weight, contribution;
        const char *path = sn_circuit_path(&weight, &contribution, circuit, i);
        printf("   %+.2f  %s\n", contribution, path);
    }
}

/* A page to look at, with what every node does in files that the model has not seen. */
static void write_page(const struct demo *demo, const sn_circuit *circuit, const sn_task *task,
                       const char *path)
{
    sn_evidence *evidence;
    sn_options *how = options(demo);
    set(demo, how, "tokens", 131072);
    check(demo, sn_evidence_create_circuit(&evidence, demo->context, circuit, demo->held_out, how));
    const sn_page page = {
        .struct_size = sizeof page, .tokenizer = demo->tokenizer, .evidence = evidence, .task = task};
    check(demo, sn_report_write_html(demo->context, circuit, &page, path));
    sn_evidence_free(evidence);
    sn_options_free(how);
}

static void write_circuit(const struct demo *demo, const sn_circuit *circuit, const sn_task *task,
                          const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/circuit_%s.json", demo->directory, name);
    check(demo, sn_report_write_json(demo->context, circuit, path));
    snprintf(path, sizeof path, "%s/circuit_%s.dot", demo->directory, name);
    check(demo, sn_report_write_dot(demo->context, circuit, path));
    snprintf(path, sizeof path, "%s/circuit_%s.svg", demo->directory, name);
    check(demo, sn_report_write_svg(demo->context, circuit, path));
    snprintf(path, sizeof path, "%s/circuit_%s.html", demo->directory, name);
    write_page(demo, circuit, task, path);
}

/* The quote circuit on lines that people wrote, by what follows the closing quote. */
static void try_real_lines(const struct demo *demo, const sn_circuit *circuit, const sn_task *fit)
{
    static const char *const closers[] = {")", "),", ",", "]", ":", ""};
    printf("   lines cut from held-out files, by what closes them (both quotes equally often):\n");
    for (size_t i = 0; i < sizeof closers / sizeof *closers; i++) {
        sn_task *lines;
        int status = sn_python_quote_lines(&lines, demo->context, demo->tokenizer, demo->held_out,
                                           closers[i], 100, NULL);
        if (status != SN_OK) {
            printf("      '%-3s skipped: %s\n", closers[i], sn_context_message(demo->context));
            continue;
        }
        sn_evaluation full = evaluate(demo, NULL, SN_ABLATE_NOTHING, fit, lines);
        sn_evaluation part = evaluate(demo, circuit, SN_ABLATE_REST, fit, lines);
        printf("      '%-3s %3zu lines: full model %5.1f %% right (uncalibrated %5.1f %%),"
               " circuit %5.1f %% (%5.1f %%)\n",
               closers[i], sn_task_count(lines), 100 * full.accuracy, 100 * full.raw_accuracy,
               100 * part.accuracy, 100 * part.raw_accuracy);
        sn_task_free(lines);
    }
}

static sn_circuit *smaller(sn_circuit *a, sn_circuit *b)
{
    const int keep_a = a && (!b || sn_circuit_edge_count(a) <= sn_circuit_edge_count(b));
    sn_circuit_free(keep_a ? b : a);
    return keep_a ? a : b;
}

/* The smallest circuit of a few searches, NULL where none reaches the target loss. */
static sn_circuit *extract_at(const struct demo *demo, const struct pairs *pairs, double target)
{
    sn_circuit *best = NULL, *circuit;
    for (unsigned i = 0; i < N_SEARCHES; i++) {
        sn_options *how = options(demo);
        set(demo, how, "k_coef", 3e-3);
        set(demo, how, "target_loss", target);
        set(demo, how, "steps", 100);
        set(demo, how, "batch", 16);
        set(demo, how, "seed", 100 * demo->seed + i);
        int status = sn_circuit_extract(&circuit, demo->context, demo->model, demo->means, pairs->prune,
                                        pairs->develop, how);
        sn_options_free(how);
        if (status == SN_ERROR_TARGET) {
            printf("   no circuit at %.3f: %s\n", target, sn_context_message(demo->context));
            return best;
        }
        check(demo, status);
        best = smaller(best, circuit);
        if (sn_circuit_edge_count(best) <= MOST_EDGES)
            break;
    }
    return best;
}

/* The strictest search whose circuit a person can read; fresh pairs have no part in this choice. */
static sn_circuit *extract(const struct demo *demo, const struct pairs *pairs)
{
    sn_circuit *best = NULL;
    for (size_t i = 0; i < sizeof search_losses / sizeof *search_losses; i++) {
        best = smaller(best, extract_at(demo, pairs, search_losses[i]));
        if (best && sn_circuit_edge_count(best) <= MOST_EDGES)
            break;
    }
    return best;
}

static void treat_task(const struct demo *demo, const char *name)
{
    printf("\n");
    say(demo, "%s", name);
    struct pairs pairs = {make_task(demo, name, "prune", 128, 100 + demo->seed),
                          make_task(demo, name, "develop", 128, 200 + demo->seed),
                          make_fresh(demo, name)};
    sn_evaluation full = evaluate(demo, NULL, SN_ABLATE_NOTHING, pairs.prune, pairs.fresh);
    print_evaluation("full model, fresh pairs", &full);
    sn_circuit *circuit = NULL;
    if (full.loss > TARGET_LOSS || full.accuracy < TARGET_ACCURACY)
        printf(
            "   the model does not do this task (loss above %.2f or under %.0f %% right): not pruned\n",
            TARGET_LOSS, 100 * TARGET_ACCURACY);
    else
        circuit = extract(demo, &pairs);
    if (circuit) {
        measure(demo, circuit, "full_fresh", &full);
        print_checks(demo, circuit, &pairs);
        print_paths(demo, circuit, pairs.prune);
        check(demo,
              sn_circuit_measure_deltas(circuit, demo->context, demo->means, pairs.prune, pairs.prune));
        if (strcmp(name, "single_double_quote") == 0)
            try_real_lines(demo, circuit, pairs.prune);
        write_circuit(demo, circuit, pairs.prune, name);
    }
    sn_circuit_free(circuit);
    sn_task_free(pairs.prune);
    sn_task_free(pairs.develop);
    sn_task_free(pairs.fresh);
}

/* -------------------------------------------------------------------- main */

static void write_model(const struct demo *demo)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/model.safetensors", demo->directory);
    check(demo, sn_model_save(demo->model, demo->context, path));
    snprintf(path, sizeof path, "%s/tokenizer", demo->directory);
    check(demo, sn_tokenizer_save(demo->tokenizer, demo->context, path));
}

static void free_all(struct demo *demo)
{
    sn_means_free(demo->means);
    sn_model_free(demo->model);
    sn_tokenizer_free(demo->tokenizer);
    sn_corpus_free(demo->idioms);
    sn_corpus_free(demo->drill);
    sn_corpus_free(demo->real);
    sn_corpus_free(demo->held_out);
    for (size_t i = 0; i < N_ROUNDS; i++)
        sn_corpus_free(demo->more_drill[i]);
    sn_context_free(demo->context);
}

int main(int n_arguments, char **arguments)
{
    struct demo demo = {.seed = 1, .start = seconds()};
    if (n_arguments < 2 || n_arguments > 5) {
        fprintf(stderr, "usage: %s OUT_DIR [N_THREADS [SEED [SOURCE_DIR]]]\n", arguments[0]);
        return 2;
    }
    size_t n_threads = n_arguments > 2 ? strtoul(arguments[2], NULL, 10) : 1;
    demo.directory = arguments[1];
    if (n_arguments > 3)
        demo.seed = (unsigned)strtoul(arguments[3], NULL, 10);
    if (n_arguments > 4)
        demo.source = arguments[4];
    int status = sn_context_create(&demo.context, NULL);
    if (status != SN_OK) {
        fprintf(stderr, "demo: %s\n", sn_status_string(status));
        return 1;
    }
    check(&demo, sn_context_set_threads(demo.context, n_threads));
    (void)mkdir(demo.directory, 0777); /* where it fails, the first write will say why */
    say(&demo, "libsparsenet %s, %s kernels, %zu threads, seed %u", sn_version_string(),
        sn_context_isa(demo.context), n_threads, demo.seed);
    read_text(&demo);
    train(&demo);
    measure_means(&demo);
    write_model(&demo);
    for (size_t i = 0; i < N_TASKS; i++)
        treat_task(&demo, task_names[i]);
    say(&demo, "done; see %s", demo.directory);
    free_all(&demo);
    return 0;
}
