/* Memory and time of a model of the largest released shape, 419 million parameters of which 1/64 are not zero:
 *   large_memory FOLDER
 * writes it there (1.7 GB at a time) as safetensors and as PyTorch does, loads each, runs it, saves it, and
 * removes what it wrote. Exit status 1 when memory, a file's size or an estimate misses its limit. Loading and
 * reading are timed in turn, best of several rounds. Each measurement is a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "large_model.h"

#define MB 1e6
#define ROUNDS 7
#define READ_BYTES ((size_t)1 << 17) /* what cat reads at once */
#define TOKENS 256                   /* of a sequence */

static const struct large_model model_wanted = {csp_yolo2_config, 1.0 / 64, 1};
static char folder[400], dense[512], native[512];
static const char *weights; /* the file in the folder */
static int missed;

static void fail_with(const char *what, const char *message)
{
    fprintf(stderr, "large_memory: %s: %s\n", what, message);
    exit(1);
}

static void ok(int status, const sn_context *context)
{
    if (status != SN_OK)
        fail_with(sn_status_string(status), sn_context_message(context));
}

static sn_context *new_context(void)
{
    sn_context *context;
    if (sn_context_create(&context, NULL) != SN_OK)
        fail_with("context", "cannot be made");
    return context;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* VmRSS or VmHWM, bytes. */
static double resident(const char *field)
{
    char line[256];
    double kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            kilobytes = atof(line + strlen(field) + 1);
    if (file)
        fclose(file);
    return 1024 * kilobytes;
}

static void limit(const char *what, double value, double most)
{
    printf("  %-46s %8.1f MB, limit %.0f%s\n", what, value / MB, most / MB,
           value < most ? "" : "  MISSED");
    missed |= !(value < most);
}

/* Estimated bytes beside measured ones. */
static void agree(const char *what, double estimated, double measured)
{
    double off = estimated / measured - 1;
    int good = off > -0.1 && off < 0.1;
    printf("  %-46s %8.1f MB, estimated %.1f (%+.1f %%)%s\n", what, measured / MB, estimated / MB,
           100 * off, good ? "" : "  MISSED");
    missed |= !good;
}

/* ---- reading and loading, in turn */

static void forget_cached(const char *path)
{
    int file = open(path, O_RDONLY);
    if (file < 0 || fdatasync(file) != 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0)
        fail_with(path, strerror(errno));
    close(file);
}

static double read_time(const char *path)
{
    static char bytes[READ_BYTES];
    double start = now();
    int file = open(path, O_RDONLY);
    while (file >= 0 && read(file, bytes, sizeof bytes) > 0)
        ;
    close(file);
    return now() - start;
}

static double load_time(const char *path)
{
    sn_context *context = new_context();
    sn_model *model;
    double start = now();
    ok(sn_model_load(&model, context, path), context);
    double time = now() - start;
    sn_model_free(model);
    sn_context_free(context);
    return time;
}

/* Told only: on a busy machine a time says little, and decides nothing. */
static void beside(const char *what, double load, double read)
{
    printf("  %-46s %8.2f s, reading %.2f: %.2f times, asked for 2%s\n", what, load, read, load / read,
           load < 2 * read ? "" : "  (more)");
}

/* The best of some rounds of each, so that what else the machine does falls out. */
static void time_loading(void)
{
    double read = 1e9, load = 1e9, cold_read = 1e9, cold_load = 1e9, time;
    for (int round = 0; round < ROUNDS; round++) {
        read = (time = read_time(weights)) < read ? time : read;
        load = (time = load_time(folder)) < load ? time : load;
    }
    for (int round = 0; round < 2; round++) {
        forget_cached(weights);
        cold_read = (time = read_time(weights)) < cold_read ? time : cold_read;
        forget_cached(weights);
        cold_load = (time = load_time(folder)) < cold_load ? time : cold_load;
    }
    beside("loading, cached", load, read);
    beside("loading, not cached", cold_load, cold_read);
}

/* ---- memory */

static size_t held(const sn_context *context)
{
    size_t bytes;
    sn_context_memory(&bytes, NULL, context);
    return bytes;
}

static void run_forward(sn_context *context, sn_model *model, size_t n_sequences)
{
    int32_t *tokens = calloc(n_sequences * TOKENS, sizeof *tokens);
    size_t *offsets = calloc(n_sequences + 1, sizeof *offsets), before = held(context), estimate;
    char what[64];
    sn_options *options;
    sn_session *session;
    for (size_t i = 0; tokens && i < n_sequences * TOKENS; i++)
        tokens[i] = (int32_t)(i * 7919 % 2048);
    for (size_t i = 0; offsets && i <= n_sequences; i++)
        offsets[i] = i * TOKENS;
    ok(sn_options_create(&options, context), context);
    ok(sn_options_set(options, context, "backward", 0), context);
    ok(sn_session_create(&session, context, model, options), context);
    ok(sn_session_estimate_memory(&estimate, session, n_sequences * TOKENS, n_sequences), context);
    double start = now();
    ok(sn_session_forward(session, tokens, offsets, n_sequences), context);
    double time = now() - start;
    snprintf(what, sizeof what, "session over %zu x %d (%.2f s)", n_sequences, TOKENS, time);
    agree(what, (double)estimate, (double)(held(context) - before));
    if (n_sequences == 1)
        limit("resident after a forward over 1 x 256", resident("VmRSS:"), 150 * MB);
    else
        printf("  resident after it                              %8.1f MB\n", resident("VmRSS:") / MB);
    sn_session_free(session);
    sn_options_free(options);
    free(tokens);
    free(offsets);
}

static void generate(sn_context *context, sn_model *model)
{
    static const int32_t prompt[] = {1, 2, 3, 4, 5, 6, 7, 8};
    sn_generator *generator;
    ok(sn_generator_create(&generator, context, model, NULL), context);
    ok(sn_generator_append(generator, prompt, 8), context);
    double start = now();
    for (int32_t i = 0, token; i < 64; i++)
        ok(sn_generator_next(&token, generator), context);
    char what[64];
    snprintf(what, sizeof what, "resident while generating (%.1f ms a token)",
             1e3 / 64 * (now() - start));
    limit(what, resident("VmRSS:"), 150 * MB);
    sn_generator_free(generator);
}

static void load_and_run(const char *path)
{
    size_t said_held, said_peak, start, after, peak;
    sn_context *context = new_context();
    sn_model *model;
    double resident_before = resident("VmRSS:");
    ok(sn_model_estimate_memory(&said_held, &said_peak, context, path, model_wanted.density), context);
    start = held(context);
    ok(sn_model_load(&model, context, path), context);
    sn_context_memory(&after, &peak, context);
    limit("most resident while loading", resident("VmHWM:"), 400 * MB);
    agree("held after loading, as counted", (double)said_held, (double)(after - start));
    agree("held after loading, resident", (double)said_held, resident("VmRSS:") - resident_before);
    agree("most while loading, as counted", (double)said_peak, (double)(peak - start));
    agree("most while loading, resident", (double)said_peak, resident("VmHWM:") - resident_before);
    for (size_t n = 1; n <= 16; n *= 4)
        run_forward(context, model, n);
    generate(context, model);
    if (strcmp(path, native) != 0)
        ok(sn_model_save(model, context, native), context);
    sn_model_free(model);
    sn_context_free(context);
}

static void run_dense(void)
{
    load_and_run(folder);
}

static void run_native(void)
{
    struct stat status;
    double best = 1e9, time;
    if (stat(native, &status) != 0)
        fail_with(native, strerror(errno));
    limit("native file", (double)status.st_size, 100 * MB);
    for (int round = 0; round < ROUNDS; round++)
        best = (time = load_time(native)) < best ? time : best;
    printf("  opening it                                     %8.2f s\n", best);
}

static void run_native_memory(void)
{
    load_and_run(native);
}

/* ---- steps */

static void write_safetensors(void)
{
    sn_context *context = new_context();
    ok(large_write_safetensors(&model_wanted, context, folder), context);
}

static void write_torch(void)
{
    sn_context *context = new_context();
    ok(large_write_torch(&model_wanted, context, folder, 0), context);
}

static void in_a_process(void (*step)(void))
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        step();
        fflush(stdout);
        _exit(missed ? 2 : 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        fail_with("a step", "did not end");
    if (WEXITSTATUS(status) == 2)
        missed = 1;
    else if (WEXITSTATUS(status) != 0)
        exit(1);
}

static void remove_in(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    remove(path);
}

static void measure(const char *title, const char *file, const char *config, void (*write)(void))
{
    snprintf(dense, sizeof dense, "%s/%s", folder, file);
    weights = dense;
    in_a_process(write);
    printf("%s\n", title);
    in_a_process(run_dense);
    in_a_process(time_loading);
    remove_in(file);
    remove_in(config);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: large_memory FOLDER\n");
        return 2;
    }
    snprintf(folder, sizeof folder, "%s/large_memory", argv[1]);
    snprintf(native, sizeof native, "%s/native.safetensors", folder);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        fail_with(folder, strerror(errno));
    measure("dense safetensors", "model.safetensors", "config.json", write_safetensors);
    measure("final_model.pt", "final_model.pt", "beeg_config.json", write_torch);
    printf("native\n");
    in_a_process(run_native);
    in_a_process(run_native_memory);
    remove_in("native.safetensors");
    rmdir(folder);
    return missed;
}
