#include "format/tensor_source.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[TENSOR_TYPES] = {
    [TENSOR_F64] = {"F64", 8},   [TENSOR_F32] = {"F32", 4}, [TENSOR_F16] = {"F16", 2},
    [TENSOR_BF16] = {"BF16", 2}, [TENSOR_I64] = {"I64", 8}, [TENSOR_I32] = {"I32", 4},
    [TENSOR_I16] = {"I16", 2},   [TENSOR_I8] = {"I8", 1},   [TENSOR_U64] = {"U64", 8},
    [TENSOR_U32] = {"U32", 4},   [TENSOR_U16] = {"U16", 2}, [TENSOR_U8] = {"U8", 1},
    [TENSOR_BOOL] = {"BOOL", 1},
};

size_t tensor_type_size(enum tensor_type type)
{
    return types[type].size;
}

const char *tensor_type_name(enum tensor_type type)
{
    return types[type].name;
}

uint64_t tensor_load_little(const unsigned char *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float half_to_float(uint32_t half)
{
    uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, mantissa = half & 1023u;
    if (exponent == 31)
        return float_from_bits(sign | 0x7F800000u | mantissa << 13);
    if (exponent)
        return float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float small = (float)mantissa * 0x1p-24f; /* exact: subnormal halves are normal floats */
    return sign ? -small : small;
}

static float double_to_float(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return (float)value;
}

static float decode_float(const unsigned char *bytes, enum tensor_type type)
{
    uint64_t raw = tensor_load_little(bytes, types[type].size);
    switch (type) {
    case TENSOR_F64: return double_to_float(raw);
    case TENSOR_I64: return (float)(int64_t)raw;
    case TENSOR_I32: return (float)(int32_t)raw;
    case TENSOR_I16: return (float)(int16_t)raw;
    case TENSOR_I8: return (float)(int8_t)raw;
    case TENSOR_BOOL: return raw ? 1.0f : 0.0f;
    default: return (float)raw;
    }
}

int tensor_is_native(enum tensor_type type)
{
    const uint16_t one = 1;
    unsigned char low;
    memcpy(&low, &one, 1);
    return low && type == TENSOR_F32;
}

/* The types of large files have loops of their own, which the compiler can unroll. */
void tensor_decode_floats(float *out, const unsigned char *bytes, size_t count, enum tensor_type type)
{
    if (tensor_is_native(type))
        memcpy(out, bytes, count * sizeof *out);
    else if (type == TENSOR_F32)
        for (size_t i = 0; i < count; i++)
            out[i] = float_from_bits((uint32_t)tensor_load_little(bytes + 4 * i, 4));
    else if (type == TENSOR_BF16)
        for (size_t i = 0; i < count; i++)
            out[i] = float_from_bits((uint32_t)tensor_load_little(bytes + 2 * i, 2) << 16);
    else if (type == TENSOR_F16)
        for (size_t i = 0; i < count; i++)
            out[i] = half_to_float((uint32_t)tensor_load_little(bytes + 2 * i, 2));
    else
        for (size_t i = 0; i < count; i++)
            out[i] = decode_float(bytes + i * types[type].size, type);
}

int tensor_check_range(struct sn_context *context, const char *path, const struct tensor_entry *entry,
                       uint64_t first, size_t count)
{
    if (first <= entry->count && count <= entry->count - first)
        return SN_OK;
    return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s has %llu elements, %zu wanted from %llu",
                path, entry->name, (unsigned long long)entry->count, count, (unsigned long long)first);
}

int tensor_check_integer(struct sn_context *context, const char *path, const struct tensor_entry *entry)
{
    if (entry->type >= TENSOR_I64 && entry->type != TENSOR_BOOL)
        return SN_OK;
    return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s: dtype %s holds no indices", path,
                entry->name, types[entry->type].name);
}

static int is_signed(enum tensor_type type)
{
    return type >= TENSOR_I64 && type <= TENSOR_I8;
}

int tensor_decode_indices(uint32_t *out, struct sn_context *context, const char *path,
                          const struct tensor_entry *entry, const unsigned char *bytes, uint64_t first,
                          size_t count, uint64_t limit)
{
    size_t size = types[entry->type].size;
    for (size_t i = 0; i < count; i++) {
        uint64_t raw = tensor_load_little(bytes + i * size, size);
        int negative = is_signed(entry->type) && raw >> (8 * size - 1);
        if (negative || raw >= limit || raw > UINT32_MAX)
            return fail(context, SN_ERROR_FORMAT,
                        "%s: tensor %.200s: element %llu is %s%llu, it must be below %llu", path,
                        entry->name, (unsigned long long)(first + i),
                        negative ? "negative, as unsigned " : "", (unsigned long long)raw,
                        (unsigned long long)limit);
        out[i] = (uint32_t)raw;
    }
    return SN_OK;
}
