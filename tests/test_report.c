/* Reports of circuits: JSON that says what the API says, DOT that Graphviz reads, nothing half-written. */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oom.h"
#include "report/node_parts.h"
#include "sparsenet.h"
#include "temporary.h"

static const char config_text[] =
    "{\"block_size\": 16, \"vocab_size\": 23, \"n_layer\": 2, \"n_head\": 3, \"d_head\": 4, "
    "\"d_model\": 12,"
    " \"d_mlp\": 20, \"rms_norm\": true, \"tied_unembed\": false, \"sink\": true}";
static const char *const NODES[] = {
    "0.attn.act_in.3", "0.attn.q.head1.ch2",   "0.attn.k.head1.ch2",    "0.attn.v.head2.ch1",
    "0.mlp.act_in.5",  "0.attn.resid_delta.5", "1.attn.resid_delta.11", "0.mlp.post_act.7",
    "1.mlp.act_in.5",  "0.mlp.resid_delta.5",
};
#define N_NODES (sizeof NODES / sizeof *NODES)

static sn_context *context;
static sn_model *model;
static sn_circuit *circuit;
static struct temporary temporary;

static void fill(sn_context *owner, sn_circuit *out)
{
    for (size_t i = 0; i < N_NODES; i++)
        ck_assert_int_eq(sn_circuit_add_node(out, owner, NODES[i]), SN_OK);
    ck_assert_int_eq(sn_circuit_set_measurement(out, owner, "fresh_loss", 0.5), SN_OK);
    ck_assert_int_eq(sn_circuit_set_measurement(out, owner, "fresh_raw_loss", 0.25), SN_OK);
    ck_assert_int_eq(sn_circuit_set_measurement(out, owner, "fresh_loss", 0.125), SN_OK);
}

static void setup(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_int_eq(sn_model_create(&model, context, config_text, sizeof config_text - 1, 3), SN_OK);
    ck_assert_int_eq(sn_circuit_create(&circuit, context, model, "quote \"and\" more"), SN_OK);
    fill(context, circuit);
    temporary_create(&temporary);
}

static void teardown(void)
{
    temporary_remove(&temporary);
    sn_circuit_free(circuit);
    sn_model_free(model);
    sn_context_free(context);
}

