package openh264

import (
	"testing"

	"anchord/hal/haltest"
	"anchord/internal/media"
)

func TestConforms(t *testing.T) {
	haltest.Encoder(t, haltest.EncoderRig{
		Make:  New(Config{}),
		Paint: func(f *media.Frame, n int) { (&film{f: f, k: n, noise: 5, seed: uint32(n) + 1}).draw() },
		Skips: true,
		Obeys: true,
	})
}
