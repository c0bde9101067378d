#include "base/buffer.h"
#include "base/options.h"
#include "train/trainer.h"

/* clang-format off */
#define NUMBER(name, fallback, low, high) \
    {#name, OPTION_NUMBER, offsetof(struct train_settings, name), fallback, low, high, NULL}
#define INTEGER(name, fallback, low, high) \
    {#name, OPTION_INTEGER, offsetof(struct train_settings, name), fallback, low, high, NULL}
#define CHOICE(name, fallback, choices) \
    {#name, OPTION_CHOICE, offsetof(struct train_settings, name), fallback, 0, 0, choices}
/* clang-format on */

/* In the order of the comment at sn_trainer_create. A window or density of 0 stands for "not given".
 * Checkpoints store the settings by these keys. */
const struct option_spec train_option_specs[] = {
    INTEGER(steps, 1000, 1, 1e12),
    INTEGER(batch, 16, 1, 1e6),
    INTEGER(window, 0, 1, 1e9),
    INTEGER(seed, 0, 0, 9007199254740992.0),
    NUMBER(learning_rate, 0.01, 0, 1e6),
    NUMBER(warmup, 0.01, 0, 1),
    NUMBER(beta1, 0.9, 0, 0.999999),
    NUMBER(beta2, 0.95, 0, 0.99999999),
    NUMBER(epsilon, 0.1, 1e-30, 1e6),
    NUMBER(weight_decay, 0.1, 0, 1e6),
    CHOICE(rms_mode, RMS_NORMALIZE, "normalize|clip"),
    NUMBER(rms_limit, 1, 1e-30, 1e30),
    NUMBER(density, 1.0 / 32, 1e-9, 1),
    NUMBER(density_embedding, 0, 1e-9, 1),
    NUMBER(density_bias, 0, 1e-9, 1),
    NUMBER(density_bigram, 1, 1e-9, 1),
    INTEGER(minimum_per_neuron, 4, 0, 1e9),
    CHOICE(schedule, DENSITY_EXPONENTIAL, "exponential|linear|power"),
    NUMBER(schedule_power, 3, 1e-3, 1e3),
    NUMBER(schedule_start_density, 1, 1e-9, 1),
    NUMBER(schedule_start, 0, 0, 1),
    NUMBER(schedule_end, 0.5, 0, 1),
    CHOICE(learning_rate_scale, RATE_SHARKFIN, "sharkfin|final|none"),
    CHOICE(gradient, TRAIN_DENSE, "dense|support"),
    INTEGER(refresh_interval, 20, 1, 1e12),
    NUMBER(refresh_fraction, 0.3, 0, 1),
    NUMBER(refresh_end, 0.9, 0, 1),
    CHOICE(order, ORDER_DECAY_FIRST, "decay_first|script"),
    INTEGER(checkpoint_interval, 0, 0, 1e12),
    NUMBER(task_weight, 16, 1e-6, 1e6),
    CHOICE(recompute, RECOMPUTE_AUTO, RECOMPUTE_CHOICES),
};
const size_t n_train_option_specs = sizeof train_option_specs / sizeof *train_option_specs;

int settings_check(const struct train_settings *settings, struct sn_context *context,
                   const char *function, const struct config *config)
{
    if (settings->window > config->block_size)
        return fail(context, SN_ERROR_ARGUMENT,
                    "%s: option window is %zu; the model's block_size is %zu", function,
                    settings->window, config->block_size);
    if (settings->schedule_start > settings->schedule_end)
        return fail(context, SN_ERROR_ARGUMENT,
                    "%s: option schedule_start is %s; schedule_end is %s, which is earlier", function,
                    SHOWN(settings->schedule_start), SHOWN(settings->schedule_end));
    return SN_OK;
}

int settings_read(struct train_settings *settings, struct sn_context *context, const char *function,
                  const struct config *config, const sn_options *options)
{
    int status =
        options_read(settings, context, function, train_option_specs, n_train_option_specs, options);
    if (status != SN_OK)
        return status;
    if (!settings->window)
        settings->window = config->block_size;
    if (settings->density_embedding == 0)
        settings->density_embedding = settings->density;
    if (settings->density_bias == 0)
        settings->density_bias = settings->density;
    return settings_check(settings, context, function, config);
}

/* Whether the step that makes `done` steps complete replaces part of the support. */
static int refresh_due(const struct train_settings *settings, size_t done)
{
    return done % settings->refresh_interval == 0 &&
           (double)done <= settings->refresh_end * (double)settings->steps;
}

/* The density falls at every step where the mask is renewed at every step, else at refreshes: then it
 * stands where it stood at the last multiple of the interval, but reaches its end on time. */
static double plan_progress(const struct train_settings *settings, size_t done)
{
    double progress = (double)done / (double)settings->steps;
    if (settings->gradient == TRAIN_DENSE || progress >= settings->schedule_end)
        return progress;
    return (double)(done - done % settings->refresh_interval) / (double)settings->steps;
}

void settings_densities(double density[N_CLASSES], const struct train_settings *settings, size_t done)
{
    struct density_schedule schedule = {(enum density_shape)settings->schedule, settings->schedule_power,
                                        settings->schedule_start_density, settings->schedule_start,
                                        settings->schedule_end};
    const double targets[N_CLASSES] = {settings->density, settings->density_embedding,
                                       settings->density_bias, settings->density_bigram, 1};
    double progress = plan_progress(settings, done);
    for (size_t i = 0; i < N_CLASSES; i++)
        density[i] = i == CLASS_DENSE ? 1 : schedule_density(&schedule, targets[i], progress);
}

struct step_plan settings_plan(const struct train_settings *settings, size_t step)
{
    struct step_plan plan = {.refresh = 0};
    settings_densities(plan.density, settings, step + 1);
    plan.learning_rate = settings->learning_rate *
                         schedule_warmup_decay(step, settings->steps, settings->warmup) *
                         schedule_rate_scale((enum rate_scale)settings->learning_rate_scale,
                                             plan.density[CLASS_MATRIX], settings->density);
    if (settings->gradient == TRAIN_SUPPORT && refresh_due(settings, step + 1)) {
        plan.refresh = 1;
        plan.drop_fraction = settings->refresh_fraction * schedule_decay(step + 1, settings->steps);
    }
    return plan;
}
