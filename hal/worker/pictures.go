package worker

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// pictures knows what memory the worker has mapped, so that a picture which lies there
// is named and not copied. One that lies elsewhere is copied into memory that is shared.
type pictures struct {
	format  media.Format
	dmabuf  bool // the worker can take DMA buffers
	regions [maxRegions]*region
	known   map[*media.Frame]*region
	own     *media.Pool[*media.Frame] // for copies; nil until one is needed
	keeps   int
	copied  uint64
}

// region is memory that the worker has mapped. What the file is, and not its number,
// tells one from another: numbers are used again.
type region struct {
	id       uint32
	memory   media.Memory
	dev, ino uint64
	size     int
	used     uint32 // the newest picture in it
}

// staleAfter is how many pictures must have passed for a region in which none of them
// was to be given back: that of a camera which was unplugged, for instance.
const staleAfter = 64

func newPictures(f media.Format, h helloAnswer) *pictures {
	return &pictures{format: f, dmabuf: h.dmabuf, keeps: int(h.keeps), known: make(map[*media.Frame]*region)}
}

// place gives the frame in which the worker will find picture f, with one reference for
// the worker, and where in it; it has the region mapped if it is new, by ask.
func (p *pictures) place(f *media.Frame, picture uint32, ask func(k kind, m mapAsk, fd int) error) (*media.Frame, place, error) {
	if f.Memory == media.Memfd || f.Memory == media.DMABUF && p.dmabuf {
		r, err := p.region(f, picture, ask)
		if err != nil {
			return nil, place{}, err
		}
		if at, ok := r.find(f); ok {
			r.used = picture
			return f.Retain(), at, nil
		}
	}
	g, err := p.copy(f)
	if err != nil {
		return nil, place{}, err
	}
	r, err := p.region(g, picture, ask)
	if err == nil {
		if at, ok := r.find(g); ok {
			r.used = picture
			return g, at, nil
		}
		err = fmt.Errorf("hand picture over: it does not fit into the shared memory: %w", hal.ErrUnsupported)
	}
	g.Release()
	return nil, place{}, err
}

// region gives the mapped memory in which f lies; nil when the worker cannot take it.
func (p *pictures) region(f *media.Frame, picture uint32, ask func(kind, mapAsk, int) error) (*region, error) {
	if r, ok := p.known[f]; ok {
		return r, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.FD, &st); err != nil {
		return nil, fmt.Errorf("look at a picture's memory: %w", err)
	}
	free := -1
	for i, r := range p.regions {
		switch {
		case r == nil:
			free = i
		case r.dev == uint64(st.Dev) && r.ino == st.Ino && r.memory == f.Memory:
			p.known[f] = r
			return r, nil
		}
	}
	if free < 0 {
		var err error
		if free, err = p.evict(ask); err != nil {
			return nil, err
		}
	}
	r := &region{id: uint32(free), memory: f.Memory, dev: uint64(st.Dev), ino: st.Ino, size: int(st.Size), used: picture}
	if f.Memory == media.DMABUF {
		n, err := unix.Seek(f.FD, 0, unix.SEEK_END) // https://docs.kernel.org/driver-api/dma-buf.html, "Basic Operation and Device DMA Access"
		if err != nil || n <= 0 || n > 1<<31-1 {
			n = 0 // its size cannot be told: copy
		}
		r.size = int(n)
	}
	if r.size == 0 {
		p.known[f] = nil
		return nil, nil
	}
	err := ask(mapping, mapAsk{region: r.id, memory: r.memory, size: uint64(r.size)}, f.FD)
	switch {
	case err == nil:
		p.regions[free], p.known[f] = r, r
		return r, nil
	case refusedBy(err) && f.Memory == media.DMABUF:
		p.known[f] = nil // it can take DMA buffers, but not this one
		return nil, nil
	}
	return nil, err
}

// find tells where f lies in the region.
func (r *region) find(f *media.Frame) (place, bool) {
	if r == nil {
		return place{}, false
	}
	at := place{region: r.id}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(f.Planes[0])))
	for i, b := range f.Planes {
		if len(b) == 0 {
			continue
		}
		here := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
		if here < start || f.Offset < 0 || here-start > uintptr(r.size) {
			return place{}, false
		}
		offset := f.Offset + int(here-start)
		if offset > r.size || len(b) > r.size-offset {
			return place{}, false
		}
		at.offset[i], at.stride[i] = uint32(offset), uint32(f.Stride[i])
	}
	return at, true
}

// copy gives a picture like f in memory of our own.
func (p *pictures) copy(f *media.Frame) (*media.Frame, error) {
	if p.own == nil {
		var err error
		if p.own, err = media.NewSharedFrames(p.format, p.keeps+1); err != nil {
			return nil, err
		}
	}
	g := p.own.Get()
	if g == nil {
		return nil, fmt.Errorf("%w: the worker reads more than %d pictures at a time", errProtocol, p.keeps)
	}
	p.copied++
	for i, to := range g.Planes {
		from := f.Planes[i]
		if f.Stride[i] == g.Stride[i] {
			copy(to, from)
			continue
		}
		line := min(f.Stride[i], g.Stride[i])
		for len(to) > 0 && len(from) > 0 {
			copy(to, from[:min(line, len(from))])
			to, from = to[min(g.Stride[i], len(to)):], from[min(f.Stride[i], len(from)):]
		}
	}
	g.Seq, g.Marks = f.Seq, f.Marks
	return g, nil
}

// tidy gives back the regions that were not used for long.
func (p *pictures) tidy(picture uint32, ask func(kind, mapAsk, int) error) error {
	if picture%staleAfter != 0 {
		return nil
	}
	for f, r := range p.known {
		if r == nil {
			delete(p.known, f) // asked anew when it comes again
		}
	}
	for _, r := range p.regions {
		if r != nil && picture-r.used > staleAfter {
			if err := p.drop(r, ask); err != nil {
				return err
			}
		}
	}
	return nil
}

// evict gives back the region that was not used for the longest time.
func (p *pictures) evict(ask func(kind, mapAsk, int) error) (free int, err error) {
	oldest := p.regions[0]
	for _, r := range p.regions {
		if int32(r.used-oldest.used) < 0 {
			oldest = r
		}
	}
	return int(oldest.id), p.drop(oldest, ask)
}

func (p *pictures) drop(r *region, ask func(kind, mapAsk, int) error) error {
	for f, of := range p.known {
		if of == r {
			delete(p.known, f)
		}
	}
	p.regions[r.id] = nil
	return ask(unmapping, mapAsk{region: r.id, memory: r.memory, size: uint64(r.size)}, -1)
}

func (p *pictures) close() {
	if p.own != nil {
		p.own.Close()
	}
	clear(p.known)
}
