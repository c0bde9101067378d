#include "base/checksum.h"

#define SLICES 8
#define LARGE ((size_t)1 << 14) /* bytes from which building the tables of `slices` pays */

/* Two nibbles a byte: a table of 16 needs no initialisation and no global state. */
static uint32_t by_nibbles(uint32_t crc, const unsigned char *byte, size_t size)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    for (size_t i = 0; i < size; i++) {
        crc ^= byte[i];
        crc = (crc >> 4) ^ nibble[crc & 15];
        crc = (crc >> 4) ^ nibble[crc & 15];
    }
    return crc;
}

/* Eight bytes a step; tables[k][b]: the remainder of byte b with k zero bytes behind it. The tables
 * (8 KB) are made anew on the stack, a few microseconds. */
static uint32_t by_slices(uint32_t crc, const unsigned char *byte, size_t n_steps)
{
    uint32_t tables[SLICES][256];
    for (unsigned i = 0; i < 256; i++) {
        unsigned char alone = (unsigned char)i;
        tables[0][i] = by_nibbles(0, &alone, 1);
    }
    for (unsigned k = 1; k < SLICES; k++)
        for (unsigned i = 0; i < 256; i++)
            tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 255];
    for (; n_steps; n_steps--, byte += SLICES) {
        uint32_t low = crc ^ ((uint32_t)byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 |
                              (uint32_t)byte[3] << 24);
        crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
              tables[4][low >> 24] ^ tables[3][byte[4]] ^ tables[2][byte[5]] ^ tables[1][byte[6]] ^
              tables[0][byte[7]];
    }
    return crc;
}

uint32_t checksum_update(uint32_t checksum, const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;
    uint32_t crc = ~checksum;
    if (size >= LARGE) {
        crc = by_slices(crc, byte, size / SLICES);
        byte += size / SLICES * SLICES;
        size %= SLICES;
    }
    return ~by_nibbles(crc, byte, size);
}
