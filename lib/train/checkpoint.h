/* The checkpoint container, native byte order:
 *
 *   magic[8]  u32 byte-order mark  u32 version
 *   u64 settings, each: u64 length, key, double value        (keys of train_option_specs)
 *   u64 steps done, double loss, its part on text, its part on tasks, gradient RMS, learning rate
 *   u64 length, configuration as JSON
 *   u64 parameters, each: u64 length, name, u64 storage, and by storage
 *       vector, dense: u64 n, n floats     sparse: u64 n, (rows + 1) u32, n u32, n floats
 *   for each trainable parameter: u64 support, u64 minimum lowered, u64 has keep mask, [elements bytes],
 *       u64 n, n floats m, n floats v
 *   u32 CRC-32 of all that stands before
 *
 * Dense masters are not written: off the support they are zero, on it they are the model's weights. */
#ifndef SN_TRAIN_CHECKPOINT_H
#define SN_TRAIN_CHECKPOINT_H

#define CHECKPOINT_MAGIC "SNTRAIN\n"
#define CHECKPOINT_BYTE_ORDER 0x01020304u
#define CHECKPOINT_VERSION 2u

enum checkpoint_storage { STORAGE_ABSENT, STORAGE_VECTOR, STORAGE_DENSE, STORAGE_SPARSE };

#endif
