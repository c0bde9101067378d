/* Labels and notes on the nodes of a circuit. */
#include "oom.h"
#include "temporary.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static struct temporary folder;

static sn_circuit *small_circuit(sn_model *model, const char *task)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, task));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
    return circuit;
}

static const char *text_of(const sn_circuit *circuit, const char *node, int kind)
{
    for (size_t i = 0; i < sn_circuit_node_count(circuit); i++)
        if (strcmp(sn_circuit_node_name(circuit, i), node) == 0)
            return sn_circuit_label(circuit, i, kind);
    return NULL;
}

START_TEST(they_stay_with_their_node)
{
    sn_model *model = planted_model(context, 0);
    sn_circuit *circuit = small_circuit(model, "t");
    ok(sn_circuit_set_label(circuit, context, planted_nodes[0], SN_LABEL, "reads the mark"));
    ok(sn_circuit_set_label(circuit, context, planted_nodes[0], SN_NOTE, "one\n\ttwo \xc3\xa9"));
    ok(sn_circuit_set_label(circuit, context, planted_nodes[2], SN_LABEL, "writes"));
    ok(sn_circuit_add_node(circuit, context, "0.mlp.act_in.4"));
    ok(sn_circuit_remove_node(circuit, context, planted_nodes[1]));
    ck_assert_str_eq(text_of(circuit, planted_nodes[0], SN_LABEL), "reads the mark");
    ck_assert_str_eq(text_of(circuit, planted_nodes[0], SN_NOTE), "one\n\ttwo \xc3\xa9");
    ck_assert_str_eq(text_of(circuit, planted_nodes[2], SN_LABEL), "writes");
    ck_assert_ptr_null(text_of(circuit, planted_nodes[2], SN_NOTE));
    /* set again, taken away */
    ok(sn_circuit_set_label(circuit, context, planted_nodes[2], SN_LABEL, "other"));
    ck_assert_str_eq(text_of(circuit, planted_nodes[2], SN_LABEL), "other");
    ok(sn_circuit_set_label(circuit, context, planted_nodes[0], SN_LABEL, NULL));
    ck_assert_ptr_null(text_of(circuit, planted_nodes[0], SN_LABEL));
    ck_assert_ptr_nonnull(text_of(circuit, planted_nodes[0], SN_NOTE));
    ok(sn_circuit_set_label(circuit, context, planted_nodes[0], SN_NOTE, ""));
    ck_assert_uint_eq(circuit->n_labels, 1);
    /* a node that goes takes them with it */
    ok(sn_circuit_remove_node(circuit, context, planted_nodes[2]));
    ok(sn_circuit_add_node(circuit, context, planted_nodes[2]));
    ck_assert_ptr_null(text_of(circuit, planted_nodes[2], SN_LABEL));
    ck_assert_ptr_null(sn_circuit_label(circuit, 99, SN_LABEL));
    ck_assert_ptr_null(sn_circuit_label(circuit, 0, 2));
    ck_assert_ptr_null(sn_circuit_label(NULL, 0, SN_LABEL));
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

START_TEST(bad_text_is_refused)
{
    static const struct {
        const char *node, *text, *message;
        int kind;
    } cases[] = {
        {"0.attn.act_in.0", "two\nlines", "the label of 0.attn.act_in.0 holds a control", SN_LABEL},
        {"0.attn.act_in.0", "bell \a", "holds a control character other than", SN_NOTE},
        {"0.attn.act_in.0", "\xff", "is not UTF-8", SN_LABEL},
        {"0.attn.act_in.0", "\xc0\x80", "is not UTF-8", SN_NOTE},
        {"0.attn.act_in.1", "x", "\"0.attn.act_in.1\" is no node of the circuit", SN_LABEL},
        {"nonsense", "x", "\"nonsense\" is no node", SN_NOTE},
        {"0.attn.act_in.0", "x", "kind is 2", 2},
        {NULL, "x", "node is NULL", SN_LABEL},
    };
    sn_model *model = planted_model(context, 0);
    sn_circuit *circuit = small_circuit(model, "t");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(
            sn_circuit_set_label(circuit, context, cases[i].node, cases[i].kind, cases[i].text),
            SN_ERROR_ARGUMENT);
        ck_assert_msg(strstr(sn_context_message(context), cases[i].message) != NULL, "%s",
                      sn_context_message(context));
    }
    char *long_text = calloc(1, 1026);
    memset(long_text, 'x', 1025);
    ck_assert_int_eq(sn_circuit_set_label(circuit, context, "0.attn.act_in.0", SN_LABEL, long_text),
                     SN_ERROR_ARGUMENT);
    ok(sn_circuit_set_label(circuit, context, "0.attn.act_in.0", SN_LABEL, long_text + 1));
    ok(sn_circuit_set_label(circuit, context, "0.attn.act_in.0", SN_NOTE, long_text));
    free(long_text);
    ck_assert_int_eq(sn_circuit_set_label(circuit, NULL, "x", SN_LABEL, "x"), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_set_label(NULL, context, "x", SN_LABEL, "x"), SN_ERROR_ARGUMENT);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

static char *whole_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(fread(text, 1, (1 << 16) - 1, file), 0);
    fclose(file);
    return text;
}

