package v4l2

import (
	"unsafe"

	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"
)

// buffer is struct v4l2_buffer
// (https://docs.kernel.org/userspace-api/media/v4l/buffer.html). On 32-bit machines it
// is the layout with 32-bit seconds, which every kernel understands
// (v4l2_buffer_time32 in include/media/v4l2-ioctl.h): the request number carries
// the size and so says which one is meant. go4vl's Buffer has another size than the
// kernel's.
type buffer struct {
	index     uint32
	typ       uint32
	bytesused uint32
	flags     uint32
	field     uint32
	timestamp unix.Timeval
	timecode  [16]byte
	sequence  uint32
	memory    uint32
	m         uintptr // a union; the mapping's offset in its first 32 bits
	length    uint32
	reserved2 uint32
	requestFD int32
}

// offset is what to mmap the buffer with.
func (b *buffer) offset() int64 { return int64(*(*uint32)(unsafe.Pointer(&b.m))) }

// reset makes b an argument for the kernel.
func (b *buffer) reset(index uint32) {
	*b = buffer{index: index, typ: v4l.BufTypeVideoCapture, memory: v4l.IOTypeMMAP}
}

// requestBuffers is struct v4l2_requestbuffers.
type requestBuffers struct {
	count, typ, memory, capabilities uint32
	flags                            uint8
	_                                [3]uint8
}

// frameInterval is struct v4l2_frmivalenum. go4vl reads ranges at the wrong offset, so
// that its shortest interval is the longest.
type frameInterval struct {
	index, pixel, width, height, typ uint32
	min, max, step                   v4l.Fract // a discrete interval is in min
	_                                [2]uint32
}

// capability is struct v4l2_capability, used to ask whether a device is still there.
type capability struct {
	driver                [16]byte
	card, bus             [32]byte
	version, caps, device uint32
	_                     [3]uint32
}

// Request numbers (include/uapi/linux/videodev2.h) as asm-generic makes them.
const (
	ioRead, ioWrite = 2 << 30, 1 << 30

	vidiocQueryCap  = ioRead | uint(unsafe.Sizeof(capability{}))<<16 | 'V'<<8
	vidiocReqBufs   = ioRead | ioWrite | uint(unsafe.Sizeof(requestBuffers{}))<<16 | 'V'<<8 | 8
	vidiocQueryBuf  = ioRead | ioWrite | uint(unsafe.Sizeof(buffer{}))<<16 | 'V'<<8 | 9
	vidiocQBuf      = ioRead | ioWrite | uint(unsafe.Sizeof(buffer{}))<<16 | 'V'<<8 | 15
	vidiocDQBuf     = ioRead | ioWrite | uint(unsafe.Sizeof(buffer{}))<<16 | 'V'<<8 | 17
	vidiocStreamOn  = ioWrite | 4<<16 | 'V'<<8 | 18
	vidiocStreamOff = ioWrite | 4<<16 | 'V'<<8 | 19
	vidiocEnumIvals = ioRead | ioWrite | uint(unsafe.Sizeof(frameInterval{}))<<16 | 'V'<<8 | 75
)
