/* Runs a model on tokens from a file and keeps what it computed: logits, loss, activations at sites. */
#include <getopt.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sparsenet.h>

static const char usage[] =
    "usage: evaluate MODEL --tokens FILE --shape B,T [--targets FILE] [--sites REGEX]\n"
    "                [--out FILE.safetensors]\n\n"
    "  --tokens   raw little-endian 32-bit tokens, B sequences of T\n"
    "  --targets  as many next tokens, -1 where none counts: prints the loss in nats\n"
    "  --sites    also keep the activations of the sites whose name matches (extended, unanchored)\n"
    "  --out      write logits, loss and hook.SITE there\n";

static sn_context *context;
struct request {
    const char *model, *tokens, *targets, *sites, *out;
    size_t b, t;
};

static int check(int status)
{
    if (status != SN_OK)
        fprintf(stderr, "evaluate: %s: %s\n", sn_status_string(status), sn_context_message(context));
    return status == SN_OK;
}

static int32_t *read_integers(const char *path, size_t count)
{
    int32_t *values = malloc((count + 1) * sizeof *values);
    FILE *file = fopen(path, "rb");
    const size_t n = file && values ? fread(values, sizeof *values, count + 1, file) : 0;
    if (file)
        fclose(file);
    if (file && values && n == count)
        return values;
    fprintf(stderr, "evaluate: %s: cannot be read or does not hold exactly %zu integers\n", path, count);
    free(values);
    return NULL;
}

/* Adds one array of a session's, of `width` columns, under a name. */
static int keep(sn_tensors *results, sn_session *session, const struct request *r, const char *name,
                const char *site, size_t width)
{
    const size_t shape[] = {r->b, r->t, width}, count = r->b * r->t * width;
    size_t needed;
    float *values = malloc(count * sizeof *values);
    if (!values)
        return fprintf(stderr, "evaluate: no memory for %s\n", name), 0;
    const int kept = check(site ? sn_session_activations(values, count, &needed, session, site)
                                : sn_session_logits(values, count, &needed, session)) &&
                     check(sn_tensors_add(results, context, name, shape, 3, values));
    free(values);
    return kept;
}

static int print_loss(sn_tensors *results, sn_session *session, const struct request *r)
{
    double loss;
    int32_t *targets = read_integers(r->targets, r->b * r->t);
    const int done = targets && check(sn_session_loss(&loss, session, targets));
    const float value = done ? (float)loss : 0;
    free(targets);
    if (done)
        printf("loss %.6f nats per token\n", loss);
    return done && check(sn_tensors_add(results, context, "loss", NULL, 0, &value));
}

static int evaluate(sn_session *session, const sn_model *model, sn_tensors *results,
                    const regex_t *sites, const struct request *r)
{
    const size_t n_sites = sites ? sn_model_site_count(model) : 0;
    size_t *offsets = malloc((r->b + 1) * sizeof *offsets);
    int32_t *tokens = read_integers(r->tokens, r->b * r->t);
    int good = offsets && tokens;
    for (size_t i = 0; i <= r->b && good; i++)
        offsets[i] = i * r->t;
    for (size_t i = 0; i < n_sites && good; i++)
        if (regexec(sites, sn_model_site_name(model, i), 0, NULL, 0) == 0)
            good = check(sn_session_record(session, sn_model_site_name(model, i)));
    good =
        good && check(sn_session_forward(session, tokens, offsets, r->b)) &&
        keep(results, session, r, "logits", NULL, (size_t)sn_model_config_number(model, "vocab_size"));
    if (good && r->targets)
        good = print_loss(results, session, r);
    for (size_t i = 0; i < n_sites && good; i++) {
        char name[128];
        const char *site = sn_model_site_name(model, i);
        snprintf(name, sizeof name, "hook.%s", site);
        if (regexec(sites, site, 0, NULL, 0) == 0)
            good = keep(results, session, r, name, site, sn_model_site_width(model, site));
    }
    free(tokens);
    free(offsets);
    return good;
}

static int parse(struct request *r, int n_arguments, char **arguments)
{
    static const struct option options[] = {{"tokens", 1, NULL, 't'}, {"targets", 1, NULL, 'g'},
                                            {"sites", 1, NULL, 's'},  {"out", 1, NULL, 'o'},
                                            {"shape", 1, NULL, 'b'},  {0}};
    const char **const fields[] = {
        ['t'] = &r->tokens, ['g'] = &r->targets, ['s'] = &r->sites, ['o'] = &r->out};
    for (int option; (option = getopt_long(n_arguments, arguments, "", options, NULL)) != -1;) {
        if (option == '?' || (option == 'b' && sscanf(optarg, "%9zu,%9zu", &r->b, &r->t) != 2))
            return 0;
        if (option != 'b')
            *fields[option] = optarg;
    }
    r->model = optind + 1 == n_arguments ? arguments[optind] : NULL;
    return r->model && r->tokens && r->b && r->t;
}

int main(int n_arguments, char **arguments)
{
    struct request r = {0};
    sn_model *model = NULL;
    sn_options *options = NULL;
    sn_session *session = NULL;
    sn_tensors *results = NULL;
    regex_t sites;
    if (n_arguments == 2 && strcmp(arguments[1], "--help") == 0)
        return fputs(usage, stdout), 0;
    if (!parse(&r, n_arguments, arguments))
        return fputs(usage, stderr), 2;
    if (r.sites && regcomp(&sites, r.sites, REG_EXTENDED | REG_NOSUB) != 0)
        return fprintf(stderr, "evaluate: --sites %s: not a regular expression\n", r.sites), 2;
    int good = check(sn_context_create(&context, NULL)) &&
               check(sn_model_load(&model, context, r.model)) &&
               check(sn_options_create(&options, context)) &&
               check(sn_options_set(options, context, "backward", 0)) && /* takes less memory */
               check(sn_session_create(&session, context, model, options)) &&
               check(sn_tensors_create(&results, context)) &&
               evaluate(session, model, results, r.sites ? &sites : NULL, &r) &&
               (!r.out || check(sn_tensors_save(results, context, r.out)));
    if (r.sites)
        regfree(&sites);
    sn_tensors_free(results);
    sn_session_free(session);
    sn_options_free(options);
    sn_model_free(model);
    sn_context_free(context);
    return good ? 0 : 1;
}