static int load_text(sn_circuit **read, sn_model *model, const char *text, const char *from,
                     const char *to)
{
    char *changed = calloc(1, 1 << 17);
    const char *place = strstr(text, from);
    ck_assert_ptr_nonnull(place);
    sprintf(changed, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    temporary_write(&folder, "changed.json", changed, strlen(changed));
    free(changed);
    return sn_circuit_load(read, context, model, temporary_path(&folder, "changed.json"));
}

START_TEST(files_keep_them)
{
    static const char hard[] = "</script> \"q\" \\ \xe2\x86\x92 'x' & <b>";
    temporary_create(&folder);
    sn_model *model = planted_model(context, 0);
    sn_circuit *circuit = small_circuit(model, "t"), *read;
    ok(sn_circuit_set_label(circuit, context, planted_nodes[1], SN_LABEL, hard));
    ok(sn_circuit_set_label(circuit, context, planted_nodes[1], SN_NOTE, "a\nb \xef\xbf\xbf."));
    ok(sn_report_write_json(context, circuit, temporary_path(&folder, "a.json")));
    char *first = whole_file(temporary_path(&folder, "a.json"));
    ok(sn_circuit_load(&read, context, model, temporary_path(&folder, "a.json")));
    ck_assert_str_eq(text_of(read, planted_nodes[1], SN_LABEL), hard);
    ck_assert_str_eq(text_of(read, planted_nodes[1], SN_NOTE), "a\nb \xef\xbf\xbf.");
    ck_assert_ptr_null(text_of(read, planted_nodes[0], SN_LABEL));
    ok(sn_report_write_json(context, read, temporary_path(&folder, "b.json")));
    char *second = whole_file(temporary_path(&folder, "b.json"));
    ck_assert_str_eq(first, second);
    sn_circuit_free(read);
    ck_assert_int_eq(
        load_text(&read, model, first, "\"note\": \"a\\nb", "\"note\": [\"a\\nb\"], \"x\": \""),
        SN_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "nodes: note: must be text"));
    ck_assert_int_eq(load_text(&read, model, first, "\"label\": \"", "\"label\": \"\\u0001"),
                     SN_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "nodes: label: holds a control"));
    /* a file from before there were any */
    ok(load_text(&read, model, first, "\"label\": \"", "\"unknown\": \""));
    ck_assert_ptr_null(text_of(read, planted_nodes[1], SN_LABEL));
    sn_circuit_free(read);
    free(first);
    free(second);
    ok(sn_report_write_dot(context, circuit, temporary_path(&folder, "a.dot")));
    first = whole_file(temporary_path(&folder, "a.dot"));
    ck_assert_ptr_nonnull(
        strstr(first, "label=\"0.attn.v.head0.ch0\\n</script> \\\"q\\\" \\\\ \xe2\x86\x92"));
    ck_assert_ptr_nonnull(strstr(first, "tooltip=\"a\\nb \xef\xbf\xbf.\""));
    free(first);
    ok(sn_report_write_graphml(context, circuit, temporary_path(&folder, "a.graphml")));
    first = whole_file(temporary_path(&folder, "a.graphml"));
    ck_assert_ptr_nonnull(strstr(first, "<data key=\"node_label\">&lt;/script&gt; &quot;q&quot; \\ "));
    ck_assert_ptr_nonnull(strstr(first, "<data key=\"node_note\">a\nb .</data>"));
    free(first);
    sn_circuit_free(circuit);
    sn_model_free(model);
    temporary_remove(&folder);
}
END_TEST

