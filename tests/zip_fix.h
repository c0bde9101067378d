/* Puts the right checksums into a zip archive whose entries were spoilt at random: otherwise the first thing that
 * a reader checks would refuse nearly all of them, and nothing behind it would ever be reached. Knows nothing of
 * the library, for the fuzz targets see only its public header. */
#ifndef SN_TESTS_ZIP_FIX_H
#define SN_TESTS_ZIP_FIX_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline size_t zip_fix_number(const unsigned char *bytes, size_t size)
{
    size_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

static inline uint32_t zip_fix_checksum(const unsigned char *bytes, size_t size)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < size; i++) {
        crc = (crc ^ bytes[i]) >> 4 ^ nibble[(crc ^ bytes[i]) & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

/* Every record of a central directory that points to bytes inside, wherever it stands. */
static inline void zip_fix_checksums(unsigned char *bytes, size_t size)
{
    for (size_t at = 0; at + 46 <= size; at++) {
        if (memcmp(bytes + at, "PK\1\2", 4) != 0)
            continue;
        const size_t n = zip_fix_number(bytes + at + 24, 4), local = zip_fix_number(bytes + at + 42, 4);
        if (local + 30 > size)
            continue;
        const size_t data =
            local + 30 + zip_fix_number(bytes + local + 26, 2) + zip_fix_number(bytes + local + 28, 2);
        if (data > size || n > size - data)
            continue;
        const uint32_t checksum = zip_fix_checksum(bytes + data, n);
        for (size_t i = 0; i < 4; i++)
            bytes[at + 16 + i] = (unsigned char)(checksum >> 8 * i);
    }
}

#endif
