//go:build rig

package quirks

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anchord/internal/media"
)

// each starts a client for each of some values of a parameter.
func each(t *testing.T, values []string, f func(t *testing.T, v string, c *client)) {
	for _, v := range values {
		t.Run(v, func(t *testing.T) {
			set(t, v)
			defer reset(t)
			c := open(t)
			defer c.close()
			f(t, v, c)
		})
	}
}

// reset puts all parameters that can be written back to what they were at load.
func reset(t *testing.T) {
	t.Helper()
	for name, v := range atLoad {
		if err := os.WriteFile(params+name, []byte(v), 0); err != nil && !os.IsPermission(err) {
			t.Error(name, err)
		}
	}
}

const params = "/sys/module/vh264/parameters/"

var atLoad = map[string]string{}

// plain loads the module without parameters, and notes what they are.
func plain(t *testing.T, args string) {
	t.Helper()
	load(t, args)
	clear(atLoad)
	ds, err := os.ReadDir(params)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if i, err := d.Info(); err != nil || i.Mode()&0o200 == 0 || i.Mode()&0o400 == 0 {
			continue
		}
		b, err := os.ReadFile(params + d.Name())
		if err != nil {
			t.Fatal(err)
		}
		atLoad[d.Name()] = string(b)
	}
}

func nals(all []coded) string {
	var s []string
	for _, k := range all {
		s = append(s, k.nals)
	}
	return strings.Join(s, " ")
}

func bits(all []coded) (n int) {
	for _, k := range all {
		n += 8 * len(k.data)
	}
	return n
}

