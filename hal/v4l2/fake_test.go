package v4l2

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// driver is a scripted driver behind the node interface: frames come when a test says
// so. A pipe stands for the device's poll.
type driver struct {
	mu     sync.Mutex
	number uint64
	caps   v4l.Capability
	fmt    v4l.PixFormat
	tpf    v4l.Fract
	stamp  media.Time

	formats   []media.PixelFormat
	sizes     []v4l.FrameSizeEnum
	intervals []frameInterval

	errs map[string]error // what a request of that name fails with
	gone bool

	count    uint32 // buffers granted, if not 0
	bufs     [][]byte
	queued   []uint32
	done     []buffer
	sequence uint32
	mapped   int
	streams  bool
	rd, wr   *os.File
	fd       int
	one      [1]byte
	scratch  buffer
	opened   bool
	closed   int
	calls    []string
}

func newDriver() *driver {
	return &driver{
		number: unix.Mkdev(videoMajor, 0),
		caps: v4l.Capability{Driver: "fake", Card: "Fake Camera", Capabilities: v4l.CapDeviceCapabilities | v4l.CapVideoCapture,
			DeviceCapabilities: v4l.CapVideoCapture | v4l.CapStreaming},
		formats: []media.PixelFormat{media.YUYV, media.MJPG},
		sizes: []v4l.FrameSizeEnum{{Type: v4l.FrameSizeTypeDiscrete,
			Size: v4l.FrameSize{MinWidth: 64, MaxWidth: 64, MinHeight: 48, MaxHeight: 48}}},
		intervals: []frameInterval{
			{typ: v4l.FrameIntervalTypeDiscrete, min: v4l.Fract{Numerator: 1, Denominator: 15}},
			{typ: v4l.FrameIntervalTypeDiscrete, min: v4l.Fract{Numerator: 1, Denominator: 30}},
		},
		errs: map[string]error{},
	}
}

func (d *driver) fails(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, name)
	if d.gone {
		return unix.ENODEV
	}
	return d.errs[name]
}

func (d *driver) stat(string) (uint64, error) { return d.number, d.fails("stat") }

func (d *driver) open(string) (node, error) {
	if err := d.fails("open"); err != nil {
		return nil, err
	}
	d.opened = true
	return d, nil
}

func (d *driver) rdev() (uint64, error) { return d.number, d.fails("rdev") }

func (d *driver) capability() (v4l.Capability, error) {
	if err := d.fails("capability"); err != nil {
		return v4l.Capability{}, v4l.ErrorSystem // as go4vl hides it
	}
	return d.caps, nil
}

func (d *driver) alive() bool { return d.fails("alive") == nil }

func (d *driver) format(i uint32) (v4l.FormatDescription, error) {
	if d.fails("format") != nil {
		return v4l.FormatDescription{}, v4l.ErrorSystem
	}
	if int(i) >= len(d.formats) {
		return v4l.FormatDescription{}, v4l.ErrorBadArgument
	}
	return v4l.FormatDescription{Index: i, PixelFormat: uint32(d.formats[i])}, nil
}

func (d *driver) size(i, _ uint32) (v4l.FrameSizeEnum, error) {
	if d.fails("size") != nil || int(i) >= len(d.sizes) {
		return v4l.FrameSizeEnum{}, v4l.ErrorBadArgument
	}
	return d.sizes[i], nil
}

func (d *driver) interval(v *frameInterval) error {
	if d.fails("interval") != nil || int(v.index) >= len(d.intervals) {
		return unix.EINVAL
	}
	v.typ, v.min = d.intervals[v.index].typ, d.intervals[v.index].min
	return nil
}

func (d *driver) pixFormat() (v4l.PixFormat, error) { return d.fmt, d.fails("pixFormat") }

func (d *driver) setPixFormat(f v4l.PixFormat) error {
	if err := d.fails("setPixFormat"); err != nil {
		return err
	}
	if f.PixelFormat == uint32(media.YUYV) {
		f.BytesPerLine = 2 * f.Width
	}
	f.SizeImage = 2 * f.Width * f.Height
	f.Colorspace = v4l.ColorspaceSRGB
	d.fmt = f
	return nil
}

func (d *driver) param() (v4l.StreamParam, error) {
	p := v4l.StreamParam{}
	p.Capture.TimePerFrame = d.tpf
	return p, d.fails("param")
}

func (d *driver) setParam(p v4l.StreamParam) error {
	d.tpf = p.Capture.TimePerFrame
	return d.fails("setParam")
}

func (d *driver) request(n uint32) (uint32, error) {
	if err := d.fails("request"); err != nil && n > 0 {
		return 0, err
	}
	if d.count > 0 && n > 0 {
		n = d.count
	}
	d.bufs = make([][]byte, n)
	for i := range d.bufs {
		d.bufs[i] = make([]byte, d.fmt.SizeImage)
	}
	return n, nil
}

func (d *driver) query(b *buffer) error {
	b.length = uint32(len(d.bufs[b.index]))
	b.m = uintptr(b.index) << 12
	return d.fails("query")
}

func (d *driver) mmap(offset int64, n int) ([]byte, error) {
	if err := d.fails("mmap"); err != nil {
		return nil, err
	}
	d.mapped++
	return d.bufs[offset>>12][:n], nil
}

func (d *driver) munmap([]byte) error {
	d.mapped--
	return nil
}

