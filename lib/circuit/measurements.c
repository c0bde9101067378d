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
    memory_free(circuit->memory, circuit->numbers, circuit->number_capacity * sizeof *circuit->numbers);
    circuit->numbers = NULL;
    circuit->n_numbers = circuit->number_capacity = 0;
}

/* Room for one more. */
static int reserve(struct sn_circuit *circuit, struct sn_context *context)
{
    size_t size = sizeof *circuit->numbers, old = circuit->number_capacity;
    if (circuit->n_numbers < old)
        return SN_OK;
    size_t capacity = old ? 2 * old : 8;
    struct kept_number *numbers =
        memory_resize(circuit->memory, circuit->numbers, old * size, capacity * size);
    if (!numbers)
        return fail_memory(context, "measurements", capacity * size);
    circuit->numbers = numbers;
    circuit->number_capacity = capacity;
    return SN_OK;
}

int circuit_add_measurement(struct sn_circuit *circuit, struct sn_context *context, const char *name,
                            double value)
{
    int status = reserve(circuit, context);
    if (status != SN_OK)
        return status;
    char *copy = memory_copy_text(circuit->memory, name, strlen(name));
    if (!copy)
        return fail_memory(context, "a measurement", strlen(name) + 1);
    circuit->numbers[circuit->n_numbers++] = (struct kept_number){copy, value};
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
    return circuit_add_measurement(circuit, context, name, value);
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
