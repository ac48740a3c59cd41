//go:build rig

package quirks

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"anchord/internal/media"
)

// The kernel's interface (linux/videodev2.h) on 64-bit machines: numbers of calls with the size of what
// they carry, and places in it.
const (
	capture, output             = 1, 2 // single-planar
	captureMP, outputMP         = 9, 10
	mmap, dmabuf                = 1, 4
	flagKey, flagError, flagP   = 0x8, 0x40, 0x10
	flagLast                    = 0x100000
	ctrlBitrate, ctrlGOP        = 0x9909cf, 0x9909cb
	ctrlRC, ctrlForce           = 0x9909d7, 0x9909e5
	ctrlPeriod, ctrlLevel       = 0x990a66, 0x990a67
	ctrlRepeat, ctrlPrepend     = 0x9909e2, 0x990b84
	ctrlMode, ctrlMinOut        = 0x9909d8, 0x980928
	ctrlMinCap                  = 0x980927
	eventEOS, eventSourceChange = 2, 5
)

func call(fd int, dir, nr, size uintptr, p unsafe.Pointer) error {
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), dir<<30|size<<16|'V'<<8|nr, uintptr(p))
		if e == 0 {
			return nil
		}
		if e != unix.EINTR {
			return e
		}
	}
}

// block is what a call carries.
type block []byte

func (b block) u32(at int) uint32        { return binary.NativeEndian.Uint32(b[at:]) }
func (b block) set(at int, v uint32)     { binary.NativeEndian.PutUint32(b[at:], v) }
func (b block) set64(at int, v uint64)   { binary.NativeEndian.PutUint64(b[at:], v) }
func (b block) text(at, room int) string { return strings.TrimRight(string(b[at:at+room]), "\x00") }

// client is one opened node.
type client struct {
	t        *testing.T
	fd       int
	mp       bool
	wish     int // bytes a line
	fourcc   string
	w, h     int // as asked for
	stride   int
	lines    int // height in memory
	sizes    []int
	codedMax int
	out, cap [][][]byte // buffers, planes
	idle     []int      // OUTPUT buffers
	fed      int
}

func (c *client) ioctl(dir, nr uintptr, b block) error {
	return call(c.fd, dir, nr, uintptr(len(b)), unsafe.Pointer(&b[0]))
}

const (
	write, both = 1, 3
)

func node(t *testing.T) string {
	t.Helper()
	d, err := os.ReadDir("/sys/devices/platform/vh264/video4linux")
	if err != nil || len(d) != 1 {
		t.Fatal(d, err)
	}
	return "/dev/" + d[0].Name()
}

func open(t *testing.T) *client {
	t.Helper()
	fd, err := unix.Open(node(t), unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, fd: fd, fourcc: "NV12", w: 320, h: 240}
	t.Cleanup(c.close)
	c.mp = c.caps().u32(88)&0x4000 != 0
	return c
}

func (c *client) close() {
	if c.fd < 0 {
		return
	}
	for _, q := range [][][][]byte{c.out, c.cap} {
		for _, b := range q {
			for _, p := range b {
				unix.Munmap(p)
			}
		}
	}
	unix.Close(c.fd)
	c.fd = -1
}

