#include "encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void trace(void *context, int level, const char *text) {
	oh *o = context;
	(void)level;
	pthread_mutex_lock(&o->mu);
	snprintf(o->text, sizeof o->text, "%s", text);
	pthread_mutex_unlock(&o->mu);
}

void oh_text(oh *o, char *dst, int room) {
	pthread_mutex_lock(&o->mu);
	snprintf(dst, room, "%s", o->text);
	o->text[0] = 0;
	pthread_mutex_unlock(&o->mu);
}

oh *oh_new(void) {
	oh *o = calloc(1, sizeof *o);
	if (!o)
		return NULL;
	pthread_mutex_init(&o->mu, NULL);
	if (WelsCreateSVCEncoder(&o->e) || !o->e) {
		o->e = NULL;
		oh_free(o);
		return NULL;
	}
	// Errors come back to the caller instead of going to standard error.
	int level = WELS_LOG_ERROR;
	WelsTraceCallback f = trace;
	void *context = o;
	(*o->e)->SetOption(o->e, ENCODER_OPTION_TRACE_CALLBACK, &f);
	(*o->e)->SetOption(o->e, ENCODER_OPTION_TRACE_CALLBACK_CONTEXT, &context);
	(*o->e)->SetOption(o->e, ENCODER_OPTION_TRACE_LEVEL, &level);
	return o;
}

void oh_free(oh *o) {
	if (o->e) {
		(*o->e)->Uninitialize(o->e);
		WelsDestroySVCEncoder(o->e);
	}
	pthread_mutex_destroy(&o->mu);
	free(o);
}

int oh_open(oh *o, const oh_config *c) {
	SEncParamExt p;
	memset(&p, 0, sizeof p);
	int e = (*o->e)->GetDefaultParams(o->e, &p);
	if (e)
		return e;
	p.iUsageType = CAMERA_VIDEO_REAL_TIME;
	p.iPicWidth = c->w;
	p.iPicHeight = c->h;
	p.iTargetBitrate = c->bitrate;
	// Without a maximum of our own the level's is the maximum, and one option changes the
	// bit rate. With one, both must be changed, the larger first, or the change is refused.
	p.iMaxBitrate = UNSPECIFIED_BIT_RATE;
	p.fMaxFrameRate = c->fps;
	p.iRCMode = RC_TIMESTAMP_MODE; // cameras' frame rates wander
	p.bEnableFrameSkip = true;     // below the bit rate of iMaxQp nothing else holds the rate
	p.iMinQp = 12;
	p.iMaxQp = 45; // 51 makes the floor of noisy pictures higher, not lower
	p.iComplexityMode = LOW_COMPLEXITY;
	p.uiIntraPeriod = 0; // key pictures are asked for
	p.iNumRefFrame = 1;
	p.eSpsPpsIdStrategy = CONSTANT_ID;
	p.bPrefixNalAddingCtrl = false;
	p.iEntropyCodingModeFlag = 0; // CAVLC: baseline
	p.iMultipleThreadIdc = c->threads;
	p.bUseLoadBalancing = false;
	p.bEnableDenoise = false;
	p.bEnableBackgroundDetection = true;
	p.bEnableAdaptiveQuant = false;
	p.bEnableSceneChangeDetect = false; // its key pictures are not asked for
	p.bEnableLongTermReference = false;
	p.iTemporalLayerNum = 1;
	p.iSpatialLayerNum = 1;
	SSpatialLayerConfig *l = &p.sSpatialLayers[0];
	l->iVideoWidth = c->w;
	l->iVideoHeight = c->h;
	l->fFrameRate = c->fps;
	l->iSpatialBitrate = c->bitrate;
	l->iMaxSpatialBitrate = UNSPECIFIED_BIT_RATE;
	l->uiProfileIdc = PRO_BASELINE;
	l->uiLevelIdc = (ELevelIdc)c->level;
	l->sSliceArgument.uiSliceMode = c->threads > 1 ? SM_FIXEDSLCNUM_SLICE : SM_SINGLE_SLICE;
	l->sSliceArgument.uiSliceNum = c->threads;
	l->bVideoSignalTypePresent = true;
	l->uiVideoFormat = VF_UNDEF;
	l->bFullRange = c->full;
	l->bColorDescriptionPresent = true;
	l->uiColorPrimaries = c->primaries;
	l->uiTransferCharacteristics = c->transfer;
	l->uiColorMatrix = c->matrix;
	if ((e = (*o->e)->InitializeExt(o->e, &p)))
		return e;
	int format = videoFormatI420;
	if ((e = (*o->e)->SetOption(o->e, ENCODER_OPTION_DATAFORMAT, &format)))
		return e;
	o->pic.iColorFormat = videoFormatI420;
	o->pic.iPicWidth = c->w;
	o->pic.iPicHeight = c->h;
	return 0;
}

// In C++ ForceIntraFrame has a second argument that the C declaration lacks.
typedef int (*force)(ISVCEncoder *, bool idr, int layer);

int oh_encode(oh *o, const uint8_t *y, const uint8_t *u, const uint8_t *v, int ys, int us, int vs,
	long long ms, int key) {
	int e;
	if (key && (e = ((force)(*o->e)->ForceIntraFrame)(o->e, true, -1)))
		return e;
	const uint8_t *p[3] = {y, u, v};
	int s[3] = {ys, us, vs};
	for (int i = 0; i < 3; i++) {
		o->pic.pData[i] = (unsigned char *)p[i];
		o->pic.iStride[i] = s[i];
	}
	o->pic.uiTimeStamp = ms;
	o->parts = 0;
	e = (*o->e)->EncodeFrame(o->e, &o->pic, &o->out);
	memset(o->pic.pData, 0, sizeof o->pic.pData);
	if (e || o->out.eFrameType == videoFrameTypeSkip || o->out.eFrameType == videoFrameTypeInvalid)
		return e;
	for (int i = 0; i < o->out.iLayerNum && i < MAX_LAYER_NUM_OF_FRAME; i++) {
		SLayerBSInfo *l = &o->out.sLayerInfo[i];
		int n = 0;
		for (int k = 0; k < l->iNalCount; k++)
			n += l->pNalLengthInByte[k];
		o->part[o->parts] = l->pBsBuf;
		o->length[o->parts++] = n;
	}
	return 0;
}

int oh_bitrate(oh *o, int bits, int *granted) {
	SBitrateInfo b = {SPATIAL_LAYER_ALL, bits};
	int e = (*o->e)->SetOption(o->e, ENCODER_OPTION_BITRATE, &b);
	b.iLayer = SPATIAL_LAYER_0;
	if (!(*o->e)->GetOption(o->e, ENCODER_OPTION_BITRATE, &b))
		*granted = b.iBitrate;
	return e;
}

int oh_fps(oh *o, float fps) { return (*o->e)->SetOption(o->e, ENCODER_OPTION_FRAME_RATE, &fps); }
