/* golden_check [--pt] CASE_DIR...: compares golden folders of any kind, tensor by tensor, with the tolerances in
 * their meta.json; --pt: with the weights of final_model.pt whatever else is there. SPARSENET_ISA chooses the kernels. Exit 0: all within; 1: some are not. */
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "sparsenet.h"

static int check_case(const char *directory, const char *kind)
{
    if (strcmp(kind, "train") == 0)
        return golden_check_train(directory, stdout);
    if (strcmp(kind, "prune") == 0)
        return golden_check_prune(directory, stdout);
    if (strcmp(kind, "ops") == 0)
        return golden_check_ops(directory, stdout);
    return golden_check_forward(directory, stdout);
}

int main(int n_arguments, char **arguments)
{
    int failures = 0, cases = 0;
    const int torch = n_arguments > 1 && strcmp(arguments[1], "--pt") == 0;
    sn_context *context;
    if (n_arguments < 2 + torch) {
        fprintf(stderr, "usage: %s [--pt] CASE_DIR...\n", arguments[0]);
        return 2;
    }
    if (sn_context_create(&context, NULL) != SN_OK) {
        fprintf(stderr, "SPARSENET_ISA names an instruction set that is not here\n");
        return 77;
    }
    golden_use_torch(torch);
    for (int i = 1 + torch; i < n_arguments; i++) {
        json_t *meta = golden_meta(arguments[i]);
        const char *kind = json_string_value(json_object_get(meta, "kind"));
        printf("== %s (%s, %s)\n", arguments[i], kind ? kind : "forward", sn_context_isa(context));
        if (!meta)
            printf("FAIL meta.json is missing or malformed\n");
        int failed = meta ? check_case(arguments[i], kind ? kind : "forward") : 1;
        failures += failed > 0;
        cases++;
        json_decref(meta);
    }
    printf("golden: %d passed, %d failed\n", cases - failures, failures);
    sn_context_free(context);
    return failures > 0;
}
