package v4l2

import "unsafe"

// The structures of include/uapi/linux/videodev2.h that memory-to-memory devices need and
// go4vl does not have, or has for the single-planar interface only.

// bufferTypes by interface and side (enum v4l2_buf_type). The kernel names the queues from
// the application's side of a display or a camera: what goes in is OUTPUT, what comes out
// CAPTURE.
const (
	typeCapture       = 1
	typeOutput        = 2
	typeCaptureMPlane = 9
	typeOutputMPlane  = 10
)

// Capabilities (VIDIOC_QUERYCAP).
const (
	capCapture       = 0x00000001
	capOutput        = 0x00000002
	capCaptureMPlane = 0x00001000
	capOutputMPlane  = 0x00002000
	capM2MMPlane     = 0x00004000
	capM2M           = 0x00008000
	capStreaming     = 0x04000000
	capDeviceCaps    = 0x80000000
)

// Memory of a queue's buffers (enum v4l2_memory).
const (
	memoryMMAP   = 1
	memoryDMABUF = 4
)

// Flags of a buffer.
const (
	flagKeyframe = 0x00000008
	flagError    = 0x00000040
	flagLast     = 0x00100000
)

// maxPlanes is how many pieces of memory a picture has here; the kernel allows 8.
const maxPlanes = 3

// plane is struct v4l2_plane.
type plane struct {
	bytesused, length uint32
	m                 uintptr // a union: offset or file descriptor in its first 32 bits
	dataOffset        uint32
	_                 [11]uint32
}

// formatArg is struct v4l2_format; the union holds pointers, so it begins at a word.
type formatArg struct {
	typ uint32
	_   [unsafe.Sizeof(uintptr(0)) - 4]byte
	u   [200]byte
}

// pixFormat is struct v4l2_pix_format.
type pixFormat struct {
	width, height, pixel, field uint32
	stride, size                uint32
	space, priv, flags          uint32
	enc, quant, xfer            uint32
}

// pixFormatMPlane is struct v4l2_pix_format_mplane.
type pixFormatMPlane struct {
	width, height, pixel, field, space uint32
	planes                             [8]planeFormat
	count, flags, enc, quant, xfer     uint8
	_                                  [7]uint8
}

type planeFormat struct {
	size, stride uint32
	_            [6]uint16
}

// privMagic says that a pixFormat's fields behind priv are filled.
const privMagic = 0xfeedcafe

// formatDesc is struct v4l2_fmtdesc.
type formatDesc struct {
	index, typ, flags uint32
	text              [32]byte
	pixel, mbus       uint32
	_                 [3]uint32
}

// frameSizes is struct v4l2_frmsizeenum; a discrete size is in minW and maxW.
type frameSizes struct {
	index, pixel, typ                    uint32
	minW, maxW, stepW, minH, maxH, stepH uint32
	_                                    [2]uint32
}

// exportArg is struct v4l2_exportbuffer.
type exportArg struct {
	typ, index, plane, flags uint32
	fd                       int32
	_                        [11]uint32
}

// rect is struct v4l2_rect.
type rect struct {
	left, top     int32
	width, height uint32
}

// selectionArg is struct v4l2_selection.
type selectionArg struct {
	typ, target, flags uint32
	r                  rect
	_                  [9]uint32
}

// cropArg is struct v4l2_crop.
type cropArg struct {
	typ uint32
	r   rect
}

// paramArg is struct v4l2_streamparm with struct v4l2_outputparm in it.
type paramArg struct {
	typ, capability, mode uint32
	num, den              uint32 // seconds a picture
	_                     [204 - 20]byte
}

// controlArg is struct v4l2_control.
type controlArg struct {
	id    uint32
	value int32
}

// controlRange is struct v4l2_queryctrl.
type controlRange struct {
	id, typ             uint32
	name                [32]byte
	min, max, step, def int32
	flags               uint32
	_                   [2]uint32
}

