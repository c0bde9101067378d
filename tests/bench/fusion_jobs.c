/* What it gives that a panel of tokens goes through a stretch of a block before the next panel
 * starts: the same steps panel by panel, with what lies between them in the cache, and step by step
 * over all tokens. */
#include <stdlib.h>

#include "bench.h"

struct fusion {
    const struct kernel_table *kernels;
    struct sn_matrix *in, *out; /* in: width -> wide; out: wide -> width, or NULL */
    size_t width, wide, panels;
    int by_steps; /* each array has all panels; else what lies between the ends has one */
    float *x, *normed, *inverse, *middle, *y, *gain;
    uint64_t *mask;
    void *scratch;
};

static float *panel_at(const struct fusion *f, float *array, size_t width, size_t panel)
{
    return array + (f->by_steps ? panel * width * PANEL : 0);
}

static void select_quarter(const struct fusion *f, float *x, size_t width)
{
    f->kernels->abs_topk(x, f->mask, width, width / 4, f->scratch);
}

/* The steps, each over one panel. */
static void read_panel(const struct fusion *f, size_t panel)
{
    float *normed = panel_at(f, f->normed, f->width, panel);
    f->kernels->rms_norm(normed, f->inverse, f->x + panel * f->width * PANEL, f->gain, f->width);
    select_quarter(f, normed, f->width);
}

static void widen_panel(const struct fusion *f, size_t panel)
{
    /* without the second product the wide array is what the stretch leaves: it has all panels */
    float *wide = f->out ? panel_at(f, f->middle, f->wide, panel) : f->middle + panel * f->wide * PANEL;
    matrix_multiply_panel(f->in, f->kernels, wide, panel_at(f, f->normed, f->width, panel), NULL, 0);
}

static void activate_panel(const struct fusion *f, size_t panel)
{
    float *wide = panel_at(f, f->middle, f->wide, panel);
    f->kernels->gelu(wide, wide, f->wide * PANEL);
    select_quarter(f, wide, f->wide);
}

static void narrow_panel(const struct fusion *f, size_t panel)
{
    matrix_multiply_panel(f->out, f->kernels, f->y + panel * f->width * PANEL,
                          panel_at(f, f->middle, f->wide, panel), NULL, 0);
}

static void run_fusion(void *state)
{
    void (*const steps[])(const struct fusion *, size_t) = {read_panel, widen_panel, activate_panel,
                                                            narrow_panel};
    const struct fusion *f = state;
    size_t n_steps = f->out ? 4 : 2, n = n_steps * f->panels;
    for (size_t i = 0; i < n; i++)
        if (f->by_steps)
            steps[i / f->panels](f, i % f->panels);
        else
            steps[i % n_steps](f, i / n_steps);
}

static void close_fusion(void *state)
{
    struct fusion *f = state;
    void *blocks[] = {f->x, f->normed, f->inverse, f->middle, f->y, f->gain, f->mask, f->scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
    matrix_free(f->in);
    matrix_free(f->out);
    free(f);
}

static const char *open_fusion(struct job *job, const struct settings *settings)
{
    struct fusion *f = must_allocate(sizeof *f);
    double density = setting(settings, "density", 1. / 64);
    int whole = setting_size(settings, "whole", 0) != 0;
    *f = (struct fusion){.kernels = job->context->kernels,
                         .width = setting_size(settings, "width", 1024),
                         .panels = setting_size(settings, "tokens", 1024) / PANEL,
                         .by_steps = setting_size(settings, "steps", 0) != 0};
    f->wide = (whole ? 4 : 3) * f->width;
    size_t kept = f->by_steps ? f->panels : 1;
    f->in = random_matrix(job->context, f->wide, f->width, density);
    if (whole)
        f->out = random_matrix(job->context, f->width, f->wide, density);
    f->x = random_floats(f->panels * f->width * PANEL, 1);
    f->normed = random_floats(kept * f->width * PANEL, 2);
    f->middle = random_floats((whole ? kept : f->panels) * f->wide * PANEL, 3);
    f->y = random_floats(f->panels * f->width * PANEL, 4);
    f->gain = random_floats(f->width, 5);
    f->inverse = random_floats(PANEL, 6);
    f->mask = must_allocate(f->wide * sizeof *f->mask);
    f->scratch = must_allocate(abs_topk_scratch(f->wide));
    job->operations =
        2 * (double)f->panels * PANEL * (double)(f->in->n_values + (f->out ? f->out->n_values : 0));
    job->run = run_fusion;
    job->close = close_fusion;
    job->state = f;
    return NULL;
}

const struct job_kind fusion_jobs[] = {
    {"fusion", "width tokens density whole=0|1 steps=0|1", open_fusion}, {0}};
