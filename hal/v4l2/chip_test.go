package v4l2

import (
	"sync"

	"golang.org/x/sys/unix"

	"anchord/internal/media"
)

// chip is a scripted encoder, and the driver in front of it. Its fields are its ways, and
// may be changed between two pictures.
type chip struct {
	mu    sync.Mutex
	woken *sync.Cond

	driver   string
	fourcc   uint32
	raws     []uint32
	align    int // of sizes
	stride   int // alignment of lines
	cropless bool
	least    int              // buffers for pictures
	most     int              // buffers that it grants, if not 0
	gives    uint32           // bytes of a stream buffer, whatever is asked for, if not 0
	lacks    map[uint32]bool  // controls that it does not have
	noDMA    bool             // refuses DMA buffers when they are asked for
	farDMA   bool             // or when they are queued
	fails    map[string]error // what a request of that name fails with
	hangs    map[string]bool  // requests that never return
	release  chan struct{}    // closed when they do
	minLevel int              // index in the level menu, or STREAMON fails
	holds    int              // pictures that it keeps back
	holdsRaw bool             // together with their buffers
	skips    int              // each so many-th picture gets no answer
	shy      int              // pictures that get no answer, from now on
	stuck    bool             // takes pictures and does nothing
	broken   int              // pictures that come back damaged, from now on
	garbage  bool             // begins with a buffer that nobody filled
	apart    bool             // parameter sets come in a buffer of their own
	once     bool             // and only at the stream's beginning
	mangles  bool             // time stamps
	deaf     bool             // reads the bit rate when it is opened
	liar     int              // keeps this bit rate whatever it is told
	busyRate bool             // takes no bit rate while it streams
	keyless  map[string]bool  // ways that give no key picture: "control", "restart"
	endless  bool             // a drain has no end
	ends     int              // it ends its stream by itself after so many pictures, once
	split    int              // bytes above which a picture comes in two pieces
	canned   []byte           // what it makes of each picture but key pictures
	opens    int
	open     int
	calls    map[string]int
	imported int
}

func newChip() *chip {
	c := &chip{driver: "fake-enc", fourcc: uint32(media.H264), raws: []uint32{uint32(media.NV12), uint32(media.YU12)}, align: 16, stride: 32,
		lacks: map[uint32]bool{}, fails: map[string]error{}, hangs: map[string]bool{}, keyless: map[string]bool{}, calls: map[string]int{},
		release: make(chan struct{})}
	c.woken = sync.NewCond(&c.mu)
	return c
}

// set changes the chip's ways.
func (c *chip) set(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	c.woken.Broadcast()
}

func (c *chip) get(f func() int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f()
}

// seat is one opening of the chip: a coder.
type seat struct {
	*chip
	formats  [2]picFormat
	num, den uint32
	area     rect
	controls map[uint32]int32
	bufs     [2][][]byte
	memory   [2]uint32
	queued   [2][]parcel // in the driver
	done     [2][]parcel
	waiting  []parcel // pictures that the chip has
	on       [2]bool
	started  bool // the stream has begun
	keyNext  bool
	pictures int
	told     int // bit rate that it works with
	credit   int // bits that it owes after a key picture
	drains   bool
	over     bool // gave its last buffer
	number   uint32
	mapped   int
	closed   bool
}

