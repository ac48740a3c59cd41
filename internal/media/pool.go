package media

import "sync"

// item is what a pool keeps: a counted thing of one of the three kinds.
type item interface{ *Frame | *Packet | *Sound }

// Pool lends a bounded number of counted things. Get never blocks and never makes
// more than the bound: a reader that keeps what it got makes its own supply run dry,
// not the machine's memory. A Pool is safe for use by many goroutines.
type Pool[T item] struct {
	mu   sync.Mutex
	home []T
	made int
	max  int
	make func(free func(T)) T
	back func(T)

	closed bool
	end    func() // gives the memory back, if that is for somebody to do
}

// NewFrames makes a pool of at most max raw pictures of one format (YU12 or NV12),
// each in one piece of memory with lines aligned to 64 bytes.
func NewFrames(f Format, max int) *Pool[*Frame] {
	return newPool(max, func(free func(*Frame)) *Frame {
		p := NewFrame(free)
		Layout(p, f)
		return p
	})
}

// NewPackets makes a pool of at most max packets whose Data has room for size bytes;
// a packet that was grown by its user keeps its room.
func NewPackets(size, max int) *Pool[*Packet] {
	return newPool(max, func(free func(*Packet)) *Packet {
		p := NewPacket(free)
		p.Data = make([]byte, 0, size)
		return p
	})
}

// NewSounds makes a pool of at most max blocks of n samples for all channels together.
func NewSounds(n, max int) *Pool[*Sound] {
	return newPool(max, func(free func(*Sound)) *Sound {
		s := NewSound(free)
		s.PCM = make([]int16, n)
		return s
	})
}

func newPool[T item](max int, mk func(free func(T)) T) *Pool[T] {
	p := &Pool[T]{max: max, make: mk, home: make([]T, 0, max)}
	p.back = p.put
	return p
}

// Get gives a lent thing, or nil when all are out or the pool is closed. What it carries from its last use
// (marks, turn, flags) is cleared, its memory is not.
func (p *Pool[T]) Get() T {
	p.mu.Lock()
	defer p.mu.Unlock()
	var t T
	switch n := len(p.home); {
	case p.closed:
		return nil
	case n > 0:
		t, p.home = p.home[n-1], p.home[:n-1]
	case p.made < p.max:
		p.made++
		t = p.make(p.back)
	default:
		return nil
	}
	switch v := any(t).(type) {
	case *Frame:
		v.Turn, v.Seq, v.Marks = Turn{}, 0, Marks{}
		v.Lend()
	case *Packet:
		*v = Packet{Data: v.Data[:0], free: v.free}
		v.Lend()
	case *Sound:
		v.PCM, v.Marks, v.Silent = v.PCM[:cap(v.PCM)], Marks{}, false
		v.Lend()
	}
	return t
}

// Out is how many are lent now: 0 once every reader has released.
func (p *Pool[T]) Out() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made - len(p.home)
}

// Close says that nobody will ask for more: the pool's memory is given back when the last
// that is out comes home. Only pools of shared memory need it. A second Close does nothing.
func (p *Pool[T]) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.finish()
}

// finish gives the memory back if the pool is closed and all are home; mu is held.
func (p *Pool[T]) finish() {
	if p.closed && p.end != nil && len(p.home) == p.made {
		p.end()
		p.end = nil
	}
}

func (p *Pool[T]) put(t T) {
	p.mu.Lock()
	p.home = append(p.home, t)
	p.finish()
	p.mu.Unlock()
}

// Layout gives f memory of its own for one picture of format m (YU12 or NV12), with
// lines aligned to 64 bytes for the SIMD code that reads them. Other formats get no
// planes.
func Layout(f *Frame, m Format) {
	f.lay(m, make([]byte, f.shape(m)))
}

// lay puts the planes of format m one after another into b, which has shape's size.
func (f *Frame) lay(m Format, b []byte) {
	f.shape(m)
	c := (m.Size.H + 1) / 2
	for i, k := range [3]int{f.Stride[0] * m.Size.H, f.Stride[1] * c, f.Stride[2] * c} {
		if k > 0 {
			f.Planes[i], b = b[:k:k], b[k:]
		}
	}
}

// shape gives f the format and its strides, no planes, and tells how many bytes all of
// them need: 0 for formats that have no planes of a fixed size.
func (f *Frame) shape(m Format) int {
	f.Format = m
	f.Planes, f.Stride = [3][]byte{}, [3]int{}
	y := align(m.Size.W)
	switch m.Pixel {
	case YU12:
		f.Stride = [3]int{y, align((m.Size.W + 1) / 2), align((m.Size.W + 1) / 2)}
	case NV12:
		f.Stride = [3]int{y, align((m.Size.W + 1) &^ 1)}
	}
	return f.Stride[0]*m.Size.H + (f.Stride[1]+f.Stride[2])*((m.Size.H+1)/2)
}

func align(n int) int { return (n + 63) &^ 63 }
