package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"anchord/hal"
	"anchord/internal/media"
)

// The protocol. docs/encoders.md describes it byte by byte for those who write a worker
// in another language: the two are changed together. Numbers are in the machine's own
// byte order, as both ends run on it.

// Version is the version of the protocol that is spoken here.
const Version = 1

const (
	magic      = 'A' | 'N'<<8 | 'C'<<16 | 'W'<<24
	maxMessage = 512 // bytes
	headerSize = 16
	configSize = 48
	maxName    = 32
	maxInputs  = 8
	maxText    = maxMessage - headerSize - 8
	maxRegions = 32
	maxKeeps   = 8
	maxSide    = 16384
	maxArea    = 1 << 28 // bytes of the memory for packets
)

// kind is a message's type. An answer has its request's type and the answer bit.
type kind uint32

const (
	hello kind = 1 + iota
	open
	mapping
	unmapping
	encode
	rate
	closing
	refused // only ever an answer

	answer kind = 0x100
)

func (k kind) String() string {
	names := [...]string{"?", "hello", "open", "map", "unmap", "encode", "rate", "close", "error"}
	n, word := k&^answer, "ask"
	if k&answer != 0 {
		word = "answer"
	}
	if int(n) >= len(names) {
		n = 0
	}
	return fmt.Sprintf("%s %s (%#x)", names[n], word, uint32(k))
}

// errProtocol says that the other side broke the protocol.
var errProtocol = errors.New("protocol broken")

// writer builds a message in its own buffer.
type writer struct {
	b   [maxMessage]byte
	len int
}

func (w *writer) begin(k kind, serial uint32) {
	w.len = 0
	w.u32(uint32(k))
	w.u32(0) // the length: see bytes
	w.u32(serial)
	w.u32(0)
}

func (w *writer) u32(v uint32) {
	binary.NativeEndian.PutUint32(w.b[w.len:], v)
	w.len += 4
}

func (w *writer) u64(v uint64) {
	binary.NativeEndian.PutUint64(w.b[w.len:], v)
	w.len += 8
}

// text writes s into a field of n bytes, the rest of which is zero.
func (w *writer) text(s string, n int) {
	f := w.b[w.len : w.len+n]
	clear(f[copy(f, s):])
	w.len += n
}

// bytes gives the message, with its length filled in.
func (w *writer) bytes() []byte {
	binary.NativeEndian.PutUint32(w.b[4:], uint32(w.len))
	return w.b[:w.len]
}

// reader takes a message apart. What is missing reads as zero and shows in end.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.short = nil, true
		return nil
	}
	f := r.b[:n]
	r.b = r.b[n:]
	return f
}

func (r *reader) u32() uint32 {
	if f := r.take(4); f != nil {
		return binary.NativeEndian.Uint32(f)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if f := r.take(8); f != nil {
		return binary.NativeEndian.Uint64(f)
	}
	return 0
}

// text reads a field of n bytes up to its first zero; what is no plain text becomes "?".
func (r *reader) text(n int) string {
	s, _, _ := strings.Cut(string(r.take(n)), "\x00")
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return '?'
		}
		return c
	}, s)
}

// end tells whether the message had exactly the bytes that were read.
func (r *reader) end() bool { return !r.short && len(r.b) == 0 }

// header reads the header of a whole message.
func header(b []byte) (k kind, serial uint32, body reader, err error) {
	r := reader{b: b}
	k = kind(r.u32())
	n, serial, zero := r.u32(), r.u32(), r.u32()
	switch {
	case r.short:
		return k, serial, r, fmt.Errorf("%w: a message of %d bytes, the header alone has %d", errProtocol, len(b), headerSize)
	case len(b) > maxMessage || int64(n) != int64(len(b)):
		return k, serial, r, fmt.Errorf("%w: a message %v of %d bytes that says it has %d", errProtocol, k, len(b), n)
	case zero != 0:
		return k, serial, r, fmt.Errorf("%w: a message %v whose reserved word is %#x", errProtocol, k, zero)
	}
	return k, serial, r, nil
}

