package v4l2

import (
	"os"
	"unsafe"

	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"
)

// kernel is what is asked of the kernel by path, and node what is asked of it about an
// opened device: one method for each request, so that tests can script a driver.
type kernel interface {
	stat(path string) (rdev uint64, err error)
	open(path string) (node, error)
}

type node interface {
	rdev() (uint64, error)
	capability() (v4l.Capability, error)
	alive() bool // false once the driver says that the device is gone

	format(i uint32) (v4l.FormatDescription, error)
	size(i, pixel uint32) (v4l.FrameSizeEnum, error)
	interval(*frameInterval) error
	pixFormat() (v4l.PixFormat, error)
	setPixFormat(v4l.PixFormat) error
	param() (v4l.StreamParam, error)
	setParam(v4l.StreamParam) error

	request(n uint32) (uint32, error) // 0 gives all back
	query(*buffer) error
	mmap(offset int64, n int) ([]byte, error)
	munmap([]byte) error
	stream(on bool) error
	queue(*buffer) unix.Errno
	dequeue(*buffer) unix.Errno // never waits: EAGAIN

	// file gives the descriptor to the runtime's poller. It is not called
	// before the stream runs: the poller takes the error state that an idle node
	// shows for the lasting one of a file that cannot be polled.
	file() *os.File
	close() error
}

// linux is the real kernel.
type linux struct{}

func (linux) stat(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return char(&st)
}

func char(st *unix.Stat_t) (uint64, error) {
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return 0, unix.ENOTTY
	}
	return uint64(st.Rdev), nil
}

func (linux) open(path string) (node, error) {
	fd, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return &fdNode{fd: fd, path: path}, nil
}

func openFile(path string) (fd int, err error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// fdNode is an opened device.
type fdNode struct {
	fd   int
	path string
	f    *os.File
}

func (n *fdNode) rdev() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(n.fd, &st); err != nil {
		return 0, err
	}
	return char(&st)
}

func (n *fdNode) capability() (v4l.Capability, error) { return v4l.GetCapability(uintptr(n.fd)) }

func (n *fdNode) alive() bool {
	var c capability
	e := n.ioctl(vidiocQueryCap, unsafe.Pointer(&c))
	return e != errno(unix.ENODEV) && e != errno(unix.ENXIO)
}

func (n *fdNode) format(i uint32) (v4l.FormatDescription, error) {
	return v4l.GetFormatDescription(uintptr(n.fd), i)
}

func (n *fdNode) size(i, pixel uint32) (v4l.FrameSizeEnum, error) {
	return v4l.GetFormatFrameSize(uintptr(n.fd), i, pixel)
}

func (n *fdNode) interval(v *frameInterval) error {
	return n.ioctl(vidiocEnumIvals, unsafe.Pointer(v)).orNil()
}

func (n *fdNode) pixFormat() (v4l.PixFormat, error) { return v4l.GetPixFormat(uintptr(n.fd)) }

func (n *fdNode) setPixFormat(f v4l.PixFormat) error { return v4l.SetPixFormat(uintptr(n.fd), f) }

func (n *fdNode) param() (v4l.StreamParam, error) {
	return v4l.GetStreamParam(uintptr(n.fd), v4l.BufTypeVideoCapture)
}

func (n *fdNode) setParam(p v4l.StreamParam) error {
	return v4l.SetStreamParam(uintptr(n.fd), v4l.BufTypeVideoCapture, p)
}

func (n *fdNode) request(count uint32) (uint32, error) {
	r := requestBuffers{count: count, typ: v4l.BufTypeVideoCapture, memory: v4l.IOTypeMMAP}
	if e := n.ioctl(vidiocReqBufs, unsafe.Pointer(&r)); e != 0 {
		return 0, unix.Errno(e)
	}
	return r.count, nil
}

func (n *fdNode) query(b *buffer) error { return n.ioctl(vidiocQueryBuf, unsafe.Pointer(b)).orNil() }

// Mapped for writing too, although nobody writes: older drivers refuse otherwise.
func (n *fdNode) mmap(offset int64, size int) ([]byte, error) {
	return unix.Mmap(n.fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (n *fdNode) munmap(b []byte) error { return unix.Munmap(b) }

func (n *fdNode) stream(on bool) error {
	typ, req := int32(v4l.BufTypeVideoCapture), uint(vidiocStreamOff)
	if on {
		req = vidiocStreamOn
	}
	return n.ioctl(req, unsafe.Pointer(&typ)).orNil()
}

// queue and dequeue are made raw: they come with every frame and do not wait, and the
// ordinary system call path wakes the runtime's monitor thread each time, which costs
// more than the call.
func (n *fdNode) queue(b *buffer) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(n.fd), uintptr(vidiocQBuf), uintptr(unsafe.Pointer(b)))
	return e
}

func (n *fdNode) dequeue(b *buffer) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(n.fd), uintptr(vidiocDQBuf), uintptr(unsafe.Pointer(b)))
	return e
}

func (n *fdNode) file() *os.File {
	if n.f == nil {
		n.f = os.NewFile(uintptr(n.fd), n.path)
	}
	return n.f
}

func (n *fdNode) close() error {
	if n.f != nil {
		return n.f.Close()
	}
	return unix.Close(n.fd)
}

type errno unix.Errno

// orNil gives an error that is nil when there was none.
func (e errno) orNil() error {
	if e == 0 {
		return nil
	}
	return unix.Errno(e)
}

func (n *fdNode) ioctl(req uint, arg unsafe.Pointer) errno {
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), uintptr(req), uintptr(arg))
		if e != unix.EINTR {
			return errno(e)
		}
	}
}
