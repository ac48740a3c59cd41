// The C side of package openh264.
#ifndef ANCHORD_OPENH264_H
#define ANCHORD_OPENH264_H

#include <pthread.h>
#include <stdint.h>
#include <wels/codec_api.h>

typedef struct {
	int w, h, bitrate, level, threads;
	float fps;
	int primaries, transfer, matrix, full;
} oh_config;

typedef struct {
	ISVCEncoder *e;
	SSourcePicture pic;
	SFrameBSInfo out;

	// The picture that oh_encode made, in parts that stay valid until the next call.
	int parts;
	const uint8_t *part[MAX_LAYER_NUM_OF_FRAME];
	int length[MAX_LAYER_NUM_OF_FRAME];

	pthread_mutex_t mu; // guards text, which the library's threads may write
	char text[256];     // the newest error, in the library's words
} oh;

// Each gives 0 or the library's error number.
oh *oh_new(void);
int oh_open(oh *o, const oh_config *c);
int oh_encode(oh *o, const uint8_t *y, const uint8_t *u, const uint8_t *v, int ys, int us, int vs,
	long long ms, int key);
int oh_bitrate(oh *o, int bits, int *granted);
int oh_fps(oh *o, float fps);
void oh_text(oh *o, char *dst, int room);
void oh_free(oh *o);

#endif