func sps(t *testing.T, k coded) media.SPS {
	t.Helper()
	nal, rest := media.NextNAL(k.data)
	for len(nal) > 0 && media.TypeOf(nal) != media.NALSPS {
		nal, rest = media.NextNAL(rest)
	}
	s, err := media.ParseSPS(nal)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEngine(t *testing.T) {
	plain(t, "")
	each(t, []string{"engine=openh264", "engine=lossless"}, func(t *testing.T, v string, c *client) {
		c.must(c.setCtrl(ctrlGOP, 10))
		c.must(c.setCtrl(ctrlBitrate, 600_000))
		c.must(c.setRate(1, 20))
		c.h = 236
		c.start()
		all := c.encode(20)
		want := "SPI" + strings.Repeat(" p", 9)
		if v == "engine=lossless" {
			want = "ASPI" + strings.Repeat(" Ap", 9)
		}
		if want += " " + want; nals(all) != want {
			t.Error(nals(all))
		}
		for i, k := range all {
			if k.stamp != stamp(i) || k.flags&(flagKey|flagP) != map[bool]uint32{true: flagKey, false: flagP}[i%10 == 0] {
				t.Errorf("frame %d: %v, time stamp %v", i, k, k.stamp)
			}
		}
		if s := sps(t, all[0]); s.Level != 12 || s.Profile != 66 || s.Size != (media.Size{W: 320, H: 236}) {
			t.Errorf("%+v", s)
		}
		if v == "engine=lossless" {
			return
		}
		if n := bits(all); n < 450_000 || n > 750_000 {
			t.Errorf("%d bits in a second", n)
		}
		c.must(c.setCtrl(ctrlForce, 0))
		c.must(c.setCtrl(ctrlGOP, 0))
		c.must(c.setCtrl(ctrlBitrate, 1_200_000))
		if s := nals(c.encode(20)); s != "SPI"+strings.Repeat(" p", 19) {
			t.Error("forced key frame:", s)
		}
		if n := bits(c.encode(20)); n < 900_000 || n > 1_500_000 {
			t.Errorf("%d bits in a second after a change to twice the rate", n)
		}
	})
}

// A key frame by a restart of CAPTURE.
func TestRestartBeginsWithKeyFrame(t *testing.T) {
	plain(t, "api=splane force_key=none engine=openh264")
	c := open(t)
	if c.mp {
		t.Error("not single-planar")
	}
	if _, ok := c.ctrl(ctrlForce); ok {
		t.Error("there is the control")
	}
	c.start()
	c.encode(5)
	c.must(c.stream(false, false))
	for i := range c.cap {
		c.give(i)
	}
	c.must(c.stream(false, true))
	if s := nals(c.encode(2)); s != "SPI p" {
		t.Error(s)
	}
}

func TestForceKeyIgnored(t *testing.T) {
	plain(t, "engine=openh264")
	each(t, []string{"force_key=ignored"}, func(t *testing.T, _ string, c *client) {
		c.start()
		c.encode(2)
		c.must(c.setCtrl(ctrlForce, 0))
		if s := nals(c.encode(3)); s != "p p p" {
			t.Error(s)
		}
	})
}

func TestHeaders(t *testing.T) {
	plain(t, "engine=openh264")
	for _, x := range []struct {
		params string
		ctrls  map[uint32]uint32
		want   string
	}{
		{"header_ctrls=0 repeat=1", nil, "SPI p SPI"},
		{"header_ctrls=0 repeat=0", nil, "SPI p I"},
		{"header_ctrls=1 repeat=0", nil, "SPI p I"},
		{"header_ctrls=1 repeat=0", map[uint32]uint32{ctrlRepeat: 1}, "SPI p SPI"},
		{"header_ctrls=2 repeat=0", map[uint32]uint32{ctrlPrepend: 1}, "SPI p SPI"},
		{"header_ctrls=2 repeat=0 headers=ignored", map[uint32]uint32{ctrlPrepend: 1}, "SPI p I"},
		{"header_ctrls=0 header_mode=separate", nil, "SP I p SP I"},
		{"header_ctrls=4 header_mode=separate repeat=0", nil, "SP I p I"},
		{"header_ctrls=4 header_mode=separate", map[uint32]uint32{ctrlMode: 1}, "SPI p SPI"},
		{"header_ctrls=4", map[uint32]uint32{ctrlMode: 0}, "SP I p SP I"},
	} {
		t.Run(fmt.Sprint(x.params, x.ctrls), func(t *testing.T) {
			set(t, strings.Fields(x.params)...)
			defer reset(t)
			c := open(t)
			defer c.close()
			n := 0
			for _, id := range []uint32{ctrlRepeat, ctrlPrepend, ctrlMode} {
				if _, ok := c.ctrl(id); ok {
					n |= map[uint32]int{ctrlRepeat: 1, ctrlPrepend: 2, ctrlMode: 4}[id]
				}
			}
			if want := int(x.params[len("header_ctrls=")] - '0'); n != want {
				t.Errorf("controls %d", n)
			}
			for id, v := range x.ctrls {
				c.must(c.setCtrl(id, v))
			}
			c.must(c.setCtrl(ctrlGOP, 2))
			c.start()
			for range 3 {
				c.feed()
			}
			var all []coded
			for range strings.Fields(x.want) {
				k, err := c.take(long)
				if err != nil {
					t.Fatal(nals(all), err)
				}
				all = append(all, k)
			}
			if nals(all) != x.want {
				t.Error(nals(all))
			}
			if k, err := c.take(100 * time.Millisecond); err == nil {
				t.Error("one more:", k)
			}
			if strings.HasPrefix(x.want, "SP ") && all[0].stamp != stamp(0) {
				t.Error("parameter sets without their frame's time stamp:", all[0].stamp)
			}
		})
	}
}

func TestFewerOrMoreThanFrames(t *testing.T) {
	plain(t, "engine=openh264")
	t.Run("skip_every", func(t *testing.T) {
		set(t, "skip_every=3")
		defer reset(t)
		c := open(t)
		defer c.close()
		c.start()
		var got []time.Duration
		for range 6 {
			c.feed()
			if k, err := c.take(time.Second); err == nil {
				got = append(got, k.stamp)
			}
		}
		if want := []time.Duration{stamp(0), stamp(1), stamp(3), stamp(4)}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Error(got)
		}
	})
	t.Run("headers_only", func(t *testing.T) {
		set(t, "headers_only=2")
		defer reset(t)
		c := open(t)
		defer c.close()
		c.start()
		if s := nals(c.encode(4)); s != "SP SP SPI p" {
			t.Error(s)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		set(t, "garbage=100")
		defer reset(t)
		c := open(t)
		defer c.close()
		c.start()
		c.feed()
		a, err := c.take(long)
		c.must(err)
		b, err := c.take(long)
		c.must(err)
		if a.stamp != 0 || len(a.data) != 100 || a.nals != "" || b.nals != "SPI" || b.stamp != stamp(0) {
			t.Error(a, a.stamp, b, b.stamp)
		}
		if s := nals(c.encode(2)); s != "p p" {
			t.Error(s)
		}
	})
	t.Run("latency", func(t *testing.T) {
		set(t, "latency=2")
		defer reset(t)
		c := open(t)
		defer c.close()
		c.start()
		c.feed()
		c.feed()
		if k, err := c.take(time.Second); err == nil {
			t.Error("too early:", k)
		}
		c.feed()
		k, err := c.take(long)
		c.must(err)
		if k.stamp != stamp(0) {
			t.Error(k.stamp)
		}
		c.must(c.stop())
		for i := 1; i < 3; i++ {
			if k, err = c.take(long); err != nil || k.stamp != stamp(i) || k.flags&flagLast != 0 != (i == 2) {
				t.Error(i, k, k.stamp, err)
			}
		}
	})
	t.Run("overflow", func(t *testing.T) {
		set(t, "coded_size=4000", "overflow=error", "engine=lossless")
		defer reset(t)
		c := open(t)
		c.start()
		if k := c.encode(1)[0]; k.flags&flagError == 0 || len(k.data) != 0 {
			t.Error(k)
		}
		c.close()
		c = open(t)
		c.format(400_000)
		c.start()
		if k := c.encode(1)[0]; k.nals != "ASPI" {
			t.Error("with more room:", k)
		}
		c.close()
		set(t, "coded_size=50000", "coded_max=50000", "overflow=pieces")
		c = open(t)
		defer c.close()
		c.format(400_000)
		c.start()
		c.feed()
		var all []coded
		for n := 0; n < 320*240*3/2; {
			k, err := c.take(long)
			c.must(err)
			all = append(all, k)
			n += len(k.data)
			if k.flags&flagError != 0 || k.stamp != stamp(0) {
				t.Error(k, k.stamp)
			}
		}
		if len(all) != 3 || all[0].nals != "ASPI" || len(all[0].data) != 50000 {
			t.Error(all)
		}
	})
}

func TestStamps(t *testing.T) {
	plain(t, "")
	want := map[string]func(n int) time.Duration{
		"copy":   stamp,
		"zero":   func(int) time.Duration { return 0 },
		"offset": func(n int) time.Duration { return stamp(n) + 10*time.Second },
		"ms":     func(n int) time.Duration { return stamp(n).Truncate(time.Millisecond) },
		"own":    func(n int) time.Duration { return (time.Duration(n) * time.Second / 30).Truncate(time.Microsecond) },
	}
	each(t, []string{"stamps=copy", "stamps=zero", "stamps=offset", "stamps=ms", "stamps=own"}, func(t *testing.T, v string, c *client) {
		c.start()
		for i, k := range c.encode(3) {
			if w := want[strings.TrimPrefix(v, "stamps=")](i); k.stamp != w {
				t.Errorf("frame %d: %v, want %v", i, k.stamp, w)
			}
		}
	})
}

func TestKeyFlag(t *testing.T) {
	plain(t, "")
	want := map[string]string{"right": "KPP", "never": "PPP", "always": "KKK", "wrong": "PKK"}
	each(t, []string{"keyflag=right", "keyflag=never", "keyflag=always", "keyflag=wrong"}, func(t *testing.T, v string, c *client) {
		c.start()
		s := ""
		for _, k := range c.encode(3) {
			if k.flags&flagKey != 0 {
				s += "K"
			} else if k.flags&flagP != 0 {
				s += "P"
			}
		}
		if s != want[strings.TrimPrefix(v, "keyflag=")] {
			t.Error(s)
		}
	})
}

func TestDrain(t *testing.T) {
	plain(t, "")
	each(t, []string{"last=frame", "last=empty", "last=unmarked", "last=never", "eos=none", "eos=silent", "drain=never", "restart=0"}, func(t *testing.T, v string, c *client) {
		if err := c.subscribe(eventEOS); (err != nil) != (v == "eos=none") {
			t.Error("subscribe:", err)
		}
		c.start()
		for range 3 {
			c.feed()
		}
		c.must(c.stop())
		var all []coded
		var err error
		for {
			var k coded
			wait := time.Second
			if len(all) < 3 {
				wait = long
			}
			if k, err = c.take(wait); err != nil {
				break
			}
			all = append(all, k)
		}
		s := fmt.Sprint(nals(all), " ", err == unix.EPIPE)
		if want := map[string]string{
			"last=empty": "ASPI Ap Ap  true", "last=unmarked": "ASPI Ap Ap  false",
			"last=never": "ASPI Ap Ap false", "drain=never": "ASPI Ap Ap false",
		}[v]; s != want && !(want == "" && (s == "ASPI Ap Ap true" || s == "ASPI Ap Ap  true")) { // the queue may have been empty
			t.Error(s)
		}
		if e := c.event(); (e == eventEOS) == (v == "eos=none" || v == "eos=silent" || v == "drain=never") {
			t.Error("event", e)
		}
		switch err := c.restart(); v {
		case "drain=never":
			if err != unix.EBUSY || c.stop() != unix.EBUSY {
				t.Error("during the drain:", err)
			}
			return
		case "restart=0":
			if err != unix.EINVAL {
				t.Error("START:", err)
			}
			return
		default:
			c.must(err)
		}
		if v == "last=frame" || v == "last=empty" {
			for i := range c.cap { // the last was not given back
				if b, _ := c.buffer(false, i, mmap); c.ioctl(both, 9, b) == nil && b.u32(12)&2 == 0 {
					c.give(i)
				}
			}
		}
		if s := nals(c.encode(2)); s != "ASPI Ap" {
			t.Error("after the restart:", s)
		}
	})
}
