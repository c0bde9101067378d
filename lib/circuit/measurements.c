/* Numbers kept with a circuit for its report, and what it belongs to. */
#include <math.h>
#include <string.h>

#include "circuit/circuit.h"

const char *sn_circuit_task(const sn_circuit *circuit)
{
    return circuit ? circuit->task : NULL;
}

sn_model *sn_circuit_model(const sn_circuit *circuit)
{
    return circuit ? circuit->model : NULL;
}

void circuit_drop_measurements(struct sn_circuit *circuit)
{
    for (size_t i = 0; i < circuit->n_numbers; i++)
        memory_free(circuit->memory, circuit->numbers[i].name, strlen(circuit->numbers[i].name) + 1);
    memory_free(circuit->memory, circuit->numbers, circuit->n_numbers * sizeof *circuit->numbers);
    circuit->numbers = NULL;
    circuit->n_numbers = 0;
}

static int append(sn_circuit *circuit, sn_context *context, const char *name, double value)
{
    size_t size = sizeof *circuit->numbers, n = circuit->n_numbers;
    char *copy = memory_copy_text(circuit->memory, name, strlen(name));
    if (!copy)
        return fail_memory(context, "a measurement", strlen(name) + 1);
    struct kept_number *numbers =
        memory_resize(circuit->memory, circuit->numbers, n * size, (n + 1) * size);
    if (!numbers) {
        memory_free(circuit->memory, copy, strlen(name) + 1);
        return fail_memory(context, "a measurement", size);
    }
    numbers[n] = (struct kept_number){copy, value};
    circuit->numbers = numbers;
    circuit->n_numbers++;
    return SN_OK;
}

int sn_circuit_set_measurement(sn_circuit *circuit, sn_context *context, const char *name, double value)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !name)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_set_measurement: %s is NULL",
                    circuit ? "name" : "circuit");
    if (!isfinite(value))
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_set_measurement: %.64s is not finite", name);
    for (size_t i = 0; i < circuit->n_numbers; i++)
        if (strcmp(circuit->numbers[i].name, name) == 0) {
            circuit->numbers[i].value = value;
            return SN_OK;
        }
    return append(circuit, context, name, value);
}

size_t sn_circuit_measurement_count(const sn_circuit *circuit)
{
    return circuit ? circuit->n_numbers : 0;
}

const char *sn_circuit_measurement(double *value, const sn_circuit *circuit, size_t index)
{
    if (!circuit || index >= circuit->n_numbers)
        return NULL;
    if (value)
        *value = circuit->numbers[index].value;
    return circuit->numbers[index].name;
}