static json_t *written_json(void)
{
    const char *path = temporary_path(&temporary, "circuit.json");
    ck_assert_int_eq(sn_report_write_json(context, circuit, path), SN_OK);
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(root != NULL, "line %d: %s", error.line, error.text);
    ck_assert_uint_eq(temporary_empty(&temporary), 1);
    return root;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

START_TEST(json_says_what_the_circuit_is)
{
    json_t *root = written_json(), *nodes = json_object_get(root, "nodes");
    ck_assert_str_eq(text_of(root, "format"), "sparsenet circuit");
    ck_assert_int_eq(json_integer_value(json_object_get(root, "version")), 1);
    ck_assert_str_eq(text_of(root, "library"), sn_version_string());
    ck_assert_str_eq(text_of(root, "task"), "quote \"and\" more");
    json_t *config = json_object_get(root, "model");
    ck_assert_int_eq(json_integer_value(json_object_get(config, "d_mlp")), 20);
    ck_assert_uint_eq(json_array_size(nodes), N_NODES);
    for (size_t i = 0; i < N_NODES; i++)
        ck_assert_str_eq(text_of(json_array_get(nodes, i), "name"), sn_circuit_node_name(circuit, i));
    json_decref(root);
}
END_TEST

START_TEST(json_nodes_are_taken_apart)
{
    json_t *root = written_json(), *nodes = json_object_get(root, "nodes"), *node;
    size_t i, seen = 0;
    json_array_foreach(nodes, i, node)
    {
        long long layer = json_integer_value(json_object_get(node, "layer"));
        long long channel = json_integer_value(json_object_get(node, "channel"));
        if (strcmp(text_of(node, "name"), "0.attn.v.head2.ch1") == 0) {
            ck_assert_str_eq(text_of(node, "site"), "0.attn.v");
            ck_assert_int_eq(layer, 0);
            ck_assert_int_eq(channel, 9);
            ck_assert_int_eq(json_integer_value(json_object_get(node, "head")), 2);
            ck_assert_int_eq(json_integer_value(json_object_get(node, "head_channel")), 1);
            seen++;
        }
        if (strcmp(text_of(node, "name"), "1.attn.resid_delta.11") == 0) {
            ck_assert_str_eq(text_of(node, "site"), "1.attn.resid_delta");
            ck_assert_int_eq(layer, 1);
            ck_assert_int_eq(channel, 11);
            ck_assert_ptr_null(json_object_get(node, "head"));
            seen++;
        }
    }
    ck_assert_uint_eq(seen, 2);
    json_decref(root);
}
END_TEST

START_TEST(json_edges_and_numbers_come_back)
{
    json_t *root = written_json(), *edges = json_object_get(root, "edges");
    json_t *numbers = json_object_get(root, "measurements");
    ck_assert_uint_gt(sn_circuit_edge_count(circuit), 0);
    ck_assert_uint_eq(json_array_size(edges), sn_circuit_edge_count(circuit));
    for (size_t i = 0; i < json_array_size(edges); i++) {
        size_t from, to;
        float weight;
        json_t *edge = json_array_get(edges, i);
        ck_assert_int_eq(sn_circuit_edge(&from, &to, &weight, circuit, i), SN_OK);
        ck_assert_str_eq(text_of(edge, "from"), sn_circuit_node_name(circuit, from));
        ck_assert_str_eq(text_of(edge, "to"), sn_circuit_node_name(circuit, to));
        ck_assert((float)json_real_value(json_object_get(edge, "weight")) == weight);
    }
    ck_assert_uint_eq(json_object_size(numbers), 2);
    ck_assert(json_real_value(json_object_get(numbers, "fresh_loss")) == 0.125);
    ck_assert(json_real_value(json_object_get(numbers, "fresh_raw_loss")) == 0.25);
    json_decref(root);
}
END_TEST

START_TEST(residual_links_join_a_write_to_later_reads)
{
    /* 0.attn writes 5, read by both MLPs; 0.mlp writes 5, read by layer 1's MLP only */
    static const char *const LINKS[][2] = {{"0.attn.resid_delta.5", "0.mlp.act_in.5"},
                                           {"0.attn.resid_delta.5", "1.mlp.act_in.5"},
                                           {"0.mlp.resid_delta.5", "1.mlp.act_in.5"}};
    json_t *root = written_json(), *links = json_object_get(root, "residual_links"), *link;
    size_t i, found = 0;
    ck_assert_uint_eq(json_array_size(links), 3);
    json_array_foreach(links, i, link)
    {
        for (size_t k = 0; k < 3; k++)
            found +=
                !strcmp(text_of(link, "from"), LINKS[k][0]) && !strcmp(text_of(link, "to"), LINKS[k][1]);
    }
    ck_assert_uint_eq(found, 3);
    json_decref(root);
}
END_TEST

START_TEST(measurements_belong_to_one_set_of_nodes)
{
    double value = 0;
    ck_assert_uint_eq(sn_circuit_measurement_count(circuit), 2);
    ck_assert_str_eq(sn_circuit_measurement(&value, circuit, 0), "fresh_loss");
    ck_assert(value == 0.125);
    ck_assert_ptr_null(sn_circuit_measurement(&value, circuit, 2));
    ck_assert_int_eq(sn_circuit_set_measurement(circuit, context, "bad", NAN), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "bad is not finite"));
    ck_assert_int_eq(sn_circuit_remove_node(circuit, context, NODES[0]), SN_OK);
    ck_assert_uint_eq(sn_circuit_measurement_count(circuit), 0);
}
END_TEST

