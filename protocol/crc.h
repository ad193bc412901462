/*
 * crc.h - two CRC-32s of polynomial 04c11db7: that of qCRC, most significant bit first, start ffffffff, no final inversion; and the
 * reflected one of zip and .gnu_debuglink, by which lldb knows a file without a build id.
 */
#ifndef STOPGO_PROTOCOL_CRC_H
#define STOPGO_PROTOCOL_CRC_H

#include "base/util.h"

#define CRC_START UINT32_C(0xffffffff)

/* Goes on from crc, so that a long range is summed chunk by chunk. */
uint32_t crc_update(uint32_t crc, const void *data, size_t len);
/* The reflected one, begun with 0. */
uint32_t crc_reflected(uint32_t crc, const void *data, size_t len);

#endif