START_TEST(sets_keep_what_both_say)
{
    sn_model *model = planted_model(context, 0);
    sn_circuit *a = small_circuit(model, "a"), *b = small_circuit(model, "b"), *c;
    ok(sn_circuit_add_node(b, context, "0.mlp.act_in.4"));
    ok(sn_circuit_set_label(a, context, planted_nodes[0], SN_LABEL, "one"));
    ok(sn_circuit_set_label(b, context, planted_nodes[0], SN_LABEL, "two"));
    ok(sn_circuit_set_label(a, context, planted_nodes[1], SN_NOTE, "same"));
    ok(sn_circuit_set_label(b, context, planted_nodes[1], SN_NOTE, "same"));
    ok(sn_circuit_set_label(a, context, planted_nodes[2], SN_NOTE, "x"));
    ok(sn_circuit_set_label(b, context, planted_nodes[2], SN_NOTE, "y"));
    ok(sn_circuit_set_label(b, context, "0.mlp.act_in.4", SN_LABEL, "more"));
    for (int operation = SN_UNION; operation <= SN_INTERSECTION; operation++) {
        ok(sn_circuit_combine(&c, context, a, b, operation));
        ck_assert_str_eq(text_of(c, planted_nodes[0], SN_LABEL), "one | two");
        ck_assert_str_eq(text_of(c, planted_nodes[1], SN_NOTE), "same");
        ck_assert_str_eq(text_of(c, planted_nodes[2], SN_NOTE), "x\n\ny");
        ck_assert_int_eq(text_of(c, "0.mlp.act_in.4", SN_LABEL) != NULL, operation == SN_UNION);
        sn_circuit_free(c);
    }
    ok(sn_circuit_combine(&c, context, b, a, SN_DIFFERENCE));
    ck_assert_uint_eq(sn_circuit_node_count(c), 1);
    ck_assert_str_eq(text_of(c, "0.mlp.act_in.4", SN_LABEL), "more");
    sn_circuit_free(c);
    /* side by side they would be too long */
    char *long_text = calloc(1, 1025);
    memset(long_text, 'x', 1024);
    ok(sn_circuit_set_label(a, context, planted_nodes[0], SN_LABEL, long_text));
    ok(sn_circuit_combine(&c, context, a, b, SN_UNION));
    ck_assert_str_eq(text_of(c, planted_nodes[0], SN_LABEL), long_text);
    free(long_text);
    sn_circuit_free(c);
    sn_circuit_free(a);
    sn_circuit_free(b);
    sn_model_free(model);
}
END_TEST

static int attempt_labels(sn_context *owner, void *payload)
{
    sn_circuit *a = NULL, *b = NULL, *c = NULL;
    sn_model *model = payload;
    int status = sn_circuit_create(&a, owner, model, "a");
    for (size_t i = 0; status == SN_OK && i < PLANTED_NODES; i++) {
        status = sn_circuit_add_node(a, owner, planted_nodes[i]);
        if (status == SN_OK)
            status = sn_circuit_set_label(a, owner, planted_nodes[i], SN_LABEL, "label");
        if (status == SN_OK)
            status = sn_circuit_set_label(a, owner, planted_nodes[i], SN_NOTE, "note");
    }
    if (status == SN_OK)
        status = sn_report_write_json(owner, a, temporary_path(&folder, "oom.json"));
    if (status == SN_OK)
        status = sn_circuit_load(&b, owner, model, temporary_path(&folder, "oom.json"));
    if (status == SN_OK)
        status = sn_circuit_combine(&c, owner, a, b, SN_UNION);
    sn_circuit_free(a);
    sn_circuit_free(b);
    sn_circuit_free(c);
    return status;
}

START_TEST(no_memory)
{
    temporary_create(&folder);
    sn_model *model = planted_model(context, 0);
    ck_assert_uint_gt(oom_loop(attempt_labels, model, 1, 0), 20);
    sn_model_free(model);
    temporary_remove(&folder);
}
END_TEST

Suite *labels_suite(void);
Suite *labels_suite(void)
{
    const TTest *const tests[] = {they_stay_with_their_node, bad_text_is_refused, files_keep_them,
                                  sets_keep_what_both_say, no_memory};
    Suite *suite = suite_create("labels");
    add_cases(suite, "labels", tests, sizeof tests / sizeof *tests);
    return suite;
}
