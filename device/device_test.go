package device

import (
	"errors"
	"testing"
	"time"

	"anchord/internal/media"
)

func wanted() Wanted {
	return Wanted{Mic: MicWanted{Volume: 100}, Video: VideoWanted{Size: media.Size{W: 640, H: 360}, FPS: 15, Bitrate: 900e3}}
}

func TestChangeIsAllOrNothing(t *testing.T) {
	d := New(wanted())
	told := 0
	d.OnChange(func(old, now Wanted) {
		told++
		if old == now {
			t.Error("told of no change")
		}
	})
	boom := errors.New("boom")
	for name, edit := range map[string]func(*Wanted) error{
		"edit fails": func(w *Wanted) error { w.Video.FPS = 30; return boom },
		"fps":        func(w *Wanted) error { w.Video.FPS = 0; return nil },
		"rotation":   func(w *Wanted) error { w.Video.Rotation = 45; return nil },
		"bitrate":    func(w *Wanted) error { w.Video.Bitrate = 1; return nil },
		"size":       func(w *Wanted) error { w.Video.Size.W = 1; return nil },
		"volume":     func(w *Wanted) error { w.Mic.Volume = 151; return nil },
		"room":       func(w *Wanted) error { w.Room = RoomWanted{true, "0", "u"}; return nil },
		"user":       func(w *Wanted) error { w.Room = RoomWanted{true, "1", "u u"}; return nil },
	} {
		if _, err := d.Change(edit); err == nil || err.Error() == "" {
			t.Errorf("%s: no error", name)
		}
		if d.Wanted() != wanted() {
			t.Errorf("%s: something was changed", name)
		}
	}
	if same, err := d.Change(func(*Wanted) error { return nil }); !same || err != nil || told != 0 {
		t.Errorf("unchanged: %v %v, told %d", same, err, told)
	}
	if same, err := d.Change(func(w *Wanted) error { w.Video.FPS = 30; return nil }); same || err != nil || told != 1 || d.Wanted().Video.FPS != 30 {
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

func TestChangesAndRestoreAreOnePair(t *testing.T) {
	old := wanted()
	now := Wanted{Room: RoomWanted{true, "101", "cart-7"}, Camera: CameraWanted{"HD Pro, any", true, true},
		Mic: old.Mic, Video: VideoWanted{media.Size{W: 1280, H: 720}, 30, 1.2e6, 3e5, media.Rotate90, true}}
	now.Mic.Match, now.Mic.Off, now.Mic.Muted, now.Mic.Volume = "usb", true, true, 120
	kept := Changes(old, now)
	if len(kept) != len(fields()) {
		t.Errorf("%d of %d fields were changed: %v", len(kept), len(fields()), kept)
	}
	d := New(old)
	if bad := d.Restore(kept); bad != nil || d.Wanted() != now {
		t.Errorf("restored %+v, want %+v: %v", d.Wanted(), now, bad)
	}
	if c := Changes(now, now); len(c) != 0 {
		t.Errorf("no change gives %v", c)
	}
}

func TestRestoreLeavesOutWhatCannotBeWanted(t *testing.T) {
	d := New(wanted())
	bad := d.Restore(map[string]string{"video.fps": "30", "video.rotation": "45", "mic.volume": "x", "room.auto_enter": "true", "video.resolution": "big", "gone.key": "1"})
	w := wanted()
	w.Video.FPS = 30
	if len(bad) != 4 || d.Wanted() != w {
		t.Errorf("%v\n%+v", bad, d.Wanted())
	}
}

func TestWhatCannotBeStoredIsNotChanged(t *testing.T) {
	d := New(wanted())
	told := 0
	d.OnChange(func(Wanted, Wanted) { told++ })
	full := errors.New("full")
	d.Keep(func(map[string]string) error { return full })
	if _, err := d.Change(func(w *Wanted) error { w.Video.FPS = 30; return nil }); !errors.Is(err, ErrNotKept) || !errors.Is(err, full) || told != 0 || d.Wanted() != wanted() {
		t.Errorf("%v, told %d", err, told)
	}
	var kept map[string]string
	d.Keep(func(c map[string]string) error { kept = c; return nil })
	if _, err := d.Change(func(w *Wanted) error { w.Video.FPS = 30; return nil }); err != nil || told != 1 || len(kept) != 1 || kept["video.fps"] != "30" {
		t.Errorf("%v, told %d, kept %v", err, told, kept)
	}
}
