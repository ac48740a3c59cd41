package v4l2

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"

	"anchord/hal"
)

// drivers is a kernel with a driver behind each node.
type drivers map[string]*driver

func (k drivers) stat(path string) (uint64, error) {
	d := k[filepath.Base(path)]
	if d == nil {
		return 0, unix.ENOENT
	}
	return d.stat(path)
}

func (k drivers) open(path string) (node, error) {
	d := k[filepath.Base(path)]
	if d == nil {
		return nil, unix.ENOENT
	}
	return d.open(path)
}

func numbered(minor uint32, more uint32) *driver {
	d := newDriver()
	d.number = unix.Mkdev(videoMajor, minor)
	d.caps.DeviceCapabilities |= more
	return d
}

func TestList(t *testing.T) {
	m := newMachine(t)
	m.usb(t, "video0", "81:0", "0", "2", map[string]string{"product": "HD Pro  Webcam C920", "serial": "A1B2C3"})
	m.usb(t, "video1", "81:1", "1", "2", nil) // its metadata
	m.usb(t, "video2", "81:2", "0", "1.4", map[string]string{"manufacturer": " Shop/Cam ", "product": "Cam", "serial": "SN0001"})
	m.usb(t, "video3", "81:3", "0", "1.3", map[string]string{"manufacturer": " Shop/Cam ", "product": "Cam", "serial": "SN0001"})
	m.platform(t, "video10", "81:10", "vivid-000-vid-cap")
	m.platform(t, "video11", "81:11", "some codec")
	m.platform(t, "video12", "81:12", "denied")
	m.platform(t, "video13", "81:13", "without node")
	m.platform(t, "radio0", "81:14", "a radio")
	link(t, "../../video0", filepath.Join(m.dev, "v4l/by-id/usb-046d_HD_Pro_Webcam_C920_A1B2C3-video-index0"))
	link(t, "../../video10", filepath.Join(m.dev, "v4l/by-path/platform-own-name-video-index0"))
	k := drivers{
		"video0": numbered(0, 0), "video1": numbered(1, 0), "video2": numbered(2, 0), "video3": numbered(3, 0),
		"video10": numbered(10, 0), "video11": numbered(11, v4l.CapVideoMem2Mem), "video12": numbered(12, 0),
	}
	k["video12"].errs["open"] = unix.EACCES
	got, err := m.cameras(k).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	node := func(n string) string { return filepath.Join(m.dev, n) }
	want := []hal.Device{
		{ID: "usb-Shop_Cam_Cam_SN0001-video-index0", Name: "Fake Camera", Node: node("video3"), Port: "pci-0000:00:14.0-usb-0:1.3:1.0-video-index0"},
		{ID: "usb-Shop_Cam_Cam_SN0001-video-index0@pci-0000:00:14.0-usb-0:1.4:1.0-video-index0", Name: "Fake Camera", Node: node("video2"), Port: "pci-0000:00:14.0-usb-0:1.4:1.0-video-index0"},
		{ID: "usb-046d_HD_Pro_Webcam_C920_A1B2C3-video-index0", Name: "Fake Camera", Node: node("video0"), Port: "pci-0000:00:14.0-usb-0:2:1.0-video-index0"},
		{ID: "platform-vivid.0-vivid-000-vid-cap-video-index0", Name: "Fake Camera", Node: node("video10"), Port: "platform-own-name-video-index0"},
		{ID: "platform-vivid.0-denied-video-index0", Name: "denied", Node: node("video12"), Port: "platform-vivid.0-video-index0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, d := range k {
		if d.opened && d.closed != 1 {
			t.Errorf("%s was closed %d times", name, d.closed)
		}
	}
	if k["video1"].opened {
		t.Error("a node that is not the main one was opened")
	}
	// What List gave, Open takes, also under the names that udev has not made yet.
	for _, dev := range got[:4] {
		c, err := m.cameras(k).Open(t.Context(), dev)
		if err != nil {
			t.Errorf("%s: %v", dev.ID, err)
			continue
		}
		c.Close()
	}
	if err := os.RemoveAll(filepath.Join(m.dev, "v4l")); err != nil {
		t.Fatal(err)
	}
	c, err := m.cameras(k).Open(t.Context(), got[2])
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestListWithoutVideo(t *testing.T) {
	got, err := New(Config{Dev: t.TempDir(), Sys: t.TempDir()}).List(t.Context())
	if len(got) != 0 || err != nil {
		t.Errorf("%v %v", got, err)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(d *driver)
		dev   hal.Device
		want  error
		says  string
	}{
		{"not there", func(d *driver) { d.errs["stat"] = unix.ENOENT }, hal.Device{}, hal.ErrGone, ""},
		{"gone between two calls", func(d *driver) { d.errs["open"] = unix.ENODEV }, hal.Device{}, hal.ErrGone, ""},
		{"gone after opening", func(d *driver) { d.errs["capability"], d.errs["alive"] = unix.ENODEV, unix.ENODEV }, hal.Device{}, hal.ErrGone, ""},
		{"no sysfs entry any more", func(d *driver) { d.number = unix.Mkdev(videoMajor, 77) }, hal.Device{}, hal.ErrGone, ""},
		{"ENXIO", func(d *driver) { d.errs["open"] = unix.ENXIO }, hal.Device{}, hal.ErrGone, ""},
		{"busy", func(d *driver) { d.errs["open"] = unix.EBUSY }, hal.Device{}, hal.ErrBusy, "other program"},
		{"EACCES", func(d *driver) { d.errs["open"] = unix.EACCES }, hal.Device{}, hal.ErrDenied, "group video"},
		{"EPERM", func(d *driver) { d.errs["open"] = unix.EPERM }, hal.Device{}, hal.ErrDenied, "group video"},
		{"not a character device", func(d *driver) { d.errs["stat"] = unix.ENOTTY }, hal.Device{}, hal.ErrUnsupported, ""},
		{"another kind of device", func(d *driver) { d.number = unix.Mkdev(10, 130) }, hal.Device{}, hal.ErrUnsupported, "10:130 is not a video device"},
		{"metadata", func(d *driver) { d.caps.DeviceCapabilities = v4l.CapMetadataCapture | v4l.CapStreaming }, hal.Device{}, hal.ErrUnsupported, "cannot capture"},
		{"m2m", func(d *driver) { d.caps.DeviceCapabilities |= v4l.CapVideoMem2MemMPlane }, hal.Device{}, hal.ErrUnsupported, "cannot capture"},
		{"output", func(d *driver) { d.caps.DeviceCapabilities |= v4l.CapVideoOutput }, hal.Device{}, hal.ErrUnsupported, "cannot capture"},
		{"no streaming", func(d *driver) { d.caps.DeviceCapabilities = v4l.CapVideoCapture | v4l.CapReadWrite }, hal.Device{}, hal.ErrUnsupported, "cannot capture"},
		{"another camera under that number", func(*driver) {}, hal.Device{ID: "usb-other-video-index0"}, hal.ErrGone, "now belongs to"},
		{"another port", func(*driver) {}, hal.Device{Port: "pci-0000:00:14.0-usb-0:9:1.0-video-index0"}, hal.ErrGone, "now belongs to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			m.usb(t, "video0", "81:0", "0", "2", nil)
			d := newDriver()
			tt.fault(d)
			tt.dev.Node = filepath.Join(m.dev, "video0")
			_, err := m.cameras(d).Open(t.Context(), tt.dev)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "open camera ") {
				t.Errorf("error %v", err)
			}
			if d.opened && d.closed != 1 {
				t.Errorf("closed %d times", d.closed)
			}
			if tt.name == "another kind of device" && d.opened {
				t.Error("opened a device that is no camera")
			}
		})
	}
}

// The real kernel's answers for files that are no cameras.
func TestOpenOfOtherFiles(t *testing.T) {
	c := New(Config{})
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	for path, want := range map[string]error{
		file:                 hal.ErrUnsupported,
		filepath.Dir(file):   hal.ErrUnsupported,
		file + "/x":          hal.ErrUnsupported,
		"/dev/null":          hal.ErrUnsupported,
		"/dev/video-of-none": hal.ErrGone,
	} {
		if _, err := c.Open(t.Context(), hal.Device{Node: path}); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
