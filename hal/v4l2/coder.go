package v4l2

import (
	"bytes"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// side is one of the two queues of a memory-to-memory device.
type side uint8

const (
	rawSide   side = iota // takes pictures: OUTPUT in the kernel's words
	codedSide             // gives the stream: CAPTURE
)

// picFormat is a queue's format, single- or multi-planar.
type picFormat struct {
	pixel                   uint32
	width, height           uint32
	space, xfer, enc, quant uint32
	planes                  int // pieces of memory
	stride, size            [maxPlanes]uint32
}

// parcel is a buffer on its way into a queue or out of it.
type parcel struct {
	side   side
	memory uint32
	index  uint32
	flags  uint32
	stamp  int64 // microseconds; the driver copies it from a picture to what it makes of it
	planes int
	used   [maxPlanes]uint32 // bytes
	length [maxPlanes]uint32
	skip   uint32            // bytes in front of the data, within used
	offset [maxPlanes]uint32 // to map at, from query
	fd     [maxPlanes]int32  // with memoryDMABUF
}

// coder is what is asked of an opened memory-to-memory device, with what differs between
// the single- and the multi-planar interface levelled: one method a request, so that tests
// can script a driver. None of them can be trusted to return.
type coder interface {
	rdev() (uint64, error)
	capability() (capability, error)
	enumerate(s side, i uint32) (formatDesc, error)
	sizes(pixel uint32) (frameSizes, error)

	format(s side) (picFormat, error)
	setFormat(s side, f picFormat) (picFormat, error)
	setInterval(num, den uint32) (uint32, uint32, error) // seconds a picture
	crop(r rect) (rect, error)                           // gives what is granted

	control(id uint32) (int32, error)
	controlRange(id uint32) (controlRange, error)
	setControl(id uint32, v int32) error

	request(s side, memory, n uint32) (uint32, error) // 0 gives all back
	query(p *parcel) error
	export(s side, index, plane uint32) (fd int, err error)
	mmap(offset int64, n int) ([]byte, error)
	munmap(b []byte) error
	stream(s side, on bool) error
	command(cmd uint32) error

	queue(p *parcel) unix.Errno
	dequeue(p *parcel) unix.Errno                         // never waits: EAGAIN
	poll(events int16, wait time.Duration) (int16, error) // 0 when the time is up
	close() error
}

// openCoder opens a node. Its file is never given to the runtime's poller: poll takes the
// driver's lock (v4l2_m2m_fop_poll), which a hung driver keeps, so that epoll, and with
// it every file and socket of this process, would hang too.
func openCoder(path string) (coder, error) {
	fd, err := openFile(path)
	if err != nil {
		return nil, err
	}
	c := &fdCoder{fdNode: fdNode{fd: fd, path: path}}
	c.pin.Pin(&c.piece[0])
	return c, nil
}

// fdCoder is an opened device.
type fdCoder struct {
	fdNode
	multi bool // multi-planar

	// Arguments of the requests that come with each picture.
	buf   buffer
	piece [maxPlanes]plane
	pin   runtime.Pinner // buf holds piece's address as a number
	wait  [1]unix.PollFd
	until unix.Timespec
}

// capability also finds out which interface the device has. The single-planar one is taken
// where there are both: it is the older.
func (c *fdCoder) capability() (capability, error) {
	var k capability
	if e := c.ioctl(vidiocQueryCap, unsafe.Pointer(&k)); e != 0 {
		return k, unix.Errno(e)
	}
	c.multi = !singlePlanar(k.abilities())
	return k, nil
}

// abilities gives the capabilities of the node and not of the whole device.
func (k capability) abilities() uint32 {
	if k.caps&capDeviceCaps != 0 {
		return k.device
	}
	return k.caps
}

// Devices older than the memory-to-memory flags have both sides instead.
func singlePlanar(caps uint32) bool {
	return caps&capM2M != 0 || caps&(capCapture|capOutput) == capCapture|capOutput
}

func multiPlanar(caps uint32) bool {
	return caps&capM2MMPlane != 0 || caps&(capCaptureMPlane|capOutputMPlane) == capCaptureMPlane|capOutputMPlane
}

// text gives the C string in b.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func (c *fdCoder) typ(s side) uint32 {
	switch {
	case c.multi && s == rawSide:
		return typeOutputMPlane
	case c.multi:
		return typeCaptureMPlane
	case s == rawSide:
		return typeOutput
	}
	return typeCapture
}

func (c *fdCoder) enumerate(s side, i uint32) (formatDesc, error) {
	d := formatDesc{index: i, typ: c.typ(s)}
	err := c.ioctl(vidiocEnumFmt, unsafe.Pointer(&d)).orNil()
	return d, err
}

