//go:build rig

// These tests run on kernel devices: in the virtual-hardware rig's guest, as root, with
// vivid and the rig's virtual USB webcam.
//
//	go test -c -tags rig ./hal/v4l2, run by test/rig/rig.sh

package v4l2

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/internal/media"
)

// shell runs a line in the guest, with the rig's functions.
func shell(t *testing.T, line string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", ". /rig/lib.sh; "+line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// tell gives the virtual webcam a command and does not wait for it to be done.
func tell(t *testing.T, command string) {
	if err := os.WriteFile("/run/vusb/vusb.ctl", []byte(command+"\n"), 0); err != nil {
		t.Error(err)
	}
}

// find waits for the camera of that name.
func find(t *testing.T, name string) hal.Device {
	t.Helper()
	var ds []hal.Device
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err error
		if ds, err = New(Config{}).List(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			if strings.HasPrefix(d.Name, name) {
				return d
			}
		}
	}
	t.Fatalf("no camera %s among %v", name, ds)
	return hal.Device{}
}

func open(t *testing.T, name string) *camera {
	t.Helper()
	c, err := New(Config{}).Open(t.Context(), find(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c.(*camera)
}

// pick chooses the smallest mode in a format.
func pick(p media.PixelFormat) func([]hal.Mode) hal.Mode {
	return func(ms []hal.Mode) (best hal.Mode) {
		for _, m := range ms {
			if m.Pixel == p && (best.Pixel == 0 || m.Size.Area() < best.Size.Area()) {
				best = m
			}
		}
		return best
	}
}

func stream(t *testing.T, name string, p media.PixelFormat) (*camera, hal.Mode) {
	t.Helper()
	c := open(t, name)
	ms, err := c.Modes()
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Start(t.Context(), pick(p)(ms))
	if err != nil {
		c.Close()
		t.Fatal(err)
	}
	return c, m
}

const usbName = "Virtual Webcam"

func withUSB(t *testing.T, args string) {
	shell(t, "start_vusb "+args+" </dev/null 2>/dev/null")
	t.Cleanup(func() { shell(t, "vusb_cmd quit") })
}

func withVivid(t *testing.T) {
	shell(t, "modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0 multiplanar=1 vid_cap_nr=10")
	t.Cleanup(func() { shell(t, "rmmod vivid") })
}

func TestRigUSB(t *testing.T) {
	withUSB(t, "")
	for _, p := range []media.PixelFormat{media.YUYV, media.MJPG} {
		t.Run(p.String(), func(t *testing.T) {
			haltest.Camera(t, haltest.CameraRig{
				Open:   func(t *testing.T) hal.Camera { return open(t, usbName) },
				Mode:   pick(p),
				Unplug: func() { shell(t, "vusb_cmd unplug") },
				Plug:   func() { shell(t, "vusb_cmd plug") },
				Freeze: func() { shell(t, "vusb_cmd freeze") },
				Thaw:   func() { shell(t, "vusb_cmd ok") },
			})
		})
	}
	t.Run("damaged and cut frames", func(t *testing.T) {
		c, _ := stream(t, usbName, media.YUYV)
		defer c.Close()
		next(t, c).Release()
		tell(t, "trunc")
		time.AfterFunc(500*time.Millisecond, func() { tell(t, "ok") })
		bad := func() uint64 { f := c.Faults(); return f.Short + f.Broken + f.Lost } // uvcvideo drops them itself unless nodrop=1
		for end := time.Now().Add(10 * time.Second); bad() == 0 && time.Now().Before(end); {
			next(t, c).Release()
		}
		if bad() == 0 {
			t.Errorf("%+v", c.Faults())
		}
		shell(t, "vusb_cmd ok")
	})
	t.Run("busy", func(t *testing.T) {
		a, _ := stream(t, usbName, media.YUYV)
		defer a.Close()
		b := open(t, usbName)
		defer b.Close()
		if _, err := b.Start(t.Context(), hal.Mode{Pixel: media.YUYV, Size: media.Size{W: 320, H: 240}}); !errors.Is(err, hal.ErrBusy) {
			t.Errorf("second user: %v", err)
		}
		next(t, a).Release()
	})
	t.Run("same node after each plug", func(t *testing.T) {
		first := find(t, usbName)
		for range 4 {
			c, _ := stream(t, usbName, media.MJPG)
			next(t, c).Release()
			shell(t, "vusb_cmd unplug")
			for {
				f, err := c.Next()
				if err == nil {
					f.Release()
					continue
				}
				if !errors.Is(err, hal.ErrGone) {
					t.Errorf("pulled: %v", err)
				}
				t.Log(err)
				break
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if _, err := New(Config{}).Open(t.Context(), first); !errors.Is(err, hal.ErrGone) {
				t.Errorf("open of what is gone: %v", err)
			}
			shell(t, "vusb_cmd plug")
			if again := find(t, usbName); again != first {
				t.Errorf("was %+v, is %+v", first, again)
			}
		}
	})
	t.Run("no allocations", func(t *testing.T) {
		c, m := stream(t, usbName, media.MJPG)
		defer c.Close()
		for range 5 {
			next(t, c).Release()
		}
		var before, after runtime.MemStats
		var ru0, ru1 unix.Rusage
		runtime.ReadMemStats(&before)
		_ = unix.Getrusage(unix.RUSAGE_SELF, &ru0)
		const n = 60
		begun := time.Now()
		for range n {
			next(t, c).Release()
		}
		_ = unix.Getrusage(unix.RUSAGE_SELF, &ru1)
		runtime.ReadMemStats(&after)
		if a := after.Mallocs - before.Mallocs; a > 20 {
			t.Errorf("%d allocations in %d frames", a, n)
		}
		t.Logf("%v: %.1f frames/s, %d allocations, %.2f voluntary context switches a frame, %v CPU a frame, %+v", m,
			n/time.Since(begun).Seconds(), after.Mallocs-before.Mallocs, float64(ru1.Nvcsw-ru0.Nvcsw)/n,
			time.Duration(ru1.Utime.Nano()+ru1.Stime.Nano()-ru0.Utime.Nano()-ru0.Stime.Nano())/n, c.Faults())
	})
}

func TestRigFinder(t *testing.T) {
	withUSB(t, "-plug=false -serial ABC-7")
	haltest.Finder(t, New(Config{}), func() string {
		shell(t, "vusb_cmd plug")
		return find(t, usbName).ID
	}, func(string) { shell(t, "vusb_cmd unplug") })
	shell(t, "vusb_cmd plug")
	d := find(t, usbName)
	t.Logf("%+v", d)
	if !strings.HasPrefix(d.ID, "usb-") || !strings.HasSuffix(d.ID, "_Virtual_Webcam_ABC-7-video-index0") || !strings.Contains(d.Port, "-usb-0:") {
		t.Errorf("%+v", d)
	}
}

func TestRigVivid(t *testing.T) {
	withVivid(t)
	for _, p := range []media.PixelFormat{media.YUYV, media.NV12, media.YU12} {
		t.Run(p.String(), func(t *testing.T) {
			haltest.Camera(t, haltest.CameraRig{Open: func(t *testing.T) hal.Camera { return open(t, "vivid") }, Mode: pick(p)})
		})
	}
	control := func(t *testing.T, set string) {
		shell(t, "v4l2-ctl -d /dev/video10 -c "+set)
	}
	t.Run("colour bars are where the planes say", func(t *testing.T) {
		for _, p := range []media.PixelFormat{media.YUYV, media.NV12, media.YU12} {
			c, _ := stream(t, "vivid", p)
			f := next(t, c)
			if !f.Colour.Known() {
				t.Errorf("%v: colour %+v", p, f.Colour)
			}
			// The first bar of the test pattern is white: bright and without colour.
			y, cb, cr := sample(f, f.Size.W/32, f.Size.H/2)
			if y < 150 || cb < 120 || cb > 136 || cr < 120 || cr > 136 {
				t.Errorf("%v: white is %d %d %d", p, y, cb, cr)
			}
			// The fifth is magenta, the sixth red: Cr is high.
			if _, _, cr := sample(f, f.Size.W*11/16, f.Size.H/2); cr < 170 {
				t.Errorf("%v: red has Cr %d", p, cr)
			}
			f.Release()
			c.Close()
		}
	})
	t.Run("marked as broken", func(t *testing.T) {
		c, _ := stream(t, "vivid", media.YUYV)
		defer c.Close()
		next(t, c).Release()
		control(t, "inject_v4l2_buf_flag_error=1")
		for range 8 { // four are there already
			next(t, c).Release()
		}
		if f := c.Faults(); f.Broken == 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("dropped", func(t *testing.T) {
		c, _ := stream(t, "vivid", media.YUYV)
		defer c.Close()
		control(t, "percentage_of_dropped_buffers=50")
		defer control(t, "percentage_of_dropped_buffers=0")
		for range 20 {
			next(t, c).Release()
		}
		if f := c.Faults(); f.Lost == 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("requests that fail", func(t *testing.T) {
		for _, name := range []string{"inject_vidioc_reqbufs_error", "inject_vidioc_qbuf_error", "inject_vidioc_streamon_error"} {
			c := open(t, "vivid")
			ms, err := c.Modes()
			if err != nil {
				t.Fatal(err)
			}
			control(t, name+"=1")
			if _, err := c.Start(t.Context(), pick(media.YUYV)(ms)); err == nil {
				t.Errorf("%s: started", name)
			} else if errors.Is(err, hal.ErrGone) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := c.Start(t.Context(), pick(media.YUYV)(ms)); err != nil {
				t.Errorf("%s, second try: %v", name, err)
			} else {
				next(t, c).Release()
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("fatal error", func(t *testing.T) {
		c, _ := stream(t, "vivid", media.YUYV)
		next(t, c).Release()
		control(t, "inject_fatal_streaming_error=1")
		_, err := c.Next()
		for err == nil {
			var f *media.Frame
			if f, err = c.Next(); err == nil {
				f.Release()
			}
		}
		if !errors.Is(err, unix.EIO) || errors.Is(err, hal.ErrGone) {
			t.Errorf("error %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		c, _ = stream(t, "vivid", media.YUYV) // and it works again
		next(t, c).Release()
		c.Close()
	})
	t.Run("disconnect", func(t *testing.T) {
		c, _ := stream(t, "vivid", media.YUYV)
		f := next(t, c)
		control(t, "disconnect=1")
		err := error(nil)
		for err == nil {
			var g *media.Frame
			if g, err = c.Next(); err == nil {
				g.Release()
			}
		}
		if !errors.Is(err, hal.ErrGone) {
			t.Errorf("error %v", err)
		}
		f.Release()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if ms, _ := os.ReadFile("/proc/self/maps"); strings.Contains(string(ms), "/dev/video") {
			t.Errorf("still mapped:\n%s", ms)
		}
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.HasPrefix(to, "/dev/video") {
				t.Errorf("still open: %s", to)
			}
		}
	})
}

// sample gives the colour of a pixel.
func sample(f *media.Frame, x, y int) (luma, cb, cr byte) {
	x &^= 1
	y &^= 1
	switch f.Pixel {
	case media.YUYV:
		p := f.Planes[0][y*f.Stride[0]+2*x:]
		return p[0], p[1], p[3]
	case media.NV12:
		p := f.Planes[1][y/2*f.Stride[1]+x:]
		return f.Planes[0][y*f.Stride[0]+x], p[0], p[1]
	default:
		i := y/2*f.Stride[1] + x/2
		return f.Planes[0][y*f.Stride[0]+x], f.Planes[1][i], f.Planes[2][i]
	}
}

// Other video devices of the kernel are not cameras.
func TestRigOthers(t *testing.T) {
	shell(t, "modprobe vicodec && modprobe vivid n_devs=1 node_types=0x100 vid_out_nr=40")
	defer shell(t, "rmmod vivid vicodec")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ds, err := New(Config{}).List(ctx)
	if err != nil || len(ds) != 0 {
		t.Errorf("%v %v", ds, err)
	}
	if _, err := New(Config{}).Open(ctx, hal.Device{Node: "/dev/video40"}); !errors.Is(err, hal.ErrUnsupported) {
		t.Errorf("an output: %v", err)
	}
}
