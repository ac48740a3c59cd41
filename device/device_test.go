package device

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anchord/device/config"
	"anchord/internal/media"
)

// base is a file that has some values.
func base() (config.Config, map[string]config.Source) {
	c := config.Default()
	c.Rooms.Enabled = true
	c.Video.FPS, c.Video.Bitrate, c.Video.MinBitrate = 20, 900, 400
	return c, map[string]config.Source{"rooms.enabled": config.FromFile, "video.fps": config.FromFile, "video.bitrate": config.FromFile, "video.min_bitrate": config.FromFile}
}

func box() *Device { return New(base()) }

// memory is a store that can fail.
type memory struct {
	values config.Values
	err    error
}

func (m *memory) Save(v config.Values) error {
	if m.err == nil {
		for k, x := range v {
			m.values[k] = x
		}
	}
	return m.err
}

func (m *memory) Delete(keys ...string) error {
	if m.err == nil {
		for _, k := range keys {
			delete(m.values, k)
		}
	}
	return m.err
}

func TestChangeIsAllOrNothing(t *testing.T) {
	d := box()
	want := d.Wanted()
	told := 0
	d.OnChange(func(old, now config.Config, by string) {
		told++
		if len(config.Diff(old, now)) == 0 || by != "me" {
			t.Errorf("told of no change, or of one by %q", by)
		}
	})
	boom := errors.New("boom")
	for name, edit := range map[string]func(*config.Config) error{
		"edit fails": func(c *config.Config) error { c.Video.FPS = 30; return boom },
		"fps":        func(c *config.Config) error { c.Video.FPS = 0; return nil },
		"rotation":   func(c *config.Config) error { c.Video.Rotation = 45; return nil },
		"bitrate":    func(c *config.Config) error { c.Video.Bitrate = 1; return nil },
		"size":       func(c *config.Config) error { c.Video.Resolution = "1x1"; return nil },
		"volume":     func(c *config.Config) error { c.Mic.Volume = 151; return nil },
		"room":       func(c *config.Config) error { c.Room.ID, c.Room.User, c.Room.AutoEnter = "0", "u", true; return nil },
		"user":       func(c *config.Config) error { c.Room.ID, c.Room.User, c.Room.AutoEnter = "1", "u u", true; return nil },
		"no user":    func(c *config.Config) error { c.Room.ID, c.Room.AutoEnter = "1", true; return nil },
		"own list":   func(c *config.Config) error { c.Encoder.Order[0] = "x264"; return nil },
	} {
		if _, err := d.Change("me", edit); err == nil || err.Error() == "" {
			t.Errorf("%s: no error", name)
		}
		if diff := cmp.Diff(want, d.Wanted()); diff != "" {
			t.Errorf("%s: something was changed: %s", name, diff)
		}
	}
	if same, err := d.Change("me", func(*config.Config) error { return nil }); !same || err != nil || told != 0 {
		t.Errorf("unchanged: %v %v, told %d", same, err, told)
	}
	if same, err := d.Change("me", func(c *config.Config) error { c.Video.FPS = 30; return nil }); same || err != nil || told != 1 || d.Wanted().Video.FPS != 30 {
		t.Errorf("changed: %v %v, told %d", same, err, told)
	}
}

