/* Numbers, curves and paths of a circuit's JSON. */
#include <math.h>
#include <string.h>

#include "circuit/circuit_read.h"

int reader_take_measurements(struct reader *reader)
{
    json_t *values = json_object_get(reader->root, "measurements"), *value;
    const char *name;
    int status = SN_OK;
    if (values && !json_is_object(values))
        return reader_malformed(reader, "measurements", "must be an object", NULL);
    json_object_foreach(values, name, value)
    {
        if (!json_is_number(value))
            return reader_malformed(reader, "measurements", "must be a number:", name);
        /* names in an object differ, and JSON's numbers are finite */
        status =
            circuit_add_measurement(reader->circuit, reader->context, name, json_number_value(value));
        if (status != SN_OK)
            break;
    }
    return status;
}

static int read_points(const struct reader *reader, double *points, const json_t *array, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value))
            return reader_malformed(reader, "series",
                                    "x and y must be arrays of numbers, as long as each other", NULL);
        points[i] = json_number_value(value);
    }
    return SN_OK;
}

static int read_one_series(const struct reader *reader, const json_t *object)
{
    const json_t *x = json_object_get(object, "x"), *y = json_object_get(object, "y");
    const char *name = json_string_value(json_object_get(object, "name"));
    size_t n = json_array_size(x);
    if (!name)
        return reader_malformed(reader, "series", "must have a name", NULL);
    if (n != json_array_size(y) || n == 0 || n > SERIES_MOST_POINTS)
        return reader_malformed(reader, "series", "x and y must have as many points, 1 to 65536:", name);
    struct memory *memory = reader->context->memory;
    double *points = memory_allocate_array(memory, 2 * n, sizeof *points);
    if (!points)
        return fail_memory(reader->context, "a series", 2 * n * sizeof *points);
    int status = read_points(reader, points, x, n);
    if (status == SN_OK)
        status = read_points(reader, points + n, y, n);
    if (status == SN_OK)
        status = sn_circuit_set_series(reader->circuit, reader->context, name, n, points, points + n);
    memory_free(memory, points, 2 * n * sizeof *points);
    return status;
}

int reader_take_series(const struct reader *reader)
{
    const json_t *all = json_object_get(reader->root, "series");
    int status = SN_OK;
    if (all && !json_is_array(all))
        return reader_malformed(reader, "series", "must be an array", NULL);
    if (json_array_size(all) > SERIES_MOST)
        return reader_malformed(reader, "series", "are more than 4096", NULL);
    for (size_t i = 0; status == SN_OK && i < json_array_size(all); i++)
        status = read_one_series(reader, json_array_get(all, i));
    return status;
}

static int read_path(const struct reader *reader, struct traced_path *path, const json_t *object)
{
    const json_t *text = json_object_get(object, "text"), *weight = json_object_get(object, "weight");
    const json_t *contribution = json_object_get(object, "contribution");
    if (!json_is_string(text) || !(json_is_number(weight) || json_is_null(weight)) ||
        !(json_is_number(contribution) || json_is_null(contribution)))
        return reader_malformed(reader, "paths", "must have a text, a weight and a contribution", NULL);
    path->text =
        memory_copy_text(reader->circuit->memory, json_string_value(text), json_string_length(text));
    if (!path->text)
        return fail_memory(reader->context, "a path", json_string_length(text));
    path->weight = json_is_null(weight) ? (double)NAN : json_number_value(weight);
    path->contribution = json_is_null(contribution) ? (double)NAN : json_number_value(contribution);
    return SN_OK;
}

int reader_take_paths(struct reader *reader)
{
    struct sn_circuit *circuit = reader->circuit;
    const json_t *paths = json_object_get(reader->root, "paths");
    size_t n = json_array_size(paths);
    if (paths && !json_is_array(paths))
        return reader_malformed(reader, "paths", "must be an array", NULL);
    if (n == 0)
        return SN_OK;
    /* All or none: circuit_drop_paths frees as many texts as are counted. */
    struct traced_path *read = memory_allocate_array(circuit->memory, n, sizeof *read);
    if (!read)
        return fail_memory(reader->context, "paths", n * sizeof *read);
    size_t done = 0;
    int status = SN_OK;
    for (; status == SN_OK && done < n; done += status == SN_OK)
        status = read_path(reader, &read[done], json_array_get(paths, done));
    if (status == SN_OK) {
        circuit->paths = read;
        circuit->n_paths = n;
        return SN_OK;
    }
    while (done-- > 0)
        memory_free(circuit->memory, read[done].text, strlen(read[done].text) + 1);
    memory_free(circuit->memory, read, n * sizeof *read);
    return status;
}