func (d *driver) stream(on bool) error {
	if err := d.fails("stream"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.streams = on; !on {
		d.queued = nil
	}
	return nil
}

func (d *driver) queue(b *buffer) unix.Errno {
	if err := d.fails("queue"); err != nil {
		return err.(unix.Errno)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queued = append(d.queued, b.index)
	return 0
}

func (d *driver) dequeue(b *buffer) unix.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return unix.ENODEV
	}
	if e, ok := d.errs["dequeue"].(unix.Errno); ok {
		return e
	}
	if len(d.done) == 0 {
		return unix.EAGAIN
	}
	_, _ = unix.Read(d.fd, d.one[:])
	*b, d.done = d.done[0], d.done[1:]
	return 0
}

func (d *driver) file() *os.File {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		panic(err)
	}
	d.fd = p[0]
	d.rd, d.wr = os.NewFile(uintptr(p[0]), "poll"), os.NewFile(uintptr(p[1]), "wake")
	return d.rd
}

func (d *driver) close() error {
	d.closed++
	if d.rd != nil {
		d.wr.Close()
		return d.rd.Close()
	}
	return nil
}

// deliver completes the oldest queued buffer with what f makes of it.
func (d *driver) deliver(t *testing.T, f func(b *buffer, bytes []byte)) {
	t.Helper()
	d.mu.Lock()
	if len(d.queued) == 0 {
		t.Fatal("the driver has no buffer")
	}
	b := &d.scratch
	b.reset(d.queued[0])
	d.queued = d.queued[1:]
	b.sequence, b.flags, b.bytesused = d.sequence, v4l.BufFlagTimestampMonotonic, d.fmt.SizeImage
	d.sequence++
	b.timestamp = unix.NsecToTimeval(int64(max(media.Now()-2000, d.stamp+1000)))
	if f != nil {
		f(b, d.bufs[b.index])
	}
	d.done = append(d.done, *b)
	d.mu.Unlock()
	d.wake()
}

// wake makes the poller look.
func (d *driver) wake() { _, _ = d.wr.Write(wakeup) }

var wakeup = []byte{0}

func (d *driver) set(name string, err error) {
	d.mu.Lock()
	d.errs[name] = err
	d.mu.Unlock()
}

// machine is a sysfs and a /dev with cameras in them.
type machine struct{ root, sys, dev string }

func newMachine(t testing.TB) machine {
	root := t.TempDir()
	m := machine{root, filepath.Join(root, "sys"), filepath.Join(root, "dev")}
	write(t, filepath.Join(m.sys, "class/video4linux/.keep"), "")
	write(t, filepath.Join(m.dev, ".keep"), "")
	return m
}

func write(t testing.TB, path, s string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, to, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// usb plugs a USB camera into a port ("1", "1.2") as a node.
func (m machine) usb(t *testing.T, name, dev, index, port string, attrs map[string]string) {
	t.Helper()
	controller := filepath.Join(m.sys, "devices/pci0000:00/0000:00:14.0")
	device := filepath.Join(controller, "usb3/3-"+port)
	face := filepath.Join(device, "3-"+port+":1.0")
	class := filepath.Join(m.sys, "class/video4linux", name)
	if _, err := os.Lstat(filepath.Join(controller, "subsystem")); err != nil {
		link(t, "../../../bus/pci", filepath.Join(controller, "subsystem"))
	}
	write(t, filepath.Join(device, "idVendor"), "046d\n")
	write(t, filepath.Join(device, "idProduct"), "082d\n")
	for k, v := range attrs {
		write(t, filepath.Join(device, k), v+"\n")
	}
	write(t, filepath.Join(face, "bInterfaceNumber"), "00\n")
	m.class(t, class, dev, index, "Camera")
	link(t, face, filepath.Join(class, "device"))
}

func (m machine) class(t testing.TB, class, dev, index, name string) {
	t.Helper()
	write(t, filepath.Join(class, "dev"), dev+"\n")
	write(t, filepath.Join(class, "index"), index+"\n")
	write(t, filepath.Join(class, "name"), name+"\n")
}

// platform adds a node of a platform device.
func (m machine) platform(t testing.TB, name, dev, label string) {
	t.Helper()
	parent := filepath.Join(m.sys, "devices/platform/vivid.0")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Symlink("../../../bus/platform", filepath.Join(parent, "subsystem"))
	class := filepath.Join(m.sys, "class/video4linux", name)
	m.class(t, class, dev, "0", label)
	link(t, parent, filepath.Join(class, "device"))
}

// cameras makes the finder of a machine with one driver behind every node.
func (m machine) cameras(k kernel) *Cameras {
	c := New(Config{Dev: m.dev, Sys: m.sys})
	c.kernel, c.udev = k, filepath.Join(m.root, "udev")
	return c
}

// started opens and starts a fake camera.
func started(t *testing.T, d *driver, m hal.Mode) (*camera, hal.Mode) {
	t.Helper()
	c := &camera{node: d, log: New(Config{}).log, device: hal.Device{Node: "/dev/video0"}, buffers: 4}
	granted, err := c.Start(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.slots == nil {
			return
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, granted
}

var (
	yuyv = hal.Mode{Pixel: media.YUYV, Size: media.Size{W: 64, H: 48}, Rate: media.FPS(30)}
	mjpg = hal.Mode{Pixel: media.MJPG, Size: media.Size{W: 64, H: 48}, Rate: media.FPS(30)}
)

// soon waits for a condition that another goroutine brings about.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s", what)
		}
	}
}
