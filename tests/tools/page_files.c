/* page_files FOLDER: pages for the browser's test, with hostile names, as FOLDER/hostile.html, compare.html,
 * empty.html, single.html and large.html (2,000 nodes, 20,000 edges), and the model of the first as model.safetensors.
 * page_files FOLDER CIRCUIT.json: reads a circuit of that model, prints its nodes' labels and notes. */
#include "page_cases.h"

static const char *in(const char *folder, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_pages(const char *folder, sn_context *context)
{
    struct page_case c;
    page_case_make(&c, context, 2, 16, 4);
    sn_page inputs = page_inputs(&c, 0);
    page_ok(&c, sn_report_write_html(context, c.circuit, &inputs, in(folder, "hostile.html")));
    inputs = page_inputs(&c, 1);
    page_ok(&c, sn_report_write_html(context, c.circuit, &inputs, in(folder, "compare.html")));
    sn_circuit *empty;
    page_ok(&c, sn_circuit_create(&empty, context, c.model, ""));
    page_ok(&c, sn_report_write_html(context, empty, NULL, in(folder, "empty.html")));
    page_ok(&c, sn_circuit_add_node(empty, context, "1.mlp.post_act.3"));
    page_ok(&c, sn_report_write_html(context, empty, NULL, in(folder, "single.html")));
    sn_circuit_free(empty);
    page_ok(&c, sn_model_save(c.model, context, in(folder, "model.safetensors")));
    page_case_free(&c);
}

/* Nodes and edges in the numbers that a page must bear. */
static void write_large(const char *folder, sn_context *context)
{
    struct page_case c = {.context = context};
    page_text(&c);
    c.model = page_model(&c, 16, 128);
    c.circuit = page_circuit(&c, "large", 0, 12);
    printf("large: %zu nodes, %zu edges\n", sn_circuit_node_count(c.circuit),
           sn_circuit_edge_count(c.circuit));
    page_ok(&c, sn_report_write_html(context, c.circuit, NULL, in(folder, "large.html")));
    page_case_free(&c);
}

static void print_labels(const char *folder, const char *path, sn_context *context)
{
    struct page_case c = {.context = context};
    page_ok(&c, sn_model_load(&c.model, context, in(folder, "model.safetensors")));
    page_ok(&c, sn_circuit_load(&c.circuit, context, c.model, path));
    for (size_t i = 0; i < sn_circuit_node_count(c.circuit); i++)
        for (int kind = SN_LABEL; kind <= SN_NOTE; kind++) {
            const char *text = sn_circuit_label(c.circuit, i, kind);
            if (text)
                printf("%s %s: %s\n", sn_circuit_node_name(c.circuit, i),
                       kind == SN_NOTE ? "note" : "label", text);
        }
    page_case_free(&c);
}

int main(int n_arguments, char **arguments)
{
    sn_context *context;
    if (n_arguments < 2 || n_arguments > 3 || sn_context_create(&context, NULL) != SN_OK)
        return 2;
    if (n_arguments == 3)
        print_labels(arguments[1], arguments[2], context);
    else {
        write_pages(arguments[1], context);
        write_large(arguments[1], context);
    }
    sn_context_free(context);
    return 0;
}
