#include "protocol/crc.h"

#include <string.h>

#define POLYNOMIAL UINT32_C(0x04c11db7)
#define REFLECTED  UINT32_C(0xedb88320)

/* table[0][i] is the effect of byte i; table[n][i] that of byte i followed by n zero bytes. */
static uint32_t table[8][256];

static void build_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i << 24;
		for (int bit = 0; bit < 8; bit++)
			c = c & 0x80000000 ? c << 1 ^ POLYNOMIAL : c << 1;
		table[0][i] = c;
	}
	for (int n = 1; n < 8; n++)
		for (int i = 0; i < 256; i++)
			table[n][i] = table[n - 1][i] << 8 ^ table[0][table[n - 1][i] >> 24];
}

uint32_t crc_update(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	if (!table[0][1])
		build_table();
	for (; len >= 8; len -= 8, p += 8)
		crc = table[7][crc >> 24 ^ p[0]] ^ table[6][(crc >> 16 & 255) ^ p[1]] ^
		      table[5][(crc >> 8 & 255) ^ p[2]] ^ table[4][(crc & 255) ^ p[3]] ^
		      table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
	for (; len; len--, p++)
		crc = crc << 8 ^ table[0][crc >> 24 ^ *p];
	return crc;
}

static uint32_t reflected[8][256];

static void build_reflected(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ REFLECTED : c >> 1;
		reflected[0][i] = c;
	}
	for (int n = 1; n < 8; n++)
		for (int i = 0; i < 256; i++)
			reflected[n][i] =
				reflected[n - 1][i] >> 8 ^ reflected[0][reflected[n - 1][i] & 255];
}

uint32_t crc_reflected(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	if (!reflected[0][1])
		build_reflected();
	crc = ~crc;
	for (; len >= 8; len -= 8, p += 8) {
		uint32_t low;
		memcpy(&low, p, sizeof(low));
		low ^= crc;
		crc = reflected[7][low & 255] ^ reflected[6][low >> 8 & 255] ^
		      reflected[5][low >> 16 & 255] ^ reflected[4][low >> 24] ^ reflected[3][p[4]] ^
		      reflected[2][p[5]] ^ reflected[1][p[6]] ^ reflected[0][p[7]];
	}
	for (; len; len--, p++)
		crc = crc >> 8 ^ reflected[0][(crc & 255) ^ *p];
	return ~crc;
}
