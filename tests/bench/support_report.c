/* What the runs of support_study amount to: support_report CSV.
 *
 * Every arm is paired by seed with the reference (gradient=dense) of the same number of steps. Loss:
 * mean difference with its 95 % interval by Student's t, and the geometric mean of the ratios of
 * processor time. Circuits: over the tasks that both models of a pair do, geometric means of edges, at
 * least 1, and their ratio with its interval. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFERENCE "gradient=dense"
#define MOST_ROWS 4096
#define MOST_SEEDS 100

static char *rows[MOST_ROWS];
static size_t n_rows;

static void read_rows(const char *path)
{
    char line[1024];
    FILE *file = fopen(path, "r");
    while (file && n_rows < MOST_ROWS && fgets(line, sizeof line, file))
        if (strchr(line, '\n') && !(rows[n_rows++] = strdup(line)))
            exit(1);
    if (file)
        fclose(file);
}

static const char *find_row(const char *name, size_t seed, const char *arm, size_t steps)
{
    char key[512];
    int length = snprintf(key, sizeof key, "%s;%zu;%s;%zu;", name, seed, arm, steps);
    for (size_t i = 0; i < n_rows; i++)
        if (strncmp(rows[i], key, (size_t)length) == 0)
            return rows[i] + length;
    return NULL;
}

struct mean {
    size_t n;
    double sum, squares;
};

static void add(struct mean *mean, double value)
{
    mean->n++;
    mean->sum += value;
    mean->squares += value * value;
}

static double average(const struct mean *mean)
{
    return mean->sum / (double)mean->n;
}

/* Half the width of the 95 % interval of the mean, by Student's t. */
static double half_width(const struct mean *mean)
{
    static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365,
                               2.306,  2.262, 2.228, 2.201, 2.179, 2.160, 2.145};
    size_t freedom = mean->n - 1, n = sizeof t / sizeof *t;
    if (!freedom)
        return INFINITY;
    double variance = (mean->squares - mean->sum * average(mean)) / (double)freedom;
    return t[(freedom < n ? freedom : n) - 1] * sqrt(fmax(variance, 0) / (double)mean->n);
}

static void report_loss(const char *arm, size_t steps)
{
    struct mean losses = {0}, references = {0}, differences = {0}, gains = {0};
    for (size_t seed = 1; seed <= MOST_SEEDS; seed++) {
        const char *reference = find_row("loss", seed, REFERENCE, steps);
        const char *row = find_row("loss", seed, arm, steps);
        double loss[2], used[2];
        if (!reference || !row || sscanf(reference, "%lf;%lf", &loss[0], &used[0]) != 2 ||
            sscanf(row, "%lf;%lf", &loss[1], &used[1]) != 2)
            continue;
        add(&references, loss[0]);
        add(&losses, loss[1]);
        add(&differences, loss[1] - loss[0]);
        add(&gains, log(used[0] / used[1]));
    }
    if (!losses.n)
        return;
    double half = half_width(&differences), mean = average(&differences);
    printf("%-60s %5zu %2zu %8.4f %8.4f %+8.4f [%+.4f, %+.4f] %6.2fx\n", arm, steps, losses.n,
           average(&references), average(&losses), mean, mean - half, mean + half, exp(average(&gains)));
}

/* The edges of the next task in a row, from `*at`; 0 at its end. */
static int next_task(long *edges, const char **at)
{
    const char *equals = strchr(*at, '=');
    if (!equals)
        return 0;
    *at = equals + 1;
    *edges = strtol(equals + 1, NULL, 10);
    return 1;
}

static void report_circuits(const char *arm, size_t steps)
{
    struct mean logs[2] = {{0}, {0}}, ratios = {0};
    printf("%s, %zu steps\n", arm, steps);
    for (size_t seed = 1; seed <= MOST_SEEDS; seed++) {
        const char *at[] = {find_row("circuits", seed, REFERENCE, steps),
                            find_row("circuits", seed, arm, steps)};
        long edges[2];
        if (!at[0] || !at[1])
            continue;
        printf("   seed %zu, edges dense / support:", seed);
        while (next_task(&edges[0], &at[0]) && next_task(&edges[1], &at[1])) {
            printf(" %ld/%ld", edges[0], edges[1]);
            if (edges[0] < 0 || edges[1] < 0)
                continue;
            for (size_t i = 0; i < 2; i++)
                add(&logs[i], log(edges[i] > 1 ? (double)edges[i] : 1));
            add(&ratios,
                log(edges[1] > 1 ? (double)edges[1] : 1) - log(edges[0] > 1 ? (double)edges[0] : 1));
        }
        printf("\n");
    }
    if (ratios.n)
        printf("   geometric mean over %zu circuits: %.2f / %.2f edges, ratio %.2f [%.2f, %.2f]\n",
               ratios.n, exp(average(&logs[0])), exp(average(&logs[1])), exp(average(&ratios)),
               exp(average(&ratios) - half_width(&ratios)), exp(average(&ratios) + half_width(&ratios)));
}

/* The arm and the steps of a row of the study called `name`, where it is the first of its kind. */
static int is_new_arm(char *arm, size_t *steps, const char *name, size_t row)
{
    char key[512];
    size_t length = strlen(name), seed, other;
    if (strncmp(rows[row], name, length) != 0 ||
        sscanf(rows[row] + length, ";%zu;%255[^;];%zu;", &seed, arm, steps) != 3 ||
        strcmp(arm, REFERENCE) == 0)
        return 0;
    for (size_t i = 0; i < row; i++)
        if (strncmp(rows[i], name, length) == 0 &&
            sscanf(rows[i] + length, ";%zu;%511[^;];%zu;", &seed, key, &other) == 3 && other == *steps &&
            strcmp(key, arm) == 0)
            return 0;
    return 1;
}

static void report(const char *name, void (*print)(const char *arm, size_t steps))
{
    char arm[256];
    size_t steps;
    for (size_t i = 0; i < n_rows; i++)
        if (is_new_arm(arm, &steps, name, i))
            print(arm, steps);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments != 2) {
        fprintf(stderr, "usage: %s CSV\n", arguments[0]);
        return 2;
    }
    read_rows(arguments[1]);
    printf("%-60s %5s %2s %8s %8s %8s %20s %7s\n", "validation loss, nats per token", "steps", "n",
           "dense", "arm", "mean", "95 % interval", "time");
    report("loss", report_loss);
    report("circuits", report_circuits);
    return 0;
}