func (c *chip) openSeat(string) (coder, error) {
	if err := c.call("open"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opens++
	c.open++
	return &seat{chip: c, controls: map[uint32]int32{cidBitrate: 2e6, cidLevel: 11, cidGOPSize: 30}}, nil
}

// call counts a request, and fails or hangs in it as it is told.
func (c *chip) call(name string) error {
	c.mu.Lock()
	c.calls[name]++
	hangs, err := c.hangs[name], c.fails[name]
	c.mu.Unlock()
	if hangs {
		<-c.release
		return unix.EIO
	}
	return err
}

func (s *seat) rdev() (uint64, error) { return unix.Mkdev(videoMajor, 0), nil }

func (s *seat) capability() (capability, error) {
	k := capability{caps: capDeviceCaps, device: capM2M | capStreaming}
	copy(k.driver[:], s.driver)
	copy(k.card[:], "Fake Encoder")
	return k, s.call("capability")
}

func (s *seat) enumerate(side side, i uint32) (formatDesc, error) {
	list := s.raws
	if side == codedSide {
		list = []uint32{s.fourcc}
	}
	if int(i) >= len(list) {
		return formatDesc{}, unix.EINVAL
	}
	return formatDesc{pixel: list[i]}, s.call("enumerate")
}

func (s *seat) sizes(uint32) (frameSizes, error) { return frameSizes{}, unix.ENOTTY }

func (s *seat) format(side side) (picFormat, error) { return s.formats[side], s.call("format") }

func (s *seat) setFormat(side side, f picFormat) (picFormat, error) {
	if err := s.call("setFormat"); err != nil {
		return f, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if side == codedSide {
		f.pixel = s.fourcc
		if s.gives > 0 {
			f.size[0] = s.gives
		}
		f.stride, f.planes = [3]uint32{}, 1
		s.formats[side] = f
		return f, nil
	}
	up := func(n, to int) uint32 { return uint32((n + to - 1) / to * to) }
	f.width, f.height = up(int(f.width), s.align), up(int(f.height), s.align)
	f.stride[0] = max(f.stride[0], up(int(f.width), s.stride))
	luma := f.stride[0] * f.height
	switch f.pixel {
	case fourccNM12:
		f.planes, f.stride, f.size = 2, [3]uint32{f.stride[0], f.stride[0]}, [3]uint32{luma, luma / 2}
	case fourccYM12:
		f.planes, f.stride, f.size = 3, [3]uint32{f.stride[0], f.stride[0] / 2, f.stride[0] / 2}, [3]uint32{luma, luma / 4, luma / 4}
	default:
		f.planes, f.stride, f.size = 1, [3]uint32{f.stride[0]}, [3]uint32{luma * 3 / 2}
	}
	s.formats[side] = f
	s.area = rect{width: f.width, height: f.height}
	return f, nil
}

func (s *seat) setInterval(num, den uint32) (uint32, uint32, error) {
	if err := s.call("setInterval"); err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.num, s.den = num, den
	return num, den, nil
}

func (s *seat) crop(r rect) (rect, error) {
	if s.cropless {
		return rect{}, unix.ENOTTY
	}
	s.area = r
	return r, s.call("crop")
}

func (s *seat) control(id uint32) (int32, error) {
	if id == cidMinBuffersForOutput && s.least > 0 {
		return int32(s.least), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.controls[id]; ok && !s.lacks[id] {
		return v, nil
	}
	return 0, unix.EINVAL
}

func (s *seat) controlRange(id uint32) (controlRange, error) {
	if s.lacks[id] {
		return controlRange{}, unix.EINVAL
	}
	r := controlRange{id: id, min: 0, max: 1 << 30, step: 1}
	switch id {
	case cidLevel:
		r.max = 16
	case cidBitrate:
		r.min, r.max, r.step = 16000, 25e6, 1000
	case cidGOPSize:
		r.max = 600
	}
	return r, nil
}

func (s *seat) setControl(id uint32, v int32) error {
	if err := s.call("setControl"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lacks[id]:
		return unix.EINVAL
	case id == cidBitrate && s.busyRate && s.on[codedSide]:
		return unix.EBUSY
	case id == cidForceKey:
		s.keyNext = s.keyNext || !s.keyless["control"]
	}
	s.controls[id] = v
	return nil
}

func (s *seat) request(side side, memory, n uint32) (uint32, error) {
	if n > 0 {
		if err := s.call("request"); err != nil {
			return 0, err
		}
		if memory == memoryDMABUF && s.noDMA {
			return 0, unix.EINVAL
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 {
		n = min(n, uint32(s.most))
	}
	s.memory[side] = memory
	s.bufs[side] = nil
	if memory == memoryMMAP {
		for range n * uint32(s.formats[side].planes) {
			k := len(s.bufs[side]) % s.formats[side].planes
			s.bufs[side] = append(s.bufs[side], make([]byte, s.formats[side].size[k]))
		}
	}
	return n, nil
}

func (s *seat) query(p *parcel) error {
	n := s.formats[p.side].planes
	p.planes = n
	for k := range n {
		at := int(p.index)*n + k
		p.length[k], p.offset[k] = uint32(len(s.bufs[p.side][at])), uint32(p.side)<<20|uint32(at)<<12
	}
	return s.call("query")
}

func (s *seat) export(side, uint32, uint32) (int, error) { return -1, unix.ENOTTY }

func (s *seat) mmap(offset int64, n int) ([]byte, error) {
	if err := s.call("mmap"); err != nil {
		return nil, err
	}
	s.mapped++
	return s.bufs[offset>>20][offset>>12&0xff][:n], nil
}

func (s *seat) munmap([]byte) error { s.mapped--; return nil }

func (s *seat) close() error {
	err := s.call("close")
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.chip.open--
	}
	return err
}
