//go:build rig

package quirks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"anchord/internal/media"
)

func TestIdentity(t *testing.T) {
	load(t, "driver=bcm2835-codec card=bcm2835-codec-encode node=bcm2835-codec-encode nr=11")
	c := open(t)
	b := c.caps()
	if node(t) != "/dev/video11" || b.text(0, 16) != "bcm2835-codec" || b.text(16, 32) != "bcm2835-codec-encode" || b.text(48, 32) != "platform:bcm2835-codec" {
		t.Errorf("%s: %q", node(t), b[:80])
	}
	name, err := os.ReadFile(filepath.Join("/sys/class/video4linux/video11/name"))
	if err != nil || string(name) != "bcm2835-codec-encode\n" {
		t.Errorf("%q %v", name, err)
	}
	set(t, "driver=wave5-enc", "card=wave5-enc")
	if b := c.caps(); b.text(0, 16) != "wave5-enc" || b.text(16, 32) != "wave5-enc" {
		t.Errorf("%q", b[:80])
	}
}

func formats(c *client) string {
	var all []string
	for i := range 9 {
		b := make(block, 64)
		b.set(0, uint32(i))
		b.set(4, c.kind(true))
		if c.ioctl(both, 2, b) != nil {
			break
		}
		all = append(all, b.text(44, 4))
	}
	return strings.Join(all, ",")
}

func TestFormats(t *testing.T) {
	for _, x := range []struct {
		args, formats string
		planes        []int
	}{
		{"", "NV12,YU12", []int{115200}},
		{"formats=YU12", "YU12", []int{115200}},
		{"formats=NM12 api=mplane", "NM12", []int{76800, 38400}},
		{"formats=YM12,NM12", "YM12,NM12", []int{76800, 19200, 19200}},
	} {
		t.Run(x.args, func(t *testing.T) {
			load(t, x.args)
			c := open(t)
			if s := formats(c); s != x.formats {
				t.Error(s)
			}
			c.fourcc = x.formats[:4]
			c.start()
			if fmt.Sprint(c.sizes) != fmt.Sprint(x.planes) {
				t.Error("planes", c.sizes)
			}
			// I_PCM has the samples as they are: the chroma of the second block of the picture.
			k := c.encode(1)[0]
			if k.nals != "ASPI" || len(k.data) < 320*240*3/2 {
				t.Fatal(k)
			}
			n := strings.Index(string(k.data), "\x00\x00\x00\x01\x65")
			u := k.data[n+len(k.data[n:])-384-1+256:][:8] // the last block's, in front of the trailing bits
			if want := lastChroma(x.formats[:4]); string(u) != want {
				t.Errorf("chroma % x, want % x", u, want)
			}
		})
	}
}

// lastChroma gives the first line of U of the last block of what paint makes of frame 0.
func lastChroma(fourcc string) string {
	var b []byte
	for x := range 8 {
		i := (240/2 - 8) * 320 / 2 // planar: lines of half the length
		switch fourcc {
		case "NV12", "NM12":
			i = (240/2-8)*320 + 320 - 16 + 2*x
		default:
			i += 160 - 8 + x
		}
		b = append(b, byte(128+(i/16)%16))
	}
	return string(b)
}

