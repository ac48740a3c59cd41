package worker

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// cookie is the mark that carries a picture's number through the encoder: packets may come
// later than their pictures. No stage before the encoder is in this process.
const cookie = media.Arrived

// memory is what the daemon lets a worker read pictures from.
type memory struct {
	format  media.Format
	regions [maxRegions]*mapped

	mu     sync.Mutex
	newest uint32
	out    [2 * maxKeeps]uint32 // numbers of pictures that are read; 0 is none
}

// mapped is a region, with a frame for each picture in it: an encoder that imports frames
// knows them again.
type mapped struct {
	memory media.Memory
	fd     int
	bytes  []byte
	frames map[place]*media.Frame
}

// mostFrames is how many pictures one region may have.
const mostFrames = 64

// mapFile maps size bytes of fd. Memory of other processes is not mapped unless it is
// sure to stay as large as it is.
func mapFile(fd int, m media.Memory, size, prot int) ([]byte, error) {
	if fd < 0 {
		return nil, fmt.Errorf("%w: no descriptor came with the message", errProtocol)
	}
	if m == media.Memfd {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, err
		}
		seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		if err != nil || seals&unix.F_SEAL_SHRINK == 0 || st.Size < int64(size) {
			return nil, fmt.Errorf("%w: shared memory of %d bytes, seals %#x, is not fixed at %d", errProtocol, st.Size, seals, size)
		}
	}
	return unix.Mmap(fd, 0, size, prot, unix.MAP_SHARED)
}

func (m *memory) mapRegion(a mapAsk, fd int) error {
	if m.regions[a.region] != nil {
		return fmt.Errorf("%w: region %d is mapped", errProtocol, a.region)
	}
	b, err := mapFile(fd, a.memory, int(a.size), unix.PROT_READ)
	if err != nil {
		return fmt.Errorf("map region %d: %w", a.region, err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = unix.Munmap(b)
		return fmt.Errorf("map region %d: %w", a.region, err)
	}
	m.regions[a.region] = &mapped{memory: a.memory, fd: own, bytes: b, frames: make(map[place]*media.Frame)}
	return nil
}

func (m *memory) unmap(region uint32) error {
	r := m.regions[region]
	if r == nil {
		return fmt.Errorf("%w: region %d is not mapped", errProtocol, region)
	}
	if m.anyOut() {
		return fmt.Errorf("unmap region %d: pictures are being read: %w", region, hal.ErrBusy)
	}
	m.regions[region] = nil
	r.close()
	return nil
}

func (r *mapped) close() {
	_ = unix.Munmap(r.bytes)
	_ = unix.Close(r.fd)
}

// picture gives the frame of which the daemon speaks, lent.
func (m *memory) picture(a encodeAsk) (*media.Frame, error) {
	r := m.regions[a.place.region]
	if r == nil {
		return nil, fmt.Errorf("%w: picture %d in region %d, which is not mapped", errProtocol, a.picture, a.place.region)
	}
	f := r.frames[a.place]
	if f == nil {
		var err error
		if f, err = m.frame(r, a.place); err != nil {
			return nil, err
		}
		r.frames[a.place] = f
	}
	m.mu.Lock()
	slot := &m.out[a.picture%uint32(len(m.out))]
	bad := a.picture != m.newest+1 || *slot != 0 || m.holds(uint32(f.Marks[cookie]))
	if !bad {
		m.newest, *slot = a.picture, a.picture
	}
	m.mu.Unlock()
	if bad {
		return nil, fmt.Errorf("%w: picture %d comes out of turn, or where another is still read", errProtocol, a.picture)
	}
	f.Turn, f.Seq, f.Marks = media.Turn{}, a.picture, media.Marks{media.Captured: a.captured, cookie: media.Time(a.picture)}
	return f.Lend(), nil
}

// holds tells whether the picture is read now; mu is held.
func (m *memory) holds(picture uint32) bool {
	return picture != 0 && m.out[picture%uint32(len(m.out))] == picture
}

// frame makes a frame at a place, all of which lies in the region.
func (m *memory) frame(r *mapped, at place) (*media.Frame, error) {
	if len(r.frames) >= mostFrames {
		clear(r.frames) // a place that changes all the time; who still has one keeps it
	}
	f := media.NewFrame(m.back)
	f.Format, f.Memory, f.FD, f.Offset = m.format, r.memory, r.fd, int(at.offset[0])
	for i, n := range planes(m.format) {
		if n.W == 0 {
			continue
		}
		offset, stride := uint64(at.offset[i]), uint64(at.stride[i])
		size := stride*uint64(n.H-1) + uint64(n.W)
		if stride < uint64(n.W) || stride > 1<<20 || offset+size > uint64(len(r.bytes)) || offset < uint64(at.offset[0]) {
			return nil, fmt.Errorf("%w: plane %d at %d with lines of %d does not lie in its %d bytes", errProtocol, i, offset, stride, len(r.bytes))
		}
		end := min(offset+stride*uint64(n.H), uint64(len(r.bytes)))
		f.Planes[i], f.Stride[i] = r.bytes[offset:end:end], int(stride)
	}
	return f, nil
}

// back notes that a picture is read no more. Hardware may say so at any time.
func (m *memory) back(f *media.Frame) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := uint32(f.Marks[cookie])
	m.out[n%uint32(len(m.out))] = 0
}

// read gives the newest picture that is read no more, and none before it either.
func (m *memory) read() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	read := m.newest
	for _, n := range m.out {
		if n != 0 && int32(n-1-read) < 0 {
			read = n - 1
		}
	}
	return read
}

func (m *memory) anyOut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.out {
		if n != 0 {
			return true
		}
	}
	return false
}

// sync tells the kernel that the processor begins or ends to read a DMA buffer
// (https://docs.kernel.org/driver-api/dma-buf.html, "CPU Access to DMA Buffer Objects").
func (m *memory) sync(f *media.Frame, begin bool) {
	if f.Memory != media.DMABUF {
		return
	}
	const (
		request = 1<<30 | 8<<16 | 'b'<<8 // DMA_BUF_IOCTL_SYNC
		read    = 1
		end     = 4
	)
	flags := uint64(read)
	if !begin {
		flags |= end
	}
	// Memory that has no caches to care for refuses it.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(f.FD), request, uintptr(unsafe.Pointer(&flags)))
}

// close gives all regions back. Encoders that read from them are closed already.
func (m *memory) close() {
	for i, r := range m.regions {
		if r != nil {
			r.close()
			m.regions[i] = nil
		}
	}
}