func TestLatencyQuantiles(t *testing.T) {
	var l Latency
	for i := range 1000 {
		var m media.Marks
		at := media.Time(time.Hour)
		m[media.Captured] = at
		m[media.Arrived] = at.Add(time.Millisecond)
		m[media.Converted] = m[media.Arrived].Add(time.Millisecond)
		m[media.Taken] = m[media.Converted].Add(10 * time.Microsecond)
		m[media.Encoded] = m[media.Taken].Add(time.Duration(i+1) * 10 * time.Microsecond)
		m[media.Packetized] = m[media.Encoded].Add(20 * time.Microsecond)
		m[media.Sent] = m[media.Packetized].Add(20 * time.Microsecond)
		l.Observe(&m)
	}
	near := func(a, b time.Duration) bool { return a >= b*9/10 && a <= b*12/10 }
	for _, s := range l.Stages() {
		switch s.Stage {
		case "encode":
			if !near(s.P50, 5*time.Millisecond) || !near(s.P95, 9500*time.Microsecond) || s.Max != 10*time.Millisecond || s.Count != 1000 {
				t.Errorf("%+v", s)
			}
		case "overhead":
			if !near(s.P95, 2050*time.Microsecond) {
				t.Errorf("%+v", s)
			}
		}
	}
	for _, d := range l.Distributions() {
		if d.Stage != "encode" {
			continue
		}
		// 10 µs, 20 µs, … 10 ms
		for i, n := range d.Upto {
			if want := min(1000, uint64(d.Edge(i)/(10*time.Microsecond))); n != want {
				t.Errorf("%d frames took up to %v, want %d", n, d.Edge(i), want)
			}
		}
		if d.Count != 1000 || d.Sum != 500500*10*time.Microsecond || d.Edge(len(d.Upto)-1) != 2097152*time.Microsecond {
			t.Errorf("%+v", d)
		}
	}
	if d, s := l.Distributions(), l.Stages(); len(d) != len(s) || d[len(d)-1].Stage != s[len(s)-1].Stage {
		t.Errorf("%d distributions, %d stages", len(d), len(s))
	}
	var m media.Marks
	m[media.Captured], m[media.Sent] = 1, 2
	if n := testing.AllocsPerRun(100, func() { l.Observe(&m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	l.Reset()
	if s := l.Stages()[0]; s.Count != 0 || s.P50 != 0 || s.Max != 0 {
		t.Errorf("after reset: %+v", s)
	}
}

// other gives a value that a key may have and has not.
func other(key, now string) string {
	good := map[string]string{"room.url": "whip+https://example.org/whip/1", "room.id": "101", "room.user": "cart-7", "ice.servers": "stun:a.example,stun:b.example:3479",
		"camera.format": "yuyv", "camera.mute_image": "/x.png", "camera.mute_fps": "7", "mic.volume": "120", "mic.device_volume": "80", "mic.quality": "music", "video.resolution": "1280x720", "video.fps": "30", "video.bitrate": "1200", "video.min_bitrate": "300",
		"video.rotation": "90", "encoder.threads": "2", "control.socket": "/run/other.sock", "control.http.listen": "127.0.0.1:1",
		"gsensor.mode": "auto", "gsensor.device": "i2c:1:lis3dh", "gsensor.address": "0x19", "gsensor.matrix": "0, -1, 0; 1, 0, 0; 0, 0, 1",
		"rooms.listen": "127.0.0.1:2", "rooms.udp": "127.0.0.1:3", "rooms.advertise": "192.0.2.1,192.0.2.2", "rooms.viewers": "9", "log.level": "debug", "log.file": "/var/log/x", "log.max_mb": "20", "encoder.order": "openh264"}
	switch now {
	case "true":
		return "false"
	case "false":
		return "true"
	}
	if v, ok := good[key]; ok {
		return v
	}
	return "x-" + key
}

// Every key can be set by a command, is stored, and comes back.
func TestEveryKeyIsKept(t *testing.T) {
	m := &memory{values: config.Values{}}
	d := box()
	d.Keep(m)
	all := config.Values{}
	for _, v := range d.Values("all") {
		if v.Key != "store.path" && v.Key != "encoder.order" {
			all[v.Key] = other(v.Key, v.Text)
		}
	}
	all["room.auto_enter"], all["rooms.open"], all["rooms.enabled"] = "true", "true", "true" // together they fit
	delete(all, "rooms.enabled")
	if _, err := d.Set("me", all); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, m.values); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	again := box()
	if bad := again.Restore(m.values); bad != nil {
		t.Fatal(bad)
	}
	if diff := cmp.Diff(d.Wanted(), again.Wanted()); diff != "" {
		t.Errorf("restored:\n%s", diff)
	}
	for _, v := range again.Values("all") {
		if _, set := all[v.Key]; set != (v.From == config.FromCommand) || v.Waits {
			t.Errorf("%+v", v)
		}
	}
	if keys, err := d.Reset("me", "all"); err != nil || len(keys) != len(all) || len(m.values) != 0 {
		t.Errorf("reset %v %v, left %v", keys, err, m.values)
	}
	if diff := cmp.Diff(box().Wanted(), d.Wanted()); diff != "" {
		t.Errorf("reset:\n%s", diff)
	}
}

func TestValuesSayWhereTheyComeFrom(t *testing.T) {
	d := box()
	if _, err := d.Set("me", config.Values{"video.rotation": "90", "rooms.viewers": "7"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range []string{"video.fps", "video.rotation", "video.mirror", "rooms.viewers"} {
		for _, v := range d.Values(name) {
			got = append(got, fmt.Sprint(v.Key, " ", v.Text, " ", v.From, " ", v.Waits))
		}
	}
	want := []string{"video.fps 20 file false", "video.rotation 90 command false", "video.mirror false default false", "rooms.viewers 7 command true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if v := d.Values("video.fp"); v != nil {
		t.Errorf("%v", v)
	}
}

func TestSetSaysAllFaults(t *testing.T) {
	d := box()
	_, err := d.Set("me", config.Values{"video.fps": "x", "video": "1", "vidoe.fps": "3", "video.mirror": "perhaps", "store.path": "/tmp/x"})
	var w *WantError
	if !errors.As(err, &w) || len(w.Faults) != 5 {
		t.Fatalf("%v", err)
	}
	for _, s := range []string{`video.fps: "x": needs a whole number`, "video: is a table: name one of its keys: video.resolution", "vidoe.fps: there is no such key (did you mean video.fps?)",
		`video.mirror: "perhaps": needs true or false`, "store.path: can be set in the file only"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is not in %q", s, err)
		}
	}
}

func TestRestoreLeavesOutWhatCannotBeWanted(t *testing.T) {
	d := box()
	bad := d.Restore(config.Values{"video.fps": "30", "video.rotation": "45", "mic.volume": "x", "room.auto_enter": "true", "video.resolution": "big", "gone.key": "1",
		"video.bitrate": "100", "video.min_bitrate": "50"})
	var keys []string
	for _, err := range bad {
		keys = append(keys, strings.Fields(err.Error())[1])
	}
	if want := []string{"gone.key", "mic.volume", "room.auto_enter", "video.resolution", "video.rotation"}; !slices.Equal(keys, want) {
		t.Errorf("%v", bad)
	}
	w, _ := base()
	w.Video.FPS, w.Video.Bitrate, w.Video.MinBitrate = 30, 100, 50
	if diff := cmp.Diff(w, d.Wanted()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeStoredIsNotChanged(t *testing.T) {
	d := box()
	told := 0
	d.OnChange(func(config.Config, config.Config, string) { told++ })
	m := &memory{values: config.Values{}, err: errors.New("full")}
	d.Keep(m)
	faster := func(c *config.Config) error { c.Video.FPS = 30; return nil }
	if _, err := d.Change("me", faster); !errors.Is(err, ErrNotKept) || !errors.Is(err, m.err) || told != 0 || d.Wanted().Video.FPS != 20 {
		t.Errorf("%v, told %d", err, told)
	}
	m.err = nil
	if _, err := d.Change("me", faster); err != nil || told != 1 || m.values["video.fps"] != "30" || len(m.values) != 1 {
		t.Errorf("%v, told %d, kept %v", err, told, m.values)
	}
	m.err = errors.New("full")
	if _, err := d.Reset("me", "video.fps"); !errors.Is(err, ErrNotKept) || told != 1 || d.Wanted().Video.FPS != 30 {
		t.Errorf("%v, told %d", err, told)
	}
	m.err = nil
	if keys, err := d.Reset("me", "video"); err != nil || !slices.Equal(keys, []string{"video.fps"}) || told != 2 || d.Wanted().Video.FPS != 20 {
		t.Errorf("%v %v, told %d", keys, err, told)
	}
	if keys, err := d.Reset("me", "video"); err != nil || keys != nil || told != 2 {
		t.Errorf("%v %v, told %d", keys, err, told)
	}
	if _, err := d.Reset("me", "vid"); !errors.Is(err, ErrNoKey) {
		t.Errorf("%v", err)
	}
}

// A reset that leaves something impossible changes nothing.
func TestResetThatDoesNotFit(t *testing.T) {
	d := box()
	m := &memory{values: config.Values{}}
	d.Keep(m)
	if _, err := d.Set("me", config.Values{"room.id": "101", "room.user": "u", "room.auto_enter": "true"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reset("me", "room.user"); err == nil || !strings.Contains(err.Error(), "needs room.id and room.user") || d.Wanted().Room.User != "u" || len(m.values) != 3 {
		t.Errorf("%v %v", err, m.values)
	}
}
