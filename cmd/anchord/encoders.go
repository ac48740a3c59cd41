package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"anchord/device/control"
	"anchord/encoder"
	"anchord/hal"
	"anchord/internal/media"
)

// encoderNote is what the store calls the roster's memory.
const encoderNote = "note.encoders"

// leastRoom is how much memory has to be free for a second encoder to wait: what one takes
// at 1080p, three times.
const leastRoom = 128 << 20

// roomy tells whether there is memory for a second encoder.
func roomy() bool {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kb int64
		if _, err := fmt.Sscanf(s.Text(), "MemAvailable: %d kB", &kb); err == nil {
			return kb<<10 >= leastRoom
		}
	}
	return false
}

// encoders gives what the encoder commands act on.
func (d *daemon) encoders() control.Encoders {
	return control.Encoders{
		Names: func() []string {
			var out []string
			for _, e := range d.roster.List() {
				out = append(out, e.Name)
			}
			return out
		},
		List: func() []control.Fields {
			used := d.encoder.Status().Encoder
			var out []control.Fields
			for _, e := range d.roster.List() {
				out = append(out, encoderFields(e, used))
			}
			return out
		},
		Test: func(ctx context.Context, name string) (control.Fields, error) {
			v := d.device.Wanted().Video
			size := v.Size()
			size = media.Size{W: size.W &^ 1, H: size.H &^ 1}
			target, least := v.Bits()
			in := media.Format{Pixel: media.YU12, Size: size}
			in.Colour = in.Colour.Guess(size)
			r, err := d.roster.SelfTest(ctx, name, hal.VideoConfig{Input: in, Rate: media.FPS(v.FPS), Bitrate: target, MinBitrate: least})
			if err != nil {
				return nil, err
			}
			return append(control.Fields{{Key: "name", Value: name}}, testFields(r)...), nil
		},
		Clear: d.roster.Clear,
	}
}

func encoderFields(e encoder.Encoder, used string) control.Fields {
	f := control.Fields{{Key: "name", Value: e.Name}, {Key: "software", Value: e.Software}, {Key: "in_use", Value: e.Name == used}}
	if e.Aside != "" {
		f = append(f, control.Field{Key: "aside", Value: e.Aside}, control.Field{Key: "since", Value: e.Since.UTC().Format(time.RFC3339)},
			control.Field{Key: "until", Value: e.Until.UTC().Format(time.RFC3339)})
	}
	if e.Wedges > 0 {
		f = append(f, control.Field{Key: "hangs", Value: e.Wedges})
	}
	if e.Test != nil {
		f = append(f, control.Field{Key: "test", Value: testFields(*e.Test)})
	}
	return f
}

func testFields(r encoder.Result) control.Fields {
	verdict := "good"
	if r.Err != "" {
		verdict = strings.TrimSpace(r.Err)
	}
	ms := func(t time.Duration) float64 { return float64(t.Microseconds()) / 1000 }
	return control.Fields{{Key: "result", Value: verdict}, {Key: "at", Value: r.At.UTC().Format(time.RFC3339)}, {Key: "size", Value: r.Size},
		{Key: "median_ms", Value: ms(r.Median)}, {Key: "p95_ms", Value: ms(r.P95)}, {Key: "fps", Value: r.FPS}, {Key: "key_on_demand", Value: r.Key},
		{Key: "obeys_bitrate", Value: r.Obeys}, {Key: "measured_kbps", Value: r.Rate[0] / 1000}, {Key: "measured_half_kbps", Value: r.Rate[1] / 1000},
		{Key: "skipped", Value: r.Skipped}, {Key: "level", Value: r.Level}}
}