// malformed says that a message of a known kind has other bytes than it must have.
func malformed(k kind) error {
	return fmt.Errorf("%w: a message %v with too few or too many bytes, or with values that cannot be", errProtocol, k)
}

// helloAsk is the first message: the versions that the daemon speaks.
type helloAsk struct{ lowest, highest uint32 }

func (m helloAsk) put(w *writer) {
	w.u32(magic)
	w.u32(m.lowest)
	w.u32(m.highest)
	w.u32(0)
}

func (m *helloAsk) get(r *reader) bool {
	first := r.u32()
	m.lowest, m.highest, _ = r.u32(), r.u32(), r.u32()
	return first == magic && r.end()
}

// helloAnswer is what a worker says of itself.
type helloAnswer struct {
	version uint32
	keeps   uint32 // pictures that may be read after their answer
	dmabuf  bool   // can take pictures in DMA buffers
	name    string
	inputs  []media.PixelFormat
}

func (m helloAnswer) put(w *writer) {
	w.u32(magic)
	w.u32(m.version)
	w.u32(m.keeps)
	w.u32(bit(m.dmabuf))
	w.text(m.name, maxName)
	for i := range maxInputs {
		var p media.PixelFormat
		if i < len(m.inputs) {
			p = m.inputs[i]
		}
		w.u32(uint32(p))
	}
}

func (m *helloAnswer) get(r *reader) bool {
	first := r.u32()
	m.version, m.keeps, m.dmabuf, m.name = r.u32(), r.u32(), r.u32()&1 != 0, r.text(maxName)
	m.inputs = nil
	for range maxInputs {
		if p := media.PixelFormat(r.u32()); p != 0 {
			m.inputs = append(m.inputs, p)
		}
	}
	return first == magic && m.keeps <= maxKeeps && m.name != "" && len(m.inputs) > 0 && r.end()
}

// openAsk asks for an encoder. The memory for packets comes with it.
type openAsk struct {
	config hal.VideoConfig
	area   uint32 // bytes of the memory for packets
}

func (m openAsk) put(w *writer) {
	putConfig(w, m.config)
	w.u32(m.area)
	w.u32(0)
}

func (m *openAsk) get(r *reader) bool {
	m.config = getConfig(r)
	m.area = r.u32()
	r.u32()
	return m.area > 0 && m.area <= maxArea && sane(m.config) && r.end()
}

func putConfig(w *writer, c hal.VideoConfig) {
	w.u32(uint32(c.Input.Pixel))
	w.u32(uint32(c.Input.Size.W))
	w.u32(uint32(c.Input.Size.H))
	k := c.Input.Colour
	w.b[w.len], w.b[w.len+1], w.b[w.len+2], w.b[w.len+3] = k.Primaries, k.Transfer, k.Matrix, byte(bit(k.Full))
	w.len += 4
	w.u32(uint32(c.Rate.Num))
	w.u32(uint32(c.Rate.Den))
	w.u32(uint32(c.Bitrate))
	w.u32(uint32(c.MinBitrate))
	w.u32(uint32(c.Threads))
	w.u32(0)
	w.u64(0)
}

func getConfig(r *reader) (c hal.VideoConfig) {
	c.Input.Pixel = media.PixelFormat(r.u32())
	c.Input.Size = media.Size{W: number(r.u32()), H: number(r.u32())}
	if k := r.take(4); k != nil {
		c.Input.Colour = media.Colour{Primaries: k[0], Transfer: k[1], Matrix: k[2], Full: k[3] != 0}
	}
	c.Rate = media.Rate{Num: number(r.u32()), Den: number(r.u32())}
	c.Bitrate, c.MinBitrate, c.Threads = number(r.u32()), number(r.u32()), number(r.u32())
	r.u32()
	r.u64()
	return c
}