func (c *fdCoder) sizes(pixel uint32) (frameSizes, error) {
	f := frameSizes{pixel: pixel}
	err := c.ioctl(vidiocEnumSizes, unsafe.Pointer(&f)).orNil()
	return f, err
}

func (c *fdCoder) format(s side) (picFormat, error) {
	a := formatArg{typ: c.typ(s)}
	if e := c.ioctl(vidiocGFmt, unsafe.Pointer(&a)); e != 0 {
		return picFormat{}, unix.Errno(e)
	}
	return c.unpack(&a), nil
}

func (c *fdCoder) setFormat(s side, f picFormat) (picFormat, error) {
	a := c.pack(s, f)
	if e := c.ioctl(vidiocSFmt, unsafe.Pointer(&a)); e != 0 {
		return picFormat{}, unix.Errno(e)
	}
	return c.unpack(&a), nil
}

const fieldNone = 1 // V4L2_FIELD_NONE: whole pictures, not interlaced

func (c *fdCoder) pack(s side, f picFormat) formatArg {
	a := formatArg{typ: c.typ(s)}
	if !c.multi {
		*(*pixFormat)(unsafe.Pointer(&a.u)) = pixFormat{width: f.width, height: f.height, pixel: f.pixel, field: fieldNone,
			stride: f.stride[0], size: f.size[0], priv: privMagic, space: f.space, xfer: f.xfer, enc: f.enc, quant: f.quant}
		return a
	}
	m := (*pixFormatMPlane)(unsafe.Pointer(&a.u))
	*m = pixFormatMPlane{width: f.width, height: f.height, pixel: f.pixel, field: fieldNone, count: uint8(max(f.planes, 1)),
		space: f.space, xfer: uint8(f.xfer), enc: uint8(f.enc), quant: uint8(f.quant)}
	for i := range f.size {
		m.planes[i].size, m.planes[i].stride = f.size[i], f.stride[i]
	}
	return a
}

func (c *fdCoder) unpack(a *formatArg) picFormat {
	if !c.multi {
		p := (*pixFormat)(unsafe.Pointer(&a.u))
		return picFormat{pixel: p.pixel, width: p.width, height: p.height, planes: 1, space: p.space, xfer: p.xfer, enc: p.enc, quant: p.quant,
			stride: [maxPlanes]uint32{p.stride}, size: [maxPlanes]uint32{p.size}}
	}
	m := (*pixFormatMPlane)(unsafe.Pointer(&a.u))
	f := picFormat{pixel: m.pixel, width: m.width, height: m.height, planes: int(m.count), space: m.space,
		xfer: uint32(m.xfer), enc: uint32(m.enc), quant: uint32(m.quant)}
	for i := range f.size {
		f.size[i], f.stride[i] = m.planes[i].size, m.planes[i].stride
	}
	return f
}

func (c *fdCoder) setInterval(num, den uint32) (uint32, uint32, error) {
	p := paramArg{typ: c.typ(rawSide), num: num, den: den}
	if e := c.ioctl(vidiocSParm, unsafe.Pointer(&p)); e != 0 {
		return 0, 0, unix.Errno(e)
	}
	return p.num, p.den, nil
}

// crop sets the part of each picture that is coded. The selection's type is the
// single-planar one for both interfaces
// (https://docs.kernel.org/userspace-api/media/v4l/vidioc-g-selection.html); drivers that
// are older than selections have S_CROP.
func (c *fdCoder) crop(r rect) (rect, error) {
	s := selectionArg{typ: typeOutput, target: targetCrop, r: r}
	e := c.ioctl(vidiocSSelection, unsafe.Pointer(&s))
	if e != 0 && c.multi { // and some compare with the type that they have
		s = selectionArg{typ: typeOutputMPlane, target: targetCrop, r: r}
		e = c.ioctl(vidiocSSelection, unsafe.Pointer(&s))
	}
	if e != 0 {
		old := cropArg{typ: c.typ(rawSide), r: r}
		if c.ioctl(vidiocSCrop, unsafe.Pointer(&old)) == 0 {
			return r, nil // what it grants cannot be asked of all of them: the stream says it
		}
		return rect{}, unix.Errno(e)
	}
	got := selectionArg{typ: s.typ, target: targetCrop}
	if c.ioctl(vidiocGSelection, unsafe.Pointer(&got)) == 0 {
		return got.r, nil
	}
	return s.r, nil
}

func (c *fdCoder) control(id uint32) (int32, error) {
	a := controlArg{id: id}
	err := c.ioctl(vidiocGCtrl, unsafe.Pointer(&a)).orNil()
	return a.value, err
}

func (c *fdCoder) controlRange(id uint32) (controlRange, error) {
	r := controlRange{id: id}
	err := c.ioctl(vidiocQueryCtrl, unsafe.Pointer(&r)).orNil()
	if err == nil && r.flags&controlDisabled != 0 {
		err = unix.EINVAL
	}
	return r, err
}

