/* CRC-32 (IEEE 802.3, as in zip). Start with 0. */
#ifndef SN_BASE_CHECKSUM_H
#define SN_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint32_t checksum_update(uint32_t checksum, const void *bytes, size_t size);
/* The same numbers on any processor; checksum_update takes it where carry-less products are missing. */
uint32_t checksum_update_portable(uint32_t checksum, const void *bytes, size_t size);

#endif
