package media

import (
	"sync/atomic"
)

// Memory says where a frame's bytes are, so that an encoder can import them without
// a copy.
type Memory uint8

// Kinds of memory.
const (
	Bytes  Memory = iota // ordinary memory (or a mapping) of this process
	DMABUF               // FD is a DMA buffer, Planes map it
	Memfd                // FD is a memfd, Planes map it
)

// count is a reference count. Whoever gets a counted thing owns one reference and
// releases it once.
type count struct{ n atomic.Int32 }

func (c *count) retain() {
	if c.n.Add(1) <= 1 {
		panic("media: retained after its last release")
	}
}

// release tells whether it was the last one.
func (c *count) release() bool {
	switch n := c.n.Add(-1); {
	case n == 0:
		return true
	case n < 0:
		panic("media: released twice")
	}
	return false
}

// Frame is one picture with a count of its readers. Its bytes are read-only and dead
// after the last Release, which gives the memory back to its owner (a driver's
// buffer, a Pool).
type Frame struct {
	Format
	Planes [3][]byte // YU12: Y, U, V; NV12: Y, UV; YUYV, MJPG, H264: one
	Stride [3]int    // bytes from one line to the next; 0 for compressed formats
	Turn   Turn      // what is still owed before the picture is upright
	Seq    uint32    // the device's own count; a gap is a frame that was lost before us
	Marks  Marks

	// Where the bytes are. It stays the same as long as the Frame exists, so that who
	// imported it once knows it again by the Frame's address.
	Memory Memory
	FD     int // valid with DMABUF and Memfd, owned by the frame's owner
	Offset int // of Planes[0] in FD; the others lie as far behind it as in memory

	count
	free func(*Frame)
}

// NewFrame makes a frame without references that gives itself to free after its last
// Release. Its owner fills it and calls Lend each time it hands it out.
func NewFrame(free func(*Frame)) *Frame { return &Frame{free: free, FD: -1} }

// Lend hands the frame out with one reference. The frame must be at home.
func (f *Frame) Lend() *Frame {
	if !f.n.CompareAndSwap(0, 1) {
		panic("media: lent while out")
	}
	return f
}

// Retain adds a reference for one more reader.
func (f *Frame) Retain() *Frame { f.retain(); return f }

// Release gives one reference back; a second release of the same reference panics.
func (f *Frame) Release() {
	if f.release() && f.free != nil {
		f.free(f)
	}
}

// Packet is one coded access unit or one coded block of sound, with a count of its
// readers. Its bytes are read-only and dead after the last Release.
type Packet struct {
	// Data is H.264 Annex B, in which a key picture has its parameter sets in front in
	// the same slice, or one Opus packet (RFC 6716).
	Data    []byte
	Key     bool  // decoding can start here; true for sound
	Turn    Turn  // what the receiver has to do, sent as CVO (3GPP TS 26.114 7.4.5)
	Size    Size  // of the coded picture; zero for sound
	Samples int   // length of a block of sound at 48 kHz; 0 for pictures
	Level   uint8 // sound: -dBov, 0 loudest to 127 silence (RFC 6464)
	Voice   bool  // sound: speech likely (RFC 6464)
	Marks   Marks

	count
	free func(*Packet)
}

// NewPacket makes a packet without references that gives itself to free after its
// last Release.
func NewPacket(free func(*Packet)) *Packet { return &Packet{free: free} }

// Lend hands the packet out with one reference. The packet must be at home.
func (p *Packet) Lend() *Packet {
	if !p.n.CompareAndSwap(0, 1) {
		panic("media: lent while out")
	}
	return p
}

// Retain adds a reference for one more reader.
func (p *Packet) Retain() *Packet { p.retain(); return p }

// Release gives one reference back; a second release of the same reference panics.
func (p *Packet) Release() {
	if p.release() && p.free != nil {
		p.free(p)
	}
}

// Sound is one block of interleaved 16-bit samples with a count of its readers.
type Sound struct {
	PCM      []int16 // len = samples per channel × Channels
	Rate     int     // samples a second
	Channels int     // 1 or 2
	Marks    Marks   // Captured is the time of the first sample
	Silent   bool    // every sample is zero, as a muted or dead microphone gives

	count
	free func(*Sound)
}

// NewSound makes a block without references that gives itself to free after its last
// Release.
func NewSound(free func(*Sound)) *Sound { return &Sound{free: free} }

// Lend hands the block out with one reference. The block must be at home.
func (s *Sound) Lend() *Sound {
	if !s.n.CompareAndSwap(0, 1) {
		panic("media: lent while out")
	}
	return s
}

// Retain adds a reference for one more reader.
func (s *Sound) Retain() *Sound { s.retain(); return s }

// Release gives one reference back; a second release of the same reference panics.
func (s *Sound) Release() {
	if s.release() && s.free != nil {
		s.free(s)
	}
}