static char *written_dot(void)
{
    const char *path = temporary_path(&temporary, "circuit.dot");
    ck_assert_int_eq(sn_report_write_dot(context, circuit, path), SN_OK);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    char *text = calloc(1, 65536);
    ck_assert_uint_gt(fread(text, 1, 65535, file), 0);
    fclose(file);
    return text;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

START_TEST(dot_draws_every_node_and_edge)
{
    char *text = written_dot(), declared[96];
    size_t negative = 0;
    for (size_t i = 0; i < N_NODES; i++) {
        snprintf(declared, sizeof declared, "\"%s\" [fillcolor", NODES[i]);
        ck_assert_uint_eq(count(text, declared), 1);
    }
    for (size_t i = 0; i < sn_circuit_edge_count(circuit); i++) {
        float weight;
        sn_circuit_edge(NULL, NULL, &weight, circuit, i);
        negative += weight < 0;
    }
    ck_assert_uint_eq(count(text, "penwidth="), sn_circuit_edge_count(circuit));
    ck_assert_uint_eq(count(text, "#c0392b"), negative);
    ck_assert_uint_eq(count(text, "style=dashed"), 3);
    ck_assert_uint_eq(count(text, "subgraph cluster_"), 4);
    ck_assert_ptr_nonnull(strstr(text, "digraph \"quote \\\"and\\\" more\" {"));
    free(text);
}
END_TEST

START_TEST(dot_is_read_by_graphviz)
{
    if (system("command -v dot >/dev/null 2>&1") != 0)
        return; /* the demo needs it, the library does not */
    free(written_dot());
    char command[768], svg[256];
    snprintf(svg, sizeof svg, "%s", temporary_path(&temporary, "circuit.svg"));
    snprintf(command, sizeof command, "dot -Tsvg %s -o %s", temporary_path(&temporary, "circuit.dot"),
             svg);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof command, "test $(grep -c '<g .*class=\"edge\"' %s) = %zu", svg,
             sn_circuit_edge_count(circuit) + 3);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

static char *written_svg(void)
{
    const char *path = temporary_path(&temporary, "circuit.svg");
    char command[512], *text = calloc(1, 65536);
    ck_assert_int_eq(sn_report_write_svg(context, circuit, path), SN_OK);
    snprintf(command, sizeof command,
             "python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' %s", path);
    ck_assert_int_eq(system(command), 0);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(fread(text, 1, 65535, file), 0);
    fclose(file);
    return text;
}

START_TEST(svg_draws_every_node_and_edge)
{
    const char *hostile = "</script><img onerror=\"x\">&";
    sn_circuit *first = circuit;
    ck_assert_int_eq(sn_circuit_create(&circuit, context, model, hostile), SN_OK);
    fill(context, circuit);
    ck_assert_int_eq(sn_circuit_set_label(circuit, context, NODES[0], SN_LABEL, hostile), SN_OK);
    char *text = written_svg(), *again = written_svg();
    size_t negative = 0;
    for (size_t i = 0; i < sn_circuit_edge_count(circuit); i++) {
        float weight;
        sn_circuit_edge(NULL, NULL, &weight, circuit, i);
        negative += weight < 0;
    }
    ck_assert_str_eq(text, again);
    ck_assert_uint_eq(count(text, "<circle"), N_NODES);
    ck_assert_uint_eq(count(text, "<path class=\"edge "), sn_circuit_edge_count(circuit));
    ck_assert_uint_eq(count(text, "<path class=\"edge minus"), negative);
    ck_assert_uint_eq(count(text, "<path class=\"link"), 3);
    ck_assert_uint_eq(count(text, "class=\"block\""), 4);
    ck_assert_ptr_null(strstr(text, "<img"));
    ck_assert_ptr_nonnull(strstr(text, "&lt;img onerror"));
    free(text);
    free(again);
    sn_circuit_free(circuit);
    circuit = first;
}
END_TEST

START_TEST(an_empty_circuit_is_a_report_too)
{
    sn_circuit *full = circuit;
    ck_assert_int_eq(sn_circuit_create(&circuit, context, model, ""), SN_OK);
    json_t *root = written_json();
    ck_assert_uint_eq(json_array_size(json_object_get(root, "nodes")), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(root, "edges")), 0);
    json_decref(root);
    char *text = written_dot();
    ck_assert_uint_eq(count(text, "{"), 1);
    ck_assert_uint_eq(count(text, "}"), 1);
    free(text);
    text = written_svg();
    ck_assert_uint_eq(count(text, "<circle"), 0);
    free(text);
    sn_circuit_free(circuit);
    circuit = full;
}
END_TEST

