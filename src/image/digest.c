/* SPDX-License-Identifier: Apache-2.0 */
#include "image/digest.h"

#include <string.h>

#include "base/str.h"

enum { BLOCK = 64 };

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* The fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). */
static const uint32_t round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static bool native_available(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & (1U << 29);
}

/*
 * The instruction does two rounds and wants the eight words as (a, b, e, f) and
 * (c, d, g, h); after it the former is the latter of the next two rounds.
 */
__attribute__((target("sha,sse4.1,ssse3"))) static void native_blocks(uint32_t state[static 8],
								      const unsigned char *bytes, size_t count)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
	__m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
	uint32_t out[8];

	for (; count > 0; count--, bytes += BLOCK) {
		const __m128i abef_before = abef, cdgh_before = cdgh;
		__m128i words[4];

#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)bytes + i), swap);
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			const __m128i constants = _mm_loadu_si128(
				(const __m128i *)(const void *)(round_constants + 4 * (size_t)i));
			const __m128i added = _mm_add_epi32(words[i % 4], constants);

			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, added);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(added, 0x0e));
			if (i < 12) {
				const __m128i w9 = _mm_alignr_epi8(words[(i + 3) % 4], words[(i + 2) % 4], 4);
				const __m128i sum = _mm_add_epi32(
					_mm_sha256msg1_epu32(words[i % 4], words[(i + 1) % 4]), w9);

				words[i % 4] = _mm_sha256msg2_epu32(sum, words[(i + 3) % 4]);
			}
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	_mm_storeu_si128((__m128i *)(void *)out, abef);
	_mm_storeu_si128((__m128i *)(void *)(out + 4), cdgh);
	memcpy(state, (uint32_t[8]){ out[3], out[2], out[7], out[6], out[1], out[0], out[5], out[4] },
	       8 * sizeof(*state));
}
#else
static bool native_available(void)
{
	return false;
}

static void native_blocks(uint32_t state[static 8], const unsigned char *bytes, size_t count)
{
	(void)state, (void)bytes, (void)count;
}
#endif

static void native_add(struct digest *digest, const unsigned char *bytes, size_t count)
{
	size_t held = digest->length % BLOCK;

	digest->length += count;
	if (held > 0) {
		size_t part = count < BLOCK - held ? count : BLOCK - held;

		memcpy(digest->block + held, bytes, part);
		bytes += part;
		count -= part;
		if (held + part < BLOCK)
			return;
		native_blocks(digest->state, digest->block, 1);
	}
	native_blocks(digest->state, bytes, count / BLOCK);
	memcpy(digest->block, bytes + count / BLOCK * BLOCK, count % BLOCK);
}

static void native_end(struct digest *digest, unsigned char result[static SHA256_DIGEST_LENGTH])
{
	uint64_t bits = digest->length * 8;
	size_t held = digest->length % BLOCK;

	digest->block[held++] = 0x80;
	if (held > BLOCK - 8) {
		memset(digest->block + held, 0, BLOCK - held);
		native_blocks(digest->state, digest->block, 1);
		held = 0;
	}
	memset(digest->block + held, 0, BLOCK - held);
	for (int i = 0; i < 8; i++)
		digest->block[BLOCK - 1 - i] = (unsigned char)(bits >> (8 * i));
	native_blocks(digest->state, digest->block, 1);
	for (int i = 0; i < 32; i++)
		result[i] = (unsigned char)(digest->state[i / 4] >> (24 - 8 * (i % 4)));
}

void digest_begin(struct digest *digest, const char *like)
{
	static const uint32_t first[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	digest->sha512 = like && str_starts(like, "sha512:");
	digest->native = !digest->sha512 && native_available();
	digest->length = 0;
	memcpy(digest->state, first, sizeof(first));
	if (digest->sha512)
		SHA512Init(&digest->libmd);
	else if (!digest->native)
		SHA256Init(&digest->libmd);
}

void digest_add(struct digest *digest, const void *bytes, size_t count)
{
	if (count == 0)
		return;
	if (digest->native)
		native_add(digest, bytes, count);
	else if (digest->sha512)
		SHA512Update(&digest->libmd, bytes, count);
	else
		SHA256Update(&digest->libmd, bytes, count);
}

void digest_end(struct digest *digest, char text[static OCI_DIGEST_MAX])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char result[SHA512_DIGEST_LENGTH];
	size_t count = digest->sha512 ? SHA512_DIGEST_LENGTH : SHA256_DIGEST_LENGTH, at = 7;

	if (digest->native)
		native_end(digest, result);
	else if (digest->sha512)
		SHA512Final(result, &digest->libmd);
	else
		SHA256Final(result, &digest->libmd);
	memcpy(text, digest->sha512 ? "sha512:" : "sha256:", at);
	for (size_t i = 0; i < count; i++) {
		text[at++] = digits[result[i] >> 4];
		text[at++] = digits[result[i] & 15];
	}
	text[at] = '\0';
}

void digest_of(const void *bytes, size_t count, char text[static OCI_DIGEST_MAX])
{
	struct digest digest;

	digest_begin(&digest, NULL);
	digest_add(&digest, bytes, count);
	digest_end(&digest, text);
}
