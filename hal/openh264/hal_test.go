package openh264

import (
	"testing"

	"anchord/hal/haltest"
	"anchord/internal/media"
)

func TestConforms(t *testing.T) {
	films := map[media.Size]*film{}
	haltest.Encoder(t, haltest.EncoderRig{
		Make: New(Config{}),
		Paint: func(f *media.Frame, n int) {
			if films[f.Size] == nil {
				films[f.Size] = newLoop(f.Size, 5, 15)
			}
			films[f.Size].show(f, n)
		},
		Skips: true,
		Obeys: true,
	})
}
