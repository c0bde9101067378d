/* Circuits read from JSON, and combined. */
#include "base/buffer.h"
#include "circuit/edges.h"
#include "oom.h"
#include "temporary.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static struct temporary folder;

/* The planted circuit with numbers and paths; its second edge is cut if asked. */
static sn_circuit *planted_circuit(sn_model *model, int cut)
{
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 6, 3);
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "planted \"task\""));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
    ok(sn_circuit_add_node(circuit, context, "0.mlp.act_in.4"));
    ok(sn_circuit_add_node(circuit, context, "0.mlp.post_act.1"));
    if (cut) {
        size_t n = edge_count(model);
        unsigned char *kept_edges = malloc(n);
        memset(kept_edges, 1, n);
        const struct layer_parameters *layer = &model->layers[0]; /* the MLP's edges are the last */
        size_t n_mlp = model->parameters[layer->c_fc].matrix->n_values +
                       model->parameters[layer->mlp_proj].matrix->n_values;
        memset(kept_edges + n - n_mlp, 0, n_mlp);
        ok(circuit_set_edges(circuit, context, circuit->kept, kept_edges));
        free(kept_edges);
    }
    ok(sn_circuit_trace(circuit, context, means, NULL, task, NULL));
    if (cut)
        ok(sn_circuit_measure_deltas(circuit, context, means, task, task));
    ok(sn_circuit_set_measurement(circuit, context, "fresh_loss", 1.0 / 3));
    ok(sn_circuit_set_measurement(circuit, context, "k", 1e-3));
    ok(sn_circuit_set_series(circuit, context, "loss_by_size", 3, (double[]){1, 2, 30},
                             (double[]){1.0 / 3, 0.25, -1e-7}));
    ok(sn_circuit_set_series(circuit, context, "other", 1, (double[]){0}, (double[]){7}));
    ok(sn_circuit_set_series(circuit, context, "other", 1, (double[]){5}, (double[]){0.5}));
    sn_task_free(task);
    sn_means_free(means);
    return circuit;
}

static char *written(const sn_circuit *circuit, const char *name)
{
    char *text;
    size_t size;
    const char *path = temporary_path(&folder, name);
    ok(sn_report_write_json(context, circuit, path));
    FILE *file = fopen(path, "rb");
    text = calloc(1, 1 << 16);
    size = fread(text, 1, (1 << 16) - 1, file);
    ck_assert(size > 100);
    fclose(file);
    return text;
}

START_TEST(what_is_written_is_read)
{
    temporary_create(&folder);
    sn_model *model = planted_model(context, 0);
    for (int cut = 0; cut < 2; cut++) {
        sn_circuit *circuit = planted_circuit(model, cut), *read;
        char *first = written(circuit, "a.json");
        ok(sn_circuit_load(&read, context, model, temporary_path(&folder, "a.json")));
        char *second = written(read, "b.json");
        ck_assert_str_eq(first, second);
        ck_assert_str_eq(sn_circuit_task(read), "planted \"task\"");
        ck_assert_uint_eq(sn_circuit_edge_count(read), sn_circuit_edge_count(circuit));
        ck_assert_int_eq(memcmp(read->kept, circuit->kept, read->layout.n_nodes), 0);
        ck_assert_int_eq(read->kept_edges != NULL, cut);
        ck_assert_uint_eq(sn_circuit_edge_count(read), cut ? 2 : 3);
        ck_assert_uint_gt(sn_circuit_path_count(read), 0);
        double loss = 0, raw = 0;
        ck_assert_int_eq(sn_circuit_edge_delta(&loss, &raw, read, 0), cut ? SN_OK : SN_ERROR_STATE);
        ck_assert(!cut || loss > 0.1);
        ck_assert_uint_eq(sn_circuit_measurement_count(read), 2);
        const double *x, *y;
        size_t n;
        ck_assert_uint_eq(sn_circuit_series_count(read), 2);
        ck_assert_str_eq(sn_circuit_series(&x, &y, &n, read, 0), "loss_by_size");
        ck_assert(n == 3 && x[2] == 30 && y[1] == 0.25);
        ck_assert_str_eq(sn_circuit_series(&x, &y, &n, read, 1), "other");
        ck_assert(n == 1 && x[0] == 5 && y[0] == 0.5);
        ck_assert_ptr_null(sn_circuit_series(NULL, NULL, NULL, read, 2));
        free(first);
        free(second);
        sn_circuit_free(read);
        sn_circuit_free(circuit);
    }
    sn_model_free(model);
    temporary_remove(&folder);
}
END_TEST