func TestAlignment(t *testing.T) {
	plain(t, "max_w=3840 max_h=2176")
	for _, x := range []struct {
		params          string
		w, h            int
		stride, lines   int
		size            int
		picW, picH, lvl int
	}{
		{"", 1280, 720, 1280, 720, 1382400, 1280, 720, 31},
		{"align=16", 850, 470, 864, 480, 622080, 850, 470, 31},
		{"stride_align=128 height_align=32", 848, 480, 896, 480, 645120, 848, 480, 31},
		{"stride_align=64 height_align=16 pad=4096", 1920, 1080, 1920, 1088, 3137536, 1920, 1080, 40},
		{"stride_wish=1 stride_align=64", 640, 480, 768, 480, 552960, 640, 480, 30},
		{"crop=whole height_align=32", 320, 180, 320, 192, 92160, 320, 192, 13},
		{"", 3840, 2160, 3840, 2160, 12441600, 3840, 2160, 51},
	} {
		t.Run(fmt.Sprint(x.params, x.w), func(t *testing.T) {
			set(t, strings.Fields(x.params)...)
			defer reset(t)
			c := open(t)
			defer c.close()
			c.w, c.h, c.wish = x.w, x.h, 720
			c.format(0)
			if c.stride != x.stride || c.lines != x.lines || c.sizes[0] != x.size {
				t.Error(c.stride, c.lines, c.sizes)
			}
			c.start()
			if s := sps(t, c.encode(1)[0]); s.Size != (media.Size{W: x.picW, H: x.picH}) || int(s.Level) != x.lvl {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestBufferCounts(t *testing.T) {
	plain(t, "")
	each(t, []string{"min_out=6", "min_cap=5"}, func(t *testing.T, v string, c *client) {
		out, _ := c.reqbufs(true, 1, mmap)
		cap, _ := c.reqbufs(false, 1, mmap)
		def, _ := c.ctrl(ctrlMinOut)
		defCap, _ := c.ctrl(ctrlMinCap)
		if s := fmt.Sprint(out, cap, def, defCap); s != map[string]string{"min_out=6": "6 1 6 0", "min_cap=5": "1 5 1 5"}[v] {
			t.Error(s)
		}
	})
	each(t, []string{"coded_size=0"}, func(t *testing.T, _ string, c *client) {
		if _, err := c.reqbufs(false, 4, mmap); err != unix.EINVAL {
			t.Error("without a size:", err)
		}
		c.format(100_000)
		c.start()
		if n := len(c.cap[0][0]); n < 100_000 {
			t.Error(n)
		}
	})
}

func TestOrder(t *testing.T) {
	plain(t, "")
	each(t, []string{"capture_first=1"}, func(t *testing.T, _ string, c *client) {
		if _, err := c.sfmt(true, "NV12", 320, 240, 0); err != unix.EINVAL {
			t.Error(err)
		}
		c.start()
		c.encode(1)
	})
	each(t, []string{"streamoff_frees=1"}, func(t *testing.T, _ string, c *client) {
		c.start()
		c.encode(1)
		c.must(c.stream(true, false))
		c.must(c.stream(false, false))
		if err := c.stream(true, true); err != unix.EIO {
			t.Error("STREAMON:", err)
		}
		for _, out := range []bool{true, false} {
			for _, b := range map[bool][][][]byte{true: c.out, false: c.cap}[out] {
				for _, p := range b {
					unix.Munmap(p)
				}
			}
			if _, err := c.reqbufs(out, 0, mmap); err != nil {
				t.Fatal(err)
			}
		}
		c.sizes, c.idle = nil, nil
		c.start()
		c.encode(1)
	})
}

func TestControls(t *testing.T) {
	plain(t, "")
	each(t, []string{"gop_ctrls=2", "rc=none", "rc=off", "bitrate_def=0"}, func(t *testing.T, v string, c *client) {
		_, gop := c.ctrl(ctrlGOP)
		_, period := c.ctrl(ctrlPeriod)
		rc, haveRC := c.ctrl(ctrlRC)
		rate, _ := c.ctrl(ctrlBitrate)
		if s := fmt.Sprint(gop, period, rc, haveRC, rate); s != map[string]string{
			"gop_ctrls=2": "false true 1 true 2000000", "rc=none": "true true 0 false 2000000",
			"rc=off": "true true 0 true 2000000", "bitrate_def=0": "true true 1 true 25000",
		}[v] {
			t.Error(s)
		}
	})
	each(t, []string{"level_def=10"}, func(t *testing.T, _ string, c *client) {
		if v, _ := c.ctrl(ctrlLevel); v != 0 {
			t.Error(v)
		}
	})
	each(t, []string{"level_max=31"}, func(t *testing.T, _ string, c *client) {
		if err := c.setCtrl(ctrlLevel, 11); err != unix.ERANGE {
			t.Error(err)
		}
		c.must(c.setCtrl(ctrlLevel, 9)) // 3.1
		c.start()
		if s := sps(t, c.encode(1)[0]); s.Level != 31 {
			t.Errorf("%+v", s)
		}
	})
	each(t, []string{"level_check=1"}, func(t *testing.T, _ string, c *client) {
		c.format(0)
		c.must(c.setCtrl(ctrlLevel, 2)) // 1.1 has 3000 macroblocks a second, these are 9000
		if err := c.stream(true, true); err != unix.ESRCH {
			t.Error("too many pixels:", err)
		}
		c.must(c.setCtrl(ctrlLevel, 5)) // 2.0 has 2 Mbit/s
		c.must(c.setCtrl(ctrlBitrate, 3_000_000))
		if err := c.stream(true, true); err != unix.ESRCH {
			t.Error("too many bits:", err)
		}
		c.must(c.setCtrl(ctrlBitrate, 1_000_000))
		c.start()
		c.encode(1)
	})
	each(t, []string{"fps_max=60"}, func(t *testing.T, _ string, c *client) {
		if err := c.setRate(1, 120); err != unix.ENOMEM {
			t.Error(err)
		}
		c.must(c.setRate(1, 60))
	})
}

// What the bit rate is when nobody, or somebody, sets it at the start and later.
func TestBitrate(t *testing.T) {
	plain(t, "engine=openh264 bitrate_def=1500000")
	for _, x := range []struct {
		params        string
		start, change uint32
		fps           uint32
		err           error
		before, after int // bits a second
	}{
		{"bitrate=obey", 400_000, 1_200_000, 30, nil, 400_000, 1_200_000},
		{"bitrate=frozen", 400_000, 1_200_000, 30, nil, 400_000, 400_000},
		{"bitrate=ignored", 400_000, 800_000, 30, nil, 1_500_000, 1_500_000},
		{"bitrate=busy", 400_000, 1_200_000, 30, unix.EBUSY, 400_000, 400_000},
		{"bitrate=refused", 400_000, 1_200_000, 30, unix.EINVAL, 400_000, 400_000},
		{"parm=ignored fps_def=15", 400_000, 800_000, 30, nil, 800_000, 1_600_000},
		{"controls=queued", 400_000, 800_000, 30, nil, 400_000, 800_000},
	} {
		t.Run(x.params, func(t *testing.T) {
			set(t, strings.Fields(x.params)...)
			defer reset(t)
			c := open(t)
			defer c.close()
			c.must(c.setCtrl(ctrlGOP, 0))
			c.must(c.setCtrl(ctrlBitrate, x.start))
			c.must(c.setRate(1, x.fps))
			c.start()
			near := func(when string, want int) {
				t.Helper()
				c.encode(15)
				if n := bits(c.encode(30)); n < want*3/4 || n > want*5/4 {
					t.Errorf("%s: %d bit/s, want %d", when, n, want)
				}
			}
			near("at the start", x.before)
			if err := c.setCtrl(ctrlBitrate, x.change); err != x.err {
				t.Error(err)
			}
			near("after the change", x.after)
		})
	}
	t.Run("rc=off", func(t *testing.T) {
		set(t, "rc=off")
		defer reset(t)
		c := open(t)
		defer c.close()
		c.must(c.setCtrl(ctrlBitrate, 400_000))
		c.start()
		free := bits(c.encode(15))
		c.must(c.setCtrl(ctrlRC, 1))
		c.encode(15)
		if n := bits(c.encode(15)); n*3/2 > free || n > 250_000 {
			t.Errorf("half a second has %d bits without rate control, %d with it", free, n)
		}
	})
}

// A control meant for the buffers that are queued after it.
func TestControlsQueued(t *testing.T) {
	plain(t, "engine=openh264")
	each(t, []string{"controls=now", "controls=queued"}, func(t *testing.T, v string, c *client) {
		c.start()
		c.encode(1)
		set(t, "delay_ms=300")
		c.feed()
		c.feed()
		c.feed()
		c.must(c.setCtrl(ctrlForce, 0))
		c.feed()
		var all []coded
		for range 4 {
			k, err := c.take(long)
			c.must(err)
			all = append(all, k)
		}
		if s := nals(all); (s == "p p p SPI") != (v == "controls=queued") {
			t.Error(s)
		}
	})
}

// Each family's parameters together make an encoder that encodes.
func TestFamilies(t *testing.T) {
	for family, want := range map[string]struct{ card, out string }{
		"bcm2835-codec": {"bcm2835-codec-encode", "SPI p I p"},
		"venus":         {"Qualcomm Venus video encoder", "SPI p SPI p"},
		"iris":          {"Iris Encoder", "SPI p I p"},
		"s5p-mfc":       {"s5p-mfc-enc", "SP I p I p"},
		"amphion":       {"amphion vpu encoder", "SPI p I p"},
		"coda":          {"CODA960", "SPI p I p"},
		"mtk":           {"MT8173 video encoder", "SP I p I p"},
		"wave5":         {"wave5-enc", "SPI p I p"},
	} {
		t.Run(family, func(t *testing.T) {
			shell(t, "start_vh264_like "+family+" engine=openh264")
			t.Cleanup(func() { shell(t, "stop_vh264") })
			c := open(t)
			if s := c.caps().text(16, 32); s != want.card {
				t.Error(s)
			}
			c.fourcc = formats(c)[:4]
			c.must(c.setCtrl(ctrlBitrate, 500_000))
			c.must(c.setCtrl(ctrlGOP, 2))
			c.must(c.setRate(1, 30))
			c.format(100_000)
			c.start()
			var all []coded
			for range 4 {
				c.feed()
			}
			for range strings.Fields(want.out) {
				k, err := c.take(long)
				c.must(err)
				all = append(all, k)
			}
			if s := nals(all); s != want.out {
				t.Error(s)
			}
		})
	}
}
