/*
 * crc.h - the CRC-32 of qCRC: polynomial 04c11db7, most significant bit first, start ffffffff, no
 * final inversion.
 *
 * Not the reflected CRC-32 of zip and .gnu_debuglink.
 */
#ifndef STOPGO_PROTOCOL_CRC_H
#define STOPGO_PROTOCOL_CRC_H

#include "base/util.h"

#define CRC_START UINT32_C(0xffffffff)

/* Goes on from crc, so that a long range is summed chunk by chunk. */
uint32_t crc_update(uint32_t crc, const void *data, size_t len);

#endif
