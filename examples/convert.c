/* Turns any model that the library reads into its own sparse file, or into a dense folder. */
#include <stdio.h>
#include <string.h>

#include <sparsenet.h>

static const char usage[] =
    "usage: convert [--dense] IN OUT\n"
    "\n"
    "Reads a model (a folder with config.json or beeg_config.json and model.safetensors or\n"
    "final_model.pt, or a file of this library's) and writes it as one sparse safetensors file OUT, "
    "or,\n"
    "with --dense, as the folder OUT with config.json and a dense model.safetensors.\n";

static int convert(sn_context *context, const char *in, const char *out, int dense)
{
    sn_model *model = NULL;
    int status = sn_model_load(&model, context, in);
    if (status == SN_OK)
        status = dense ? sn_model_export(model, context, out) : sn_model_save(model, context, out);
    if (status != SN_OK)
        fprintf(stderr, "convert: %s: %s\n", sn_status_string(status), sn_context_message(context));
    sn_model_free(model);
    return status == SN_OK ? 0 : 1;
}

int main(int n_arguments, char **arguments)
{
    sn_context *context;
    if (n_arguments == 2 && strcmp(arguments[1], "--help") == 0)
        return fputs(usage, stdout), 0;
    const int dense = n_arguments > 1 && strcmp(arguments[1], "--dense") == 0;
    char **const paths = arguments + 1 + dense;
    if (n_arguments - 1 - dense != 2 || paths[0][0] == '-' || paths[1][0] == '-')
        return fputs(usage, stderr), 2;
    const int status = sn_context_create(&context, NULL);
    if (status != SN_OK)
        return fprintf(stderr, "convert: %s\n", sn_status_string(status)), 1;
    const int result = convert(context, paths[0], paths[1], dense);
    sn_context_free(context);
    return result;
}