START_TEST(what_cannot_be_written_leaves_nothing)
{
    const char *path = temporary_path(&temporary, "no/such/folder.json");
    ck_assert_int_eq(sn_report_write_json(context, circuit, path), SN_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "no/such"));
    ck_assert_int_eq(sn_report_write_dot(context, circuit, path), SN_ERROR_IO);
    ck_assert_int_eq(sn_report_write_graphml(context, circuit, path), SN_ERROR_IO);
    ck_assert_int_eq(sn_report_write_svg(context, circuit, path), SN_ERROR_IO);
    ck_assert_int_eq(sn_report_write_svg(context, NULL, path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_svg(NULL, circuit, path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_json(context, NULL, path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_json(context, circuit, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_dot(context, NULL, path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_graphml(context, NULL, path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_graphml(NULL, circuit, path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_dot(NULL, circuit, path), SN_ERROR_ARGUMENT);
    ck_assert_uint_eq(temporary_empty(&temporary), 0);
}
END_TEST

START_TEST(parts_of_names)
{
    struct node_parts parts, later;
    node_parts_read(&parts, "10.attn.v.head82.ch3", 16);
    ck_assert_str_eq(parts.site, "10.attn.v");
    ck_assert_int_eq(parts.layer, 10);
    ck_assert_int_eq(parts.head, 82);
    ck_assert_uint_eq(parts.channel, 82 * 16 + 3);
    node_parts_read(&parts, "1.attn.resid_delta.40", 16);
    node_parts_read(&later, "1.mlp.act_in.40", 16);
    ck_assert_int_eq(node_residual_link(&parts, &later), 1);
    node_parts_read(&later, "1.attn.act_in.40", 16); /* reads before it is written */
    ck_assert_int_eq(node_residual_link(&parts, &later), 0);
    node_parts_read(&later, "2.attn.act_in.41", 16);
    ck_assert_int_eq(node_residual_link(&parts, &later), 0);
}
END_TEST

static int attempt_report(sn_context *tight, void *payload)
{
    (void)payload;
    char path[256];
    snprintf(path, sizeof path, "%s", temporary_path(&temporary, "tight.json"));
    int status = sn_report_write_json(tight, circuit, path);
    if (status == SN_OK)
        status = sn_report_write_dot(tight, circuit, path);
    if (status == SN_OK)
        status = sn_report_write_graphml(tight, circuit, path);
    if (status == SN_OK)
        status = sn_report_write_svg(tight, circuit, path);
    ck_assert_uint_le(temporary_empty(&temporary), 1); /* the whole file or none, no temporary */
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    ck_assert_uint_gt(oom_loop(attempt_report, NULL, 1, 0), 4);
}
END_TEST

Suite *report_suite(void)
{
    Suite *suite = suite_create("report");
    TCase *cases = tcase_create("report");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, json_says_what_the_circuit_is);
    tcase_add_test(cases, json_nodes_are_taken_apart);
    tcase_add_test(cases, json_edges_and_numbers_come_back);
    tcase_add_test(cases, residual_links_join_a_write_to_later_reads);
    tcase_add_test(cases, measurements_belong_to_one_set_of_nodes);
    tcase_add_test(cases, dot_draws_every_node_and_edge);
    tcase_add_test(cases, dot_is_read_by_graphviz);
    tcase_add_test(cases, svg_draws_every_node_and_edge);
    tcase_add_test(cases, an_empty_circuit_is_a_report_too);
    tcase_add_test(cases, what_cannot_be_written_leaves_nothing);
    tcase_add_test(cases, parts_of_names);
    tcase_add_test(cases, every_refused_allocation_is_survived);
    suite_add_tcase(suite, cases);
    return suite;
}