// sane tells whether a configuration can be spoken of at all; whether it can be encoded
// is for the encoder to say.
func sane(c hal.VideoConfig) bool {
	s := c.Input.Size
	return s.W > 0 && s.H > 0 && s.W <= maxSide && s.H <= maxSide && c.Rate.Num > 0 && c.Rate.Den > 0 &&
		c.Bitrate > 0 && c.MinBitrate >= 0 && c.Threads >= 0 && c.Threads <= 64
}

// number reads a count: one that is too large to be one is -1.
func number(v uint32) int {
	if v > 1<<31-1 {
		return -1
	}
	return int(v)
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// mapAsk hands over memory that pictures will lie in; its descriptor comes with it.
// unmapping asks for it back with the same bytes.
type mapAsk struct {
	region uint32
	memory media.Memory
	size   uint64
}

func (m mapAsk) put(w *writer) {
	w.u32(m.region)
	w.u32(uint32(m.memory))
	w.u64(m.size)
}

func (m *mapAsk) get(r *reader) bool {
	region, memory := r.u32(), r.u32()
	m.region, m.memory, m.size = region, media.Memory(memory), r.u64()
	return region < maxRegions && (memory == uint32(media.DMABUF) || memory == uint32(media.Memfd)) &&
		m.size > 0 && m.size < 1<<31 && r.end()
}

// place is where a picture lies.
type place struct {
	region         uint32
	offset, stride [3]uint32
}

// encodeAsk asks for a picture to be coded.
type encodeAsk struct {
	picture  uint32
	key      bool
	place    place
	at, room uint32 // where in the memory for packets the packet goes, and how long it may be
	captured media.Time
}

func (m encodeAsk) put(w *writer) {
	w.u32(m.picture)
	w.u32(bit(m.key))
	w.u32(m.place.region)
	w.u32(0)
	for _, v := range m.place.offset {
		w.u32(v)
	}
	for _, v := range m.place.stride {
		w.u32(v)
	}
	w.u32(m.at)
	w.u32(m.room)
	w.u64(uint64(m.captured))
}

func (m *encodeAsk) get(r *reader) bool {
	m.picture, m.key, m.place.region, _ = r.u32(), r.u32()&1 != 0, r.u32(), r.u32()
	for i := range m.place.offset {
		m.place.offset[i] = r.u32()
	}
	for i := range m.place.stride {
		m.place.stride[i] = r.u32()
	}
	m.at, m.room, m.captured = r.u32(), r.u32(), media.Time(r.u64())
	return m.place.region < maxRegions && r.end()
}

// encodeAnswer says what came of it.
type encodeAnswer struct {
	picture uint32 // whose packet it is
	read    uint32 // this picture and all before it are not read any more
	length  uint32 // bytes of the packet; 0 for none
	key     bool   // what the worker thinks
}

func (m encodeAnswer) put(w *writer) {
	w.u32(m.picture)
	w.u32(m.read)
	w.u32(m.length)
	w.u32(bit(m.key))
}

func (m *encodeAnswer) get(r *reader) bool {
	m.picture, m.read, m.length, m.key = r.u32(), r.u32(), r.u32(), r.u32()&1 != 0
	return r.end()
}

// rateAsk asks for another bit rate and frame rate.
type rateAsk struct {
	bitrate int
	rate    media.Rate
}

func (m rateAsk) put(w *writer) {
	w.u32(uint32(m.bitrate))
	w.u32(uint32(m.rate.Num))
	w.u32(uint32(m.rate.Den))
	w.u32(0)
}

func (m *rateAsk) get(r *reader) bool {
	m.bitrate, m.rate.Num, m.rate.Den = number(r.u32()), number(r.u32()), number(r.u32())
	r.u32()
	return m.bitrate > 0 && m.rate.Num >= 0 && m.rate.Den >= 0 && r.end()
}

// The answer to rateAsk is the bit rate that was granted.
func putGranted(w *writer, bitrate int) {
	w.u32(uint32(bitrate))
	w.u32(0)
	w.u64(0)
}

func getGranted(r *reader) (bitrate int, ok bool) {
	bitrate = number(r.u32())
	r.u32()
	r.u64()
	return bitrate, bitrate > 0 && r.end()
}