func (c *client) caps() block {
	b := make(block, 104)
	if err := c.ioctl(2, 0, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *client) kind(out bool) uint32 {
	switch {
	case out && c.mp:
		return outputMP
	case out:
		return output
	case c.mp:
		return captureMP
	}
	return capture
}

// sfmt sets a format and gives what was granted.
func (c *client) sfmt(out bool, fourcc string, w, h, size int) (block, error) {
	b := make(block, 208)
	b.set(0, c.kind(out))
	b.set(8, uint32(w))
	b.set(12, uint32(h))
	copy(b[16:20], fourcc)
	if c.mp {
		b.set(28, uint32(size)) // plane_fmt[0].sizeimage
		b.set(32, uint32(c.wish))
		b[8+180] = 1 // num_planes
	} else {
		b.set(24, uint32(c.wish))
		b.set(28, uint32(size))
	}
	return b, c.ioctl(both, 5, b)
}

// format sets both formats.
func (c *client) format(coded int) {
	c.t.Helper()
	if _, err := c.sfmt(false, "H264", c.w, c.h, coded); err != nil {
		c.t.Fatal("S_FMT of CAPTURE:", err)
	}
	b, err := c.sfmt(true, c.fourcc, c.w, c.h, 0)
	if err != nil {
		c.t.Fatal("S_FMT of OUTPUT:", err)
	}
	c.lines = int(b.u32(12))
	c.sizes = nil
	if c.mp {
		for i := range int(b[8+180]) {
			c.sizes = append(c.sizes, int(b.u32(28+20*i)))
		}
		c.stride = int(b.u32(32))
	} else {
		c.stride, c.sizes = int(b.u32(24)), []int{int(b.u32(28))}
	}
}

func (c *client) reqbufs(out bool, n, memory int) (int, error) {
	b := make(block, 20)
	b.set(0, uint32(n))
	b.set(4, c.kind(out))
	b.set(8, uint32(memory))
	err := c.ioctl(both, 8, b)
	return int(b.u32(0)), err
}

// buffer makes a struct v4l2_buffer with its planes.
func (c *client) buffer(out bool, i, memory int) (block, block) {
	m := make(block, 88+64*8) // one piece, so that the one keeps the other
	b, p := m[:88:88], m[88:]
	b.set(0, uint32(i))
	b.set(4, c.kind(out))
	b.set(60, uint32(memory))
	if c.mp {
		b.set64(64, uint64(uintptr(unsafe.Pointer(&p[0]))))
		b.set(72, 8)
	}
	return b, p
}

// buffers asks for n of a queue and maps them.
func (c *client) buffers(out bool, n int) [][][]byte {
	c.t.Helper()
	n, err := c.reqbufs(out, n, mmap)
	if err != nil {
		c.t.Fatal("REQBUFS:", err)
	}
	var all [][][]byte
	for i := range n {
		b, p := c.buffer(out, i, mmap)
		if err := c.ioctl(both, 9, b); err != nil {
			c.t.Fatal("QUERYBUF:", err)
		}
		planes := 1
		if c.mp {
			planes = int(b.u32(72))
		}
		var mem [][]byte
		for k := range planes {
			at, size := b.u32(64), b.u32(72)
			if c.mp {
				at, size = p.u32(64*k+8), p.u32(64*k+4)
			}
			m, err := unix.Mmap(c.fd, int64(at), int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				c.t.Fatal("mmap:", err)
			}
			mem = append(mem, m)
		}
		all = append(all, mem)
	}
	return all
}

func (c *client) stream(out, on bool) error {
	nr := uintptr(19)
	if on {
		nr = 18
	}
	b := make(block, 4)
	b.set(0, c.kind(out))
	return c.ioctl(write, nr, b)
}

// start does all that comes before the first frame.
func (c *client) start() {
	c.t.Helper()
	if c.sizes == nil {
		c.format(0)
	}
	c.out, c.cap = c.buffers(true, 4), c.buffers(false, 4)
	for i := range c.out {
		c.idle = append(c.idle, i)
	}
	c.begin()
}

// begin queues all CAPTURE buffers and streams.
func (c *client) begin() {
	c.t.Helper()
	for i := range c.cap {
		c.give(i)
	}
	for _, out := range []bool{true, false} {
		if err := c.stream(out, true); err != nil {
			c.t.Fatal("STREAMON:", err)
		}
	}
}

func (c *client) give(i int) {
	c.t.Helper()
	b, _ := c.buffer(false, i, mmap)
	if err := c.ioctl(both, 15, b); err != nil {
		c.t.Fatal("QBUF of CAPTURE:", err)
	}
}

// stamp is the time stamp of frame n.
func stamp(n int) time.Duration {
	return time.Duration(n+1)*33_333*time.Microsecond + 7*time.Microsecond
}

// paint fills a frame with something that moves.
func (c *client) paint(planes [][]byte, n int) {
	y := planes[0][:c.stride*c.lines]
	r := uint32(n*7919 + 1)
	for i := 0; i+4 <= len(y); i += 4 {
		r = r*1664525 + 1013904223
		v := byte((i%c.stride+3*n)^(i/c.stride+n)) + byte(r>>28)
		y[i], y[i+1], y[i+2], y[i+3] = v, v+1, v+2, v+byte(r>>30)
	}
	for _, p := range append([][]byte{planes[0][len(y):]}, planes[1:]...) {
		for i := range p {
			p[i] = byte(128 + (i/16+n)%16)
		}
	}
}

// feed queues the next frame; false when all OUTPUT buffers are out.
func (c *client) feed() bool {
	c.t.Helper()
	for len(c.idle) == 0 {
		b, _ := c.buffer(true, 0, mmap)
		if err := c.ioctl(both, 17, b); err == unix.EAGAIN {
			return false
		} else if err != nil {
			c.t.Fatal("DQBUF of OUTPUT:", err)
		}
		c.idle = append(c.idle, int(b.u32(0)))
	}
	i := c.idle[0]
	c.paint(c.out[i], c.fed)
	if err := c.queue(i); err != nil {
		c.t.Fatal("QBUF of OUTPUT:", err)
	}
	c.idle = c.idle[1:]
	return true
}

func (c *client) queue(i int) error {
	b, p := c.buffer(true, i, mmap)
	d := stamp(c.fed)
	b.set64(24, uint64(d/time.Second))
	b.set64(32, uint64(d%time.Second/time.Microsecond))
	b.set(8, uint32(c.sizes[0]))
	b.set(72, uint32(c.sizes[0]))
	if c.mp {
		b.set(72, uint32(len(c.sizes)))
		for k, n := range c.sizes {
			p.set(64*k, uint32(n))
		}
	}
	c.fed++
	return c.ioctl(both, 15, b)
}

// coded is what a CAPTURE buffer had.
type coded struct {
	data  []byte
	flags uint32
	stamp time.Duration
	nals  string // types, one letter each: A access unit delimiter, S and P parameter sets, I IDR, p other slices
}

func (k coded) String() string {
	return fmt.Sprintf("%s(%d bytes, flags %x)", k.nals, len(k.data), k.flags)
}

// take waits for a coded buffer and gives it back to the driver; the error is DQBUF's, or EAGAIN when
// none comes.
func (c *client) take(wait time.Duration) (coded, error) {
	c.t.Helper()
	end := time.Now().Add(wait)
	for {
		b, p := c.buffer(false, 0, mmap)
		err := c.ioctl(both, 17, b)
		if err == nil {
			return c.read(b, p), nil
		}
		left := time.Until(end)
		if err != unix.EAGAIN || left <= 0 {
			return coded{}, err
		}
		f := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
		unix.Poll(f, int(left/time.Millisecond)+1)
		if f[0].Revents&unix.POLLERR != 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func (c *client) read(b, p block) coded {
	c.t.Helper()
	i, n := int(b.u32(0)), b.u32(8)
	if c.mp {
		n = p.u32(0)
	}
	k := coded{data: append([]byte(nil), c.cap[i][0][:n]...), flags: b.u32(12),
		stamp: time.Duration(binary.NativeEndian.Uint64(b[24:]))*time.Second + time.Duration(binary.NativeEndian.Uint64(b[32:]))*time.Microsecond}
	for nal, rest := media.NextNAL(k.data); len(nal) > 0; nal, rest = media.NextNAL(rest) {
		k.nals += map[media.NALType]string{media.NALAUD: "A", media.NALSPS: "S", media.NALPPS: "P", media.NALIDR: "I", media.NALSlice: "p"}[media.TypeOf(nal)]
	}
	if k.flags&flagLast == 0 {
		c.give(i)
	}
	return k
}

const long = 20 * time.Second // an emulated machine is slow

// encode feeds n frames, one at a time, and gives what comes until nothing is owed.
func (c *client) encode(n int) (all []coded) {
	c.t.Helper()
	for range n {
		if !c.feed() {
			c.t.Fatal("no OUTPUT buffer comes back")
		}
		k, err := c.take(long)
		if err != nil {
			c.t.Fatalf("frame %d: %v", c.fed, err)
		}
		all = append(all, k)
	}
	return all
}

func (c *client) command(cmd uint32) error {
	b := make(block, 40)
	b.set(0, cmd)
	return c.ioctl(both, 77, b)
}

func (c *client) stop() error    { return c.command(1) }
func (c *client) restart() error { return c.command(0) }

func (c *client) setCtrl(id, v uint32) error {
	b := make(block, 8)
	b.set(0, id)
	b.set(4, v)
	return c.ioctl(both, 28, b)
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// ctrl gives a control's default; false when there is no such control.
func (c *client) ctrl(id uint32) (int, bool) {
	b := make(block, 68)
	b.set(0, id)
	err := c.ioctl(both, 36, b)
	return int(int32(b.u32(52))), err == nil
}

func (c *client) setRate(num, den uint32) error {
	b := make(block, 204)
	b.set(0, c.kind(true))
	b.set(12, num)
	b.set(16, den)
	return c.ioctl(both, 22, b)
}

func (c *client) subscribe(event uint32) error {
	b := make(block, 32)
	b.set(0, event)
	return c.ioctl(write, 90, b)
}

// event gives the next event's type, 0 when there is none.
func (c *client) event() uint32 {
	b := make(block, 136)
	if c.ioctl(2, 89, b) != nil {
		return 0
	}
	return b.u32(0)
}

// shell runs a line in the guest, with the rig's functions.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", ". /rig/lib.sh; "+line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// load loads the module with parameters.
func load(t *testing.T, args string) {
	t.Helper()
	shell(t, "start_vh264 "+args)
	t.Cleanup(func() { shell(t, "stop_vh264") })
}

// set sets a parameter.
func set(t *testing.T, args ...string) {
	t.Helper()
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		if err := os.WriteFile("/sys/module/vh264/parameters/"+name, []byte(value+"\n"), 0); err != nil {
			t.Fatal(a, err)
		}
	}
}