/* The file with `from` once replaced by `to`. */
static int load_changed(sn_model *model, const char *text, const char *from, const char *to)
{
    struct buffer changed;
    sn_circuit *read;
    const char *place = strstr(text, from);
    ck_assert_msg(place != NULL, "%s", from);
    buffer_init(&changed, context->memory);
    buffer_append(&changed, text, (size_t)(place - text));
    buffer_text(&changed, to);
    buffer_text(&changed, place + strlen(from));
    temporary_write(&folder, "bad.json", changed.bytes, changed.size);
    buffer_free(&changed);
    int status = sn_circuit_load(&read, context, model, temporary_path(&folder, "bad.json"));
    ck_assert(status == SN_OK || read == NULL);
    sn_circuit_free(read);
    return status;
}

START_TEST(files_that_do_not_fit_are_refused)
{
    static const struct {
        const char *from, *to, *message;
        int status;
    } cases[] = {
        {"{", "[", "json", SN_ERROR_FORMAT},
        {"sparsenet circuit", "circuit", "format: must be \"sparsenet circuit\", not \"circuit\"",
         SN_ERROR_FORMAT},
        {"\"version\": 1", "\"version\": 2", "version: is 2; this library reads up to 1",
         SN_ERROR_UNSUPPORTED},
        {"\"version\": 1", "\"version\": \"1\"", "version", SN_ERROR_FORMAT},
        {"\"version\": 1,", "", "version: is missing", SN_ERROR_FORMAT},
        {"\"d_mlp\": 5", "\"d_mlp\": 6", "another model, which differs in \"d_mlp\"", SN_ERROR_FORMAT},
        {"\"model\"", "\"modal\"", "model: must be an object", SN_ERROR_FORMAT},
        {"\"task\": \"", "\"task\": 7, \"tusk\": \"", "task", SN_ERROR_FORMAT},
        {"\"nodes\": [", "\"nodes\": 3, \"_\": [", "nodes: must be an array", SN_ERROR_FORMAT},
        {"0.attn.act_in.0", "0.attn.act_in.99", "the model has no node \"0.attn.act_in.99\"",
         SN_ERROR_FORMAT},
        {"\"name\": \"0.attn.act_in.0\"", "\"name\": 5", "must be the name of a node", SN_ERROR_FORMAT},
        {"\"name\": \"0.attn.v.head0.ch0\"", "\"name\": \"0.attn.act_in.0\"", "stands twice",
         SN_ERROR_FORMAT},
        {"\"from\": \"0.attn.act_in.0\"", "\"from\": \"0.attn.act_in.1\"",
         "is not among the nodes: \"0.attn.act_in.1\"", SN_ERROR_FORMAT},
        {"\"from\": \"0.attn.act_in.0\"", "\"from\": \"0.mlp.act_in.4\"",
         "the model has no weight from 0.mlp.act_in.4", SN_ERROR_FORMAT},
        {"\"weight\": 2.5", "\"weight\": 2.25", "is not the model's", SN_ERROR_FORMAT},
        {"\"weight\": 2.5", "\"weight\": null", "is not the model's", SN_ERROR_FORMAT},
        {"\"measurements\": {", "\"measurements\": {\"x\": \"y\", ", "must be a number: \"x\"",
         SN_ERROR_FORMAT},
        {"\"paths\": [", "\"paths\": [{\"text\": 1}, ", "paths: must have a text", SN_ERROR_FORMAT},
        {"\"paths\": [", "\"paths\": {}, \"_\": [", "paths: must be an array", SN_ERROR_FORMAT},
        {"\"edges\": [", "\"edges\": [7, ", "edges: from", SN_ERROR_FORMAT},
        {"\"edges\": [", "\"edges\": 7, \"_\": [", "edges: must be an array", SN_ERROR_FORMAT},
        {"\"edges\": [",
         "\"edges\": [{\"from\": \"0.attn.act_in.0\", \"to\": \"0.attn.v.head0.ch0\", \"weight\": "
         "1}, ",
         "0.attn.act_in.0 to 0.attn.v.head0.ch0 stands twice", SN_ERROR_FORMAT},
        {"\"measurements\": {", "\"measurements\": [], \"_\": {", "measurements: must be an object",
         SN_ERROR_FORMAT},
        {"\"channel\": 0", "\"channel\": 0, \"delta\": 0.5", "all or none must have a delta",
         SN_ERROR_FORMAT},
        {"\"series\": [", "\"series\": {}, \"_\": [", "series: must be an array", SN_ERROR_FORMAT},
        {"\"series\": [", "\"series\": [7, ", "series: must have a name", SN_ERROR_FORMAT},
        {"\"series\": [", "\"series\": [{\"name\": \"s\", \"x\": [1], \"y\": [1, 2]}, ",
         "as many points, 1 to 65536: \"s\"", SN_ERROR_FORMAT},
        {"\"series\": [", "\"series\": [{\"name\": \"s\", \"x\": [], \"y\": []}, ",
         "as many points, 1 to 65536: \"s\"", SN_ERROR_FORMAT},
        {"\"series\": [", "\"series\": [{\"name\": \"s\", \"x\": [1], \"y\": [null]}, ",
         "arrays of numbers", SN_ERROR_FORMAT},
        {"\"d_mlp\": 5", "\"d_mlp\": 5.0", NULL, SN_OK}, /* as some tools write it, or the other way */
        {"\"library\"", "\"future\"", NULL, SN_OK},      /* fields that are not known are passed over */
        {"\"fresh_loss\": 0.333333333", "\"fresh_loss\": null", "must be a number: \"fresh_loss\"",
         SN_ERROR_FORMAT},
    };
    temporary_create(&folder);
    sn_model *model = planted_model(context, 0);
    sn_circuit *circuit = planted_circuit(model, 0);
    char *text = written(circuit, "a.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = load_changed(model, text, cases[i].from, cases[i].to);
        ck_assert_msg(status == cases[i].status, "%s: status %d, %s", cases[i].to, status,
                      sn_context_message(context));
        if (status == SN_OK)
            continue;
        ck_assert_msg(strstr(sn_context_message(context), "bad.json") != NULL, "%s",
                      sn_context_message(context));
        ck_assert_msg(i == 0 || strstr(sn_context_message(context), cases[i].message) != NULL, "%s: %s",
                      cases[i].message, sn_context_message(context));
    }
    sn_circuit *read;
    ck_assert_int_eq(sn_circuit_load(&read, context, model, temporary_path(&folder, "none.json")),
                     SN_ERROR_IO);
    ck_assert_int_eq(sn_circuit_load(&read, context, NULL, "x"), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(read);
    free(text);
    sn_circuit_free(circuit);
    sn_model_free(model);
    temporary_remove(&folder);
}
END_TEST

START_TEST(series_are_checked_and_belong_to_one_set_of_nodes)
{
    static const double good[] = {1, 2}, bad[] = {1, NAN};
    char name[16];
    sn_model *model = planted_model(context, 0);
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "t"));
    ck_assert_int_eq(sn_circuit_set_series(NULL, context, "s", 2, good, good), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_set_series(circuit, NULL, "s", 2, good, good), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_set_series(circuit, context, NULL, 2, good, good), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_set_series(circuit, context, "s", 2, good, NULL), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "y is NULL"));
    ck_assert_int_eq(sn_circuit_set_series(circuit, context, "s", 0, good, good), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_set_series(circuit, context, "s", 65537, good, good), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_set_series(circuit, context, "s", 2, good, bad), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "point 1 of s is not finite"));
    ck_assert_uint_eq(sn_circuit_series_count(circuit), 0);
    ok(sn_circuit_set_series(circuit, context, "s", 2, good, good));
    for (int i = 1; i < 4096; i++) {
        snprintf(name, sizeof name, "s%d", i);
        ok(sn_circuit_set_series(circuit, context, name, 2, good, good));
    }
    ck_assert_int_eq(sn_circuit_set_series(circuit, context, "one more", 2, good, good),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "4096"));
    ok(sn_circuit_set_series(circuit, context, "s1", 1, good, good));
    ok(sn_circuit_add_node(circuit, context, "0.attn.act_in.0"));
    ck_assert_uint_eq(sn_circuit_series_count(circuit), 0);
    ck_assert_uint_eq(sn_circuit_series_count(NULL), 0);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

