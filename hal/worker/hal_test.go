package worker

import (
	"log/slog"
	"testing"

	"anchord/hal/haltest"
	"anchord/internal/media"
)

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// paint draws a picture that moves and is not too easy: a gradient, noise that stays in
// its place, and a square that goes round.
func paint(f *media.Frame, n int) {
	seed := uint32(1)
	for i, b := range f.Planes {
		for y := 0; len(b) > 0; y++ {
			line := b[:min(f.Stride[i], len(b))]
			for x := range line {
				seed = seed*1664525 + 1013904223
				line[x] = byte(x/4+y/2) + byte(seed>>28)
				if i == 0 && (x+2*n)%97 < 24 && (y+n)%61 < 20 {
					line[x] ^= 0x60
				}
			}
			b = b[len(line):]
		}
	}
}

func TestOpenH264Conforms(t *testing.T) {
	for name, shared := range map[string]bool{"copied": false, "shared": true} {
		t.Run(name, func(t *testing.T) {
			haltest.Encoder(t, haltest.EncoderRig{Make: workers(t, "openh264"), Paint: paint, Skips: true, Obeys: true, Shared: shared})
		})
	}
}

func TestFakeConforms(t *testing.T) {
	for name, shared := range map[string]bool{"copied": false, "shared": true} {
		t.Run(name, func(t *testing.T) {
			haltest.Encoder(t, haltest.EncoderRig{Make: workers(t, "fake"), Paint: paint, Shared: shared})
		})
	}
}