func (c *fdCoder) setControl(id uint32, v int32) error {
	a := controlArg{id: id, value: v}
	return c.ioctl(vidiocSCtrl, unsafe.Pointer(&a)).orNil()
}

func (c *fdCoder) request(s side, memory, n uint32) (uint32, error) {
	r := requestBuffers{count: n, typ: c.typ(s), memory: memory}
	if e := c.ioctl(vidiocReqBufs, unsafe.Pointer(&r)); e != 0 {
		return 0, unix.Errno(e)
	}
	return r.count, nil
}

func (c *fdCoder) query(p *parcel) error {
	c.load(p)
	if e := c.ioctl(vidiocQueryBuf, unsafe.Pointer(&c.buf)); e != 0 {
		return unix.Errno(e)
	}
	c.unload(p)
	return nil
}

func (c *fdCoder) export(s side, index, plane uint32) (int, error) {
	a := exportArg{typ: c.typ(s), index: index, plane: plane, flags: unix.O_CLOEXEC | unix.O_RDWR}
	if e := c.ioctl(vidiocExpBuf, unsafe.Pointer(&a)); e != 0 {
		return -1, unix.Errno(e)
	}
	return int(a.fd), nil
}

func (c *fdCoder) stream(s side, on bool) error {
	typ, req := c.typ(s), uint(vidiocStreamOff)
	if on {
		req = vidiocStreamOn
	}
	return c.ioctl(req, unsafe.Pointer(&typ)).orNil()
}

func (c *fdCoder) command(cmd uint32) error {
	a := commandArg{cmd: cmd}
	return c.ioctl(vidiocEncoderCmd, unsafe.Pointer(&a)).orNil()
}

// queue and dequeue are made the ordinary way and not raw as a camera's are: a driver that
// hangs in them would keep a raw call's processor from the whole runtime.
func (c *fdCoder) queue(p *parcel) unix.Errno {
	c.load(p)
	return unix.Errno(c.ioctl(vidiocQBuf, unsafe.Pointer(&c.buf)))
}

func (c *fdCoder) dequeue(p *parcel) unix.Errno {
	c.load(p)
	if e := c.ioctl(vidiocDQBuf, unsafe.Pointer(&c.buf)); e != 0 {
		return unix.Errno(e)
	}
	c.unload(p)
	return 0
}

// load fills the kernel's structure from p.
func (c *fdCoder) load(p *parcel) {
	b := &c.buf
	*b = buffer{index: p.index, typ: c.typ(p.side), memory: p.memory, field: fieldNone, timestamp: unix.NsecToTimeval(p.stamp * 1000)}
	if !c.multi {
		b.bytesused, b.length = p.used[0], p.length[0]
		if p.memory == memoryDMABUF {
			*(*int32)(unsafe.Pointer(&b.m)) = p.fd[0]
		}
		return
	}
	n := min(max(p.planes, 1), maxPlanes)
	for i := range n {
		c.piece[i] = plane{bytesused: p.used[i], length: p.length[i]}
		if p.memory == memoryDMABUF {
			*(*int32)(unsafe.Pointer(&c.piece[i].m)) = p.fd[i]
		}
	}
	b.m, b.length = uintptr(unsafe.Pointer(&c.piece[0])), uint32(n)
}

// unload takes the kernel's answer.
func (c *fdCoder) unload(p *parcel) {
	b := &c.buf
	p.index, p.flags, p.stamp = b.index, b.flags, b.timestamp.Nano()/1000
	if !c.multi {
		p.planes, p.skip = 1, 0
		p.used[0], p.length[0], p.offset[0] = b.bytesused, b.length, uint32(b.offset())
		return
	}
	p.planes, p.skip = int(b.length), c.piece[0].dataOffset
	for i := range min(p.planes, maxPlanes) {
		k := &c.piece[i]
		p.used[i] = k.bytesused
		p.length[i], p.offset[i] = k.length, *(*uint32)(unsafe.Pointer(&k.m))
	}
}

func (c *fdCoder) poll(events int16, wait time.Duration) (int16, error) {
	end := time.Now().Add(wait)
	for {
		c.until = unix.NsecToTimespec(max(0, int64(wait)))
		c.wait[0] = unix.PollFd{Fd: int32(c.fd), Events: events}
		_, err := unix.Ppoll(c.wait[:], &c.until, nil)
		if err == nil {
			return c.wait[0].Revents, nil
		}
		if err != unix.EINTR {
			return 0, err
		}
		wait = time.Until(end)
	}
}

func (c *fdCoder) close() error {
	c.pin.Unpin()
	return c.fdNode.close()
}