static sn_circuit *of_nodes(sn_model *model, const char *task, const char *const *names, size_t n)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, task));
    for (size_t i = 0; i < n; i++)
        ok(sn_circuit_add_node(circuit, context, names[i]));
    return circuit;
}

START_TEST(circuits_combine_as_sets)
{
    sn_model *model = planted_model(context, 1), *other = planted_model(context, 1);
    static const char *const first[] = {"0.attn.act_in.0", "0.attn.v.head0.ch0", "0.attn.resid_delta.2"};
    static const char *const second[] = {"0.attn.v.head0.ch0", "0.attn.resid_delta.2", "0.attn.act_in.1",
                                         "0.attn.v.head0.ch1"};
    static const size_t nodes[] = {5, 2, 1}, edges[] = {3, 1, 0};
    static const char *const names[] = {"one | two", "one & two", "one - two"};
    sn_circuit *a = of_nodes(model, "one", first, 3), *b = of_nodes(model, "two", second, 4), *both;
    sn_circuit *stranger = of_nodes(other, "three", first, 3);
    /* the planted path and its backup have two edges each, and no others meet them */
    ck_assert_uint_eq(sn_circuit_touching_edge_count(a), 2);
    ck_assert_uint_eq(sn_circuit_touching_edge_count(b), 4);
    ck_assert_uint_eq(sn_circuit_touching_edge_count(NULL), 0);
    for (int operation = SN_UNION; operation <= SN_DIFFERENCE; operation++) {
        ok(sn_circuit_combine(&both, context, a, b, operation));
        ck_assert_uint_eq(sn_circuit_node_count(both), nodes[operation]);
        ck_assert_uint_eq(sn_circuit_edge_count(both), edges[operation]);
        ck_assert_str_eq(sn_circuit_task(both), names[operation]);
        sn_circuit_free(both);
    }
    ck_assert_int_eq(sn_circuit_combine(&both, context, a, stranger, SN_UNION), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "\"three\" are of different models"));
    ck_assert_int_eq(sn_circuit_combine(&both, context, a, b, 3), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_combine(&both, context, a, NULL, SN_UNION), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(both);
    /* An edge that only one of them cut is in the union but not in what they share. */
    size_t n = edge_count(model);
    unsigned char *none = calloc(n, 1);
    ok(circuit_set_edges(b, context, b->kept, none));
    ok(sn_circuit_combine(&both, context, a, b, SN_UNION));
    ck_assert_uint_eq(sn_circuit_edge_count(both), 2);
    sn_circuit_free(both);
    ok(sn_circuit_combine(&both, context, a, b, SN_INTERSECTION));
    ck_assert_uint_eq(sn_circuit_edge_count(both), 0);
    ck_assert_uint_eq(sn_circuit_node_count(both), 2);
    sn_circuit_free(both);
    free(none);
    sn_circuit_free(a);
    sn_circuit_free(b);
    sn_circuit_free(stranger);
    sn_model_free(model);
    sn_model_free(other);
}
END_TEST

