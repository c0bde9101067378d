/* Gathering what is not zero out of rows of a file (model/ingest.c): the scan must keep up with reading.
 * Included after select_body.h, whose keys and blocks it uses. */
#ifndef SN_KERNELS_NONZERO_BODY_H
#define SN_KERNELS_NONZERO_BODY_H

#define FEW 3 /* nonzeros of a block that are taken without asking how many there are */
#define FIRST_INFINITE 0x7F800000u /* keys from here on are no finite numbers */

static size_t gather_nonzeros(float *value, uint32_t *index, int *not_finite, const float *x, size_t n)
{
    size_t i = 0, count = 0;
    uvec beyond = {0};
    for (; i + SCAN_BLOCK <= n; i += SCAN_BLOCK) {
        uint64_t nonzero = 0;
        for (size_t j = 0; j < SCAN_BLOCK; j += LANES) {
            ivec keys = magnitude_keys(x + i + j);
            nonzero |= mask_bits(keys != 0) << j;
            beyond |=
                (uvec)keys + (0x80000000u - FIRST_INFINITE); /* the sign bit of infinities and NaN */
        }
        for (int step = 0; step < FEW; step++) { /* there is room: count + step < i + SCAN_BLOCK <= n */
            size_t at = i + (size_t)__builtin_ctzll(nonzero | (uint64_t)1 << 63);
            index[count] = (uint32_t)at;
            value[count] = x[at];
            count += nonzero != 0;
            nonzero &= nonzero - 1;
        }
        for (; nonzero; nonzero &= nonzero - 1, count++) {
            size_t at = i + (size_t)__builtin_ctzll(nonzero);
            index[count] = (uint32_t)at;
            value[count] = x[at];
        }
    }
    *not_finite |= any_bit((ivec)beyond & INT32_MIN);
    for (; i < n; i++) {
        int32_t key = magnitude_key(x[i]);
        *not_finite |= (uint32_t)key >= FIRST_INFINITE;
        index[count] = (uint32_t)i;
        value[count] = x[i];
        count += key != 0;
    }
    return count;
}

#endif