const controlDisabled = 1 // V4L2_CTRL_FLAG_DISABLED

// commandArg is struct v4l2_encoder_cmd.
type commandArg struct {
	cmd, flags uint32
	_          [8]uint32
}

// Commands to an encoder.
const (
	cmdStart = 0
	cmdStop  = 1
)

// targetCrop is V4L2_SEL_TGT_CROP.
const targetCrop = 0

const (
	vidiocEnumFmt    = ioRead | ioWrite | uint(unsafe.Sizeof(formatDesc{}))<<16 | 'V'<<8 | 2
	vidiocGFmt       = ioRead | ioWrite | uint(unsafe.Sizeof(formatArg{}))<<16 | 'V'<<8 | 4
	vidiocSFmt       = ioRead | ioWrite | uint(unsafe.Sizeof(formatArg{}))<<16 | 'V'<<8 | 5
	vidiocExpBuf     = ioRead | ioWrite | uint(unsafe.Sizeof(exportArg{}))<<16 | 'V'<<8 | 16
	vidiocGParm      = ioRead | ioWrite | uint(unsafe.Sizeof(paramArg{}))<<16 | 'V'<<8 | 21
	vidiocSParm      = ioRead | ioWrite | uint(unsafe.Sizeof(paramArg{}))<<16 | 'V'<<8 | 22
	vidiocGCtrl      = ioRead | ioWrite | uint(unsafe.Sizeof(controlArg{}))<<16 | 'V'<<8 | 27
	vidiocSCtrl      = ioRead | ioWrite | uint(unsafe.Sizeof(controlArg{}))<<16 | 'V'<<8 | 28
	vidiocQueryCtrl  = ioRead | ioWrite | uint(unsafe.Sizeof(controlRange{}))<<16 | 'V'<<8 | 36
	vidiocSCrop      = ioWrite | uint(unsafe.Sizeof(cropArg{}))<<16 | 'V'<<8 | 60
	vidiocEnumSizes  = ioRead | ioWrite | uint(unsafe.Sizeof(frameSizes{}))<<16 | 'V'<<8 | 74
	vidiocEncoderCmd = ioRead | ioWrite | uint(unsafe.Sizeof(commandArg{}))<<16 | 'V'<<8 | 77
	vidiocGSelection = ioRead | ioWrite | uint(unsafe.Sizeof(selectionArg{}))<<16 | 'V'<<8 | 94
	vidiocSSelection = ioRead | ioWrite | uint(unsafe.Sizeof(selectionArg{}))<<16 | 'V'<<8 | 95
)

// Controls (include/uapi/linux/v4l2-controls.h).
const (
	cidMinBuffersForCapture = 0x00980900 + 39
	cidMinBuffersForOutput  = 0x00980900 + 40

	cidCodec        = 0x00990900
	cidBFrames      = cidCodec + 202
	cidGOPSize      = cidCodec + 203
	cidBitrateMode  = cidCodec + 206 // 0 variable, 1 constant
	cidBitrate      = cidCodec + 207
	cidRateControl  = cidCodec + 215 // FRAME_RC_ENABLE
	cidHeaderMode   = cidCodec + 216 // 0 separate, 1 joined with the first picture
	cidRepeatHeader = cidCodec + 226
	cidForceKey     = cidCodec + 229
	cidDelimiter    = cidCodec + 231
	cidMinQP        = cidCodec + 353
	cidMaxQP        = cidCodec + 354
	cidTransform8x8 = cidCodec + 355
	cidEntropy      = cidCodec + 357 // 0 CAVLC, 1 CABAC
	cidIPeriod      = cidCodec + 358
	cidLevel        = cidCodec + 359
	cidProfile      = cidCodec + 363 // 0 baseline, 1 constrained baseline, …
	cidPrependSets  = cidCodec + 644 // PREPEND_SPSPPS_TO_IDR
)
