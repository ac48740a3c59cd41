package opus

/*
#cgo noescape opus_decode
#cgo nocallback opus_decode
#include <opus/opus.h>
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Decoder decodes one stream. It is used by one goroutine at a time.
type Decoder struct {
	d        *C.OpusDecoder
	channels int
}

// NewDecoder makes a decoder of 48 kHz sound, which must be closed.
func NewDecoder(channels int) (*Decoder, error) {
	if channels != 1 && channels != 2 {
		return nil, fmt.Errorf("open opus decoder: %d channels, not 1 or 2", channels)
	}
	var code C.int
	p := C.opus_decoder_create(Rate, C.int(channels), &code)
	if code != C.OPUS_OK {
		return nil, fmt.Errorf("open opus decoder: %s", text(code))
	}
	return &Decoder{p, channels}, nil
}

// Decode fills pcm with a packet's sound, interleaved, and says how many samples a
// channel it has. An empty packet is a lost one, the gap of which is filled by guess: pcm
// then has the length of the gap.
func (d *Decoder) Decode(pcm []int16, packet []byte) (n int, err error) {
	return d.decode(pcm, packet, 0)
}

// Recover fills pcm with the block before packet, which was lost, from the copy within
// packet (FEC), or by guess if there is none. Then the packet itself is to be decoded.
// pcm has the length of the lost block.
func (d *Decoder) Recover(pcm []int16, packet []byte) (n int, err error) {
	return d.decode(pcm, packet, 1)
}

func (d *Decoder) decode(pcm []int16, packet []byte, fec C.int) (int, error) {
	if d.d == nil {
		return 0, errClosed
	}
	if len(pcm) == 0 || len(pcm)%d.channels != 0 {
		return 0, fmt.Errorf("decode sound: room for %d samples in %d channels", len(pcm), d.channels)
	}
	var p *C.uchar
	if len(packet) > 0 {
		p = (*C.uchar)(unsafe.Pointer(&packet[0]))
	}
	n := int(C.opus_decode(d.d, p, C.opus_int32(len(packet)),
		(*C.opus_int16)(unsafe.Pointer(&pcm[0])), C.int(len(pcm)/d.channels), fec))
	if n < 0 {
		return 0, fmt.Errorf("decode sound: %s", text(C.int(n)))
	}
	return n, nil
}

// Close gives the decoder back. A second Close does nothing.
func (d *Decoder) Close() {
	if d.d != nil {
		C.opus_decoder_destroy(d.d)
	}
	d.d = nil
}
