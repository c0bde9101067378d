/* The one list of a table's kernels. NAME maps a field to its function: the vector bodies name their
 * static functions like the fields, the naive ones reference_<field>. */
#ifndef SN_KERNELS_TABLE_BODY_H
#define SN_KERNELS_TABLE_BODY_H

#include "kernels/kernels.h"

#define VECTOR_KERNEL(field) field
#define REFERENCE_KERNEL(field) reference_##field

#define KERNEL_TABLE(text, n_lanes, NAME)                                                               \
    {                                                                                                   \
        .name = text, .lanes = n_lanes, .sparse_multiply = NAME(sparse_multiply),                       \
        .sparse_gradient = NAME(sparse_gradient), .gemm = NAME(gemm),                                   \
        .magnitude_scan = NAME(magnitude_scan), .magnitude_mark = NAME(magnitude_mark),                 \
        .magnitude_mark_columns = NAME(magnitude_mark_columns),                                         \
        .magnitude_levels = NAME(magnitude_levels), .gather_nonzeros = NAME(gather_nonzeros),           \
        .abs_topk = NAME(abs_topk), .apply_mask = NAME(apply_mask), .rms_norm = NAME(rms_norm),         \
        .rms_norm_backward = NAME(rms_norm_backward), .layer_norm = NAME(layer_norm),                   \
        .layer_norm_backward = NAME(layer_norm_backward), .gelu = NAME(gelu),                           \
        .gelu_backward = NAME(gelu_backward), .relu = NAME(relu), .relu_backward = NAME(relu_backward),       \
        .add = NAME(add), .gate = NAME(gate), .gate_backward = NAME(gate_backward),                     \
        .move_rows = NAME(move_rows), .cross_entropy = NAME(cross_entropy),                             \
        .cross_entropy_backward = NAME(cross_entropy_backward), .attention = NAME(attention),           \
        .attention_backward = NAME(attention_backward), .token_columns = NAME(token_columns),           \
        .token_rows = NAME(token_rows), .token_dense = NAME(token_dense),                               \
        .token_topk = NAME(token_topk), .token_rms_norm = NAME(token_rms_norm),                         \
        .token_layer_norm = NAME(token_layer_norm), .token_attention = NAME(token_attention),           \
        .transpose = NAME(transpose), .adamw = NAME(adamw), .sum_of_squares = NAME(sum_of_squares),     \
    }

/* One per instruction set; the x86 ones exist on x86 only (portable.c, avx2.c, avx512.c). */
extern const struct kernel_table kernel_table_reference; /* dispatch.c */
extern const struct kernel_table kernel_table_portable;
#if defined(__x86_64__) || defined(__i386__)
extern const struct kernel_table kernel_table_avx2;
extern const struct kernel_table kernel_table_avx512;
#endif

#endif
