// The C side of package pixel: one call a picture.
#ifndef ANCHORD_PIXEL_H
#define ANCHORD_PIXEL_H

#include <stddef.h>
#include <stdint.h>

enum { PX_YU12, PX_NV12, PX_YUYV, PX_MJPG };

// What px_convert gives.
enum {
	PX_OK,
	PX_NOMEM,   // no memory for a scratch picture
	PX_CORRUPT, // the JPEG cannot be decoded, or not without a warning; px.text says more
	PX_SLOPPY,  // the JPEG has a few bytes left over in front of a restart or its end
	PX_SIZE,    // the JPEG has another size than was promised
};

typedef struct {
	void *tj;         // tjhandle of the decoder
	uint8_t *room[2]; // scratch: the source made planar; chroma on its way into NV12
	size_t size[2];
	char text[200];   // of the last PX_CORRUPT or PX_SLOPPY
	int w, h;         // of the last PX_SIZE
} px;

typedef struct {
	uint8_t *p[3];
	int s[3];
} px_planes;

px *px_new(void);
void px_free(px *c);

// Converts a w x h picture: mirrors it if told to, turns it clockwise by rot degrees and
// squeezes full range into video range if narrow is set. The caller has checked all sizes.
// bytes is the length of s0 and used for JPEG only; sloppy lets PX_SLOPPY pass.
int px_convert(px *c, int from, const uint8_t *s0, const uint8_t *s1, const uint8_t *s2,
	int ss0, int ss1, int ss2, unsigned long bytes, int w, int h,
	int rot, int mirror, int narrow, int sloppy,
	int to, uint8_t *d0, uint8_t *d1, uint8_t *d2, int ds0, int ds1, int ds2);

void px_scale(int nv12, const uint8_t *s0, const uint8_t *s1, const uint8_t *s2,
	int ss0, int ss1, int ss2, int w, int h,
	uint8_t *d0, uint8_t *d1, uint8_t *d2, int ds0, int ds1, int ds2, int dw, int dh);

// Gives the length of the JPEG in out, which has px_jpeg_room bytes; 0 on failure, with
// words in text. sub is a TJSAMP.
unsigned long px_jpeg(int nv12, int bt709, int full, int quality, int sub,
	const uint8_t *s0, const uint8_t *s1, const uint8_t *s2, int ss0, int ss1, int ss2,
	int w, int h, uint8_t *out, unsigned long room, char *text, int textroom);

unsigned long px_jpeg_room(int w, int h, int sub);

#endif
