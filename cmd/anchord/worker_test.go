package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// The program is its own worker.
func TestWorker(t *testing.T) {
	c := hal.VideoConfig{Input: media.Format{Pixel: media.YU12, Size: media.Size{W: 320, H: 240}}, Rate: media.FPS(30), Bitrate: 5e5}
	for _, w := range []struct {
		name string
		good int // pictures
		err  error
	}{
		{"openh264", 10, nil},
		{"fake", 10, nil},
		{"faulty:hang:3:openh264", 3, hal.ErrStuck},
		{"faulty:exit:3:openh264", 3, hal.ErrGone},
		{"faulty:slow:3:fake", 3, hal.ErrStuck},
	} {
		t.Run(w.name, func(t *testing.T) {
			m := inWorker(w.name, []media.PixelFormat{media.YU12}, slog.New(slog.DiscardHandler))
			if kind, _, _ := strings.Cut(w.name, ":"); m.Name() != kind {
				t.Errorf("name %s", m.Name())
			}
			begun := time.Now()
			e, g, err := m.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("open after %v", time.Since(begun))
			pool := media.NewFrames(g.Input, 1)
			n := 0
			for ; err == nil && n < 10; n++ {
				f := pool.Get()
				f.Marks[media.Captured] = media.Time(n+1) * 33e6
				var p *media.Packet
				if p, err = e.Encode(f, false); p != nil {
					p.Release()
				}
				f.Release()
			}
			if err != nil {
				n--
			}
			if n != w.good || !errors.Is(err, w.err) {
				t.Errorf("%d pictures, then %v", n, err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"", "x264", "faulty", "faulty:hang", "faulty:hang:x:fake", "faulty:hang:1:nothing", "faulty:yawn:1:fake"} {
		if _, _, err := inWorker(name, []media.PixelFormat{media.YU12}, slog.New(slog.DiscardHandler)).Open(t.Context(), c); err == nil {
			t.Errorf("%q was opened", name)
		}
	}
	var w strings.Builder
	if s := workerMain(nil, &w); s != usage || w.Len() == 0 {
		t.Errorf("no name: status %d, %q", s, w.String())
	}
}
