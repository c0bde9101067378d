/* training_run FOLDER MODEL_SEED TOKENS OPTION=VALUE...: for tests/training_torch.py. Makes a model of
 * FOLDER/config.json and trains it on the raw 16-bit tokens of the file TOKENS. Leaves in FOLDER:
 *   start/, end/   the model before and after, in the released layout
 *   windows.i32    of each step and window: its tokens, then its targets, padded to "window" (0, -1)
 *   losses.txt     of each step: loss, gradient RMS, learning rate, density of the matrices */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/trainer.h"

static sn_context *context;

static void check(int status, const char *what)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "training_run: %s: %s\n", what, context ? sn_context_message(context) : "");
    exit(1);
}

static const char *place(const char *folder, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static FILE *open_file(const char *folder, const char *name, const char *mode)
{
    FILE *file = fopen(place(folder, name), mode);
    check(file ? SN_OK : SN_ERROR_IO, place(folder, name));
    return file;
}

static sn_model *make_model(const char *folder, const char *seed)
{
    static char json[65536];
    sn_model *model;
    FILE *file = open_file(folder, "config.json", "rb");
    size_t length = fread(json, 1, sizeof json, file);
    fclose(file);
    check(sn_model_create(&model, context, json, length, strtoull(seed, NULL, 10)), "model");
    check(sn_model_export(model, context, place(folder, "start")), "export");
    return model;
}

static sn_options *read_options(int n, char **settings)
{
    sn_options *options;
    check(sn_options_create(&options, context), "options");
    for (int i = 0; i < n; i++) {
        char *value = strchr(settings[i], '='), *end;
        check(value ? SN_OK : SN_ERROR_ARGUMENT, settings[i]);
        *value++ = '\0';
        double number = strtod(value, &end);
        check(*end ? sn_options_set_text(options, context, settings[i], value)
                   : sn_options_set(options, context, settings[i], number),
              settings[i]);
    }
    return options;
}

static void write_padded(FILE *file, const int32_t *values, size_t n, size_t window, int32_t padding)
{
    fwrite(values, sizeof *values, n, file);
    for (size_t i = n; i < window; i++)
        fwrite(&padding, sizeof padding, 1, file);
}

/* The batch of the step that was made last. */
static void write_windows(FILE *file, const sn_trainer *trainer)
{
    const struct train_windows *windows = &trainer->windows;
    for (size_t s = 0; s < windows->n_sequences; s++) {
        size_t first = windows->offsets[s], n = windows->offsets[s + 1] - first;
        write_padded(file, windows->tokens + first, n, trainer->settings.window, 0);
        write_padded(file, windows->targets + first, n, trainer->settings.window, -1);
    }
}

static double statistic(sn_trainer *trainer, const char *name)
{
    double value;
    check(sn_trainer_statistic(&value, trainer, name), name);
    return value;
}

static void run(sn_trainer *trainer, const char *folder)
{
    FILE *batches = open_file(folder, "windows.i32", "wb"),
         *losses = open_file(folder, "losses.txt", "w");
    while (trainer->step < trainer->settings.steps) {
        double loss;
        check(sn_trainer_step(&loss, trainer), "step");
        write_windows(batches, trainer);
        fprintf(losses, "%.9g %.9g %.17g %.17g\n", loss, statistic(trainer, "gradient_rms"),
                statistic(trainer, "learning_rate"), trainer->plan.density[CLASS_MATRIX]);
    }
    int failed = ferror(batches) | ferror(losses);
    failed |= fclose(batches) | fclose(losses);
    check(failed ? SN_ERROR_IO : SN_OK, "files");
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments < 4) {
        fprintf(stderr, "usage: training_run FOLDER MODEL_SEED TOKENS OPTION=VALUE...\n");
        return 2;
    }
    const char *folder = arguments[1];
    sn_corpus *corpus;
    sn_trainer *trainer;
    sn_model *trained;
    check(sn_context_create(&context, NULL), "context");
    sn_model *model = make_model(folder, arguments[2]);
    sn_options *options = read_options(n_arguments - 4, arguments + 4);
    check(sn_corpus_create(&corpus, context), "corpus");
    check(sn_corpus_add_token_file(corpus, context, arguments[3], 2), "corpus");
    check(sn_trainer_create(&trainer, context, model, options), "trainer");
    check(sn_trainer_add_corpus(trainer, corpus, 1, 0), "trainer");
    run(trainer, folder);
    check(sn_trainer_snapshot(&trained, trainer), "snapshot");
    check(sn_model_export(trained, context, place(folder, "end")), "export");
    sn_model_free(trained);
    sn_trainer_free(trainer);
    sn_corpus_free(corpus);
    sn_options_free(options);
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
