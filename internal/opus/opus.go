// Package opus codes and decodes sound by libopus (https://opus-codec.org), in blocks of
// 20 ms at 48 kHz.
package opus

/*
#cgo LDFLAGS: -lopus -lm
#cgo noescape opus_encode
#cgo nocallback opus_encode
#include <opus/opus.h>

// The controls are variadic, which cgo cannot call.
static int ap_set(OpusEncoder *e, int request, int value) { return opus_encoder_ctl(e, request, (opus_int32)value); }

static int ap_lookahead(OpusEncoder *e) {
	opus_int32 n = 0;
	opus_encoder_ctl(e, OPUS_GET_LOOKAHEAD(&n));
	return n;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

const (
	// Rate is the only sample rate, as in WebRTC (RFC 7587).
	Rate = 48000
	// Block is the samples of one channel in 20 ms.
	Block = Rate / 50
	// MaxPacket is the most bytes that 20 ms can take (RFC 6716 3.4).
	MaxPacket = 1275
)

var errClosed = errors.New("opus: used after Close")

// Application says what the sound is (opus_defines.h, OPUS_APPLICATION_*).
type Application int

// The applications.
const (
	Voice Application = iota // speech: the best to understand
	Audio                    // music and all else: the most faithful
)

// Config is what an encoder is made for.
type Config struct {
	Channels     int // 1 or 2
	Rate         int // 48000; 0 is the same
	Bitrate      int // bits a second; libopus keeps it within 500…300000 a channel
	Complexity   int // 0 (least work) to 10 (best sound)
	Application  Application
	FEC          bool // put the last block again into each packet when loss is expected (RFC 6716 2.1.7)
	DTX          bool // almost nothing is sent while there is silence
	ExpectedLoss int  // percent of packets, 0 to 100
}

// Encoder codes one stream. It is used by one goroutine at a time.
type Encoder struct {
	e        *C.OpusEncoder
	channels int
}

// NewEncoder makes an encoder, which must be closed.
func NewEncoder(c Config) (*Encoder, error) {
	switch {
	case c.Channels != 1 && c.Channels != 2:
		return nil, fmt.Errorf("open opus encoder: %d channels, not 1 or 2", c.Channels)
	case c.Rate != 0 && c.Rate != Rate:
		return nil, fmt.Errorf("open opus encoder: %d samples a second, not %d", c.Rate, Rate)
	case c.Application != Voice && c.Application != Audio:
		return nil, fmt.Errorf("open opus encoder: application %d is neither voice nor audio", c.Application)
	}
	app := C.int(C.OPUS_APPLICATION_VOIP)
	if c.Application == Audio {
		app = C.OPUS_APPLICATION_AUDIO
	}
	var code C.int
	p := C.opus_encoder_create(Rate, C.int(c.Channels), app, &code)
	if code != C.OPUS_OK {
		return nil, fmt.Errorf("open opus encoder: %s", text(code))
	}
	e := &Encoder{p, c.Channels}
	if err := errors.Join(e.SetBitrate(c.Bitrate), e.set("complexity", C.OPUS_SET_COMPLEXITY_REQUEST, c.Complexity),
		e.SetFEC(c.FEC), e.SetDTX(c.DTX), e.SetLoss(c.ExpectedLoss)); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Encode codes the next 20 ms: 960 samples a channel, interleaved. dst has room for
// MaxPacket bytes; n of them are filled. One or two bytes mean that nothing need be sent
// (DTX).
func (e *Encoder) Encode(dst []byte, pcm []int16) (n int, err error) {
	switch {
	case e.e == nil:
		return 0, errClosed
	case len(pcm) != Block*e.channels:
		return 0, fmt.Errorf("encode sound: %d samples, not %d", len(pcm), Block*e.channels)
	case len(dst) < MaxPacket:
		return 0, fmt.Errorf("encode sound: room for %d bytes, not %d", len(dst), MaxPacket)
	}
	n = int(C.opus_encode(e.e, (*C.opus_int16)(unsafe.Pointer(&pcm[0])), Block,
		(*C.uchar)(unsafe.Pointer(&dst[0])), MaxPacket))
	if n < 0 {
		return 0, fmt.Errorf("encode sound: %s", text(C.int(n)))
	}
	return n, nil
}

// SetBitrate changes the bits a second from the next block on.
func (e *Encoder) SetBitrate(bits int) error {
	if bits <= 0 {
		return fmt.Errorf("set opus bitrate: %d is not positive", bits)
	}
	return e.set("bitrate", C.OPUS_SET_BITRATE_REQUEST, min(bits, 1<<20))
}

// SetLoss says how many percent of the packets are lost on their way: the more, the more
// robust (and the less faithful) the coding, and FEC is used only if it is above 0.
func (e *Encoder) SetLoss(percent int) error {
	return e.set("expected loss", C.OPUS_SET_PACKET_LOSS_PERC_REQUEST, percent)
}

// SetFEC switches the copy of the last block in each packet on or off.
func (e *Encoder) SetFEC(on bool) error {
	return e.set("FEC", C.OPUS_SET_INBAND_FEC_REQUEST, number(on))
}

// SetDTX switches the rest during silence on or off.
func (e *Encoder) SetDTX(on bool) error { return e.set("DTX", C.OPUS_SET_DTX_REQUEST, number(on)) }

// Lookahead is the delay of coding in samples a channel.
func (e *Encoder) Lookahead() int {
	if e.e == nil {
		return 0
	}
	return int(C.ap_lookahead(e.e))
}

// Close gives the encoder back. A second Close does nothing.
func (e *Encoder) Close() {
	if e.e != nil {
		C.opus_encoder_destroy(e.e)
	}
	e.e = nil
}

func (e *Encoder) set(what string, request C.int, v int) error {
	if e.e == nil {
		return errClosed
	}
	if code := C.ap_set(e.e, request, C.int(v)); code != C.OPUS_OK {
		return fmt.Errorf("set opus %s to %d: %s", what, v, text(code))
	}
	return nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func text(code C.int) string { return C.GoString(C.opus_strerror(code)) }