static int read_and_combine(sn_context *own, void *payload)
{
    sn_circuit *read = NULL, *both = NULL;
    int status = sn_circuit_load(&read, own, payload, folder.path);
    if (status == SN_OK)
        status = sn_circuit_combine(&both, own, read, read, SN_UNION);
    sn_circuit_free(both);
    sn_circuit_free(read);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    temporary_create(&folder);
    sn_model *model = planted_model(context, 0);
    sn_circuit *circuit = planted_circuit(model, 1);
    free(written(circuit, "a.json")); /* folder.path is this file from here on */
    ck_assert_uint_gt(oom_loop(read_and_combine, model, 1, 1), 20);
    sn_circuit_free(circuit);
    sn_model_free(model);
    temporary_remove(&folder);
}
END_TEST

Suite *circuit_file_suite(void);
Suite *circuit_file_suite(void)
{
    const TTest *files[] = {what_is_written_is_read, files_that_do_not_fit_are_refused,
                            series_are_checked_and_belong_to_one_set_of_nodes,
                            every_refused_allocation_is_survived};
    const TTest *sets[] = {circuits_combine_as_sets};
    Suite *suite = suite_create("circuit_file");
    add_cases(suite, "files", files, sizeof files / sizeof *files);
    add_cases(suite, "sets", sets, sizeof sets / sizeof *sets);
    return suite;
}
