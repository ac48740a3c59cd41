package capture

import (
	"anchord/hal"
	"anchord/internal/media"
)

// Want is what is asked of the camera.
type Want struct {
	Size   media.Size
	Rate   media.Rate
	Format media.PixelFormat // 0: the best for the size
}

// choose picks the mode nearest to what is wanted: the size first (equal, else the
// nearest in shape and area), then enough frames a second, then the format that costs
// least to get into the encoder. ok is false when there is no mode that we can use.
//
// Above VGA at 30 a USB 2 camera sends YUYV too slowly (24.6 MB/s is all that
// isochronous high-bandwidth transfers carry), which its list of rates says by itself;
// at equal rates YUYV costs less than a JPEG to decode.
func choose(ms []hal.Mode, w Want) (best hal.Mode, ok bool) {
	var score float64
	for _, m := range ms {
		c := formatCost(m.Pixel)
		if !usable(m) || w.Format != 0 && m.Pixel != w.Format {
			continue
		}
		if s := 1000*sizeDistance(m.Size, w.Size) + 10*rateDistance(m.Rate, w.Rate) + c; !ok || s < score {
			best, score, ok = m, s, true
		}
	}
	if ok && w.Rate.Num > 0 && (best.Rate.Num == 0 || best.Rate.Float() > w.Rate.Float()) {
		best.Rate = w.Rate // a mode's rate is the most it does, if known; drivers take the nearest they have
	}
	return best, ok
}

// mostArea is what H.264 allows in one picture at its level 5.2 (36864 macroblocks, table
// no encoder takes more, and the pictures alone would take a small box's memory.
const mostArea = 36864 * 16 * 16

// usable tells whether this part can do anything with a mode.
func usable(m hal.Mode) bool { return formatCost(m.Pixel) >= 0 && m.Size.Area() <= mostArea }

// formatCost is below 1, or -1 for formats that this part cannot use.
func formatCost(p media.PixelFormat) float64 {
	switch p {
	case media.YU12:
		return 0
	case media.NV12:
		return .1
	case media.YUYV:
		return .3
	case media.MJPG:
		return .6
	}
	return -1
}

func sizeDistance(a, b media.Size) float64 {
	if a == b {
		return 0
	}
	area := ratio(float64(a.Area()), float64(b.Area())) - 1
	shape := ratio(float64(a.W)/float64(a.H), float64(b.W)/float64(b.H)) - 1
	return .01 + area + 3*shape
}

// rateDistance is 0 for a rate that is enough, else how many frames of each are missing.
func rateDistance(a, b media.Rate) float64 {
	if b.Float() == 0 || a.Float() >= .98*b.Float() {
		return 0
	}
	return 1 - a.Float()/b.Float()
}

func ratio(a, b float64) float64 { return max(a, b) / max(min(a, b), 1e-9) }

// thinner lets through so many frames a second as are wanted, by capture time, when a
// camera gives more than it was asked for.
type thinner struct{ due media.Time }

func (t *thinner) pass(at media.Time, want media.Rate) bool {
	every := want.Interval()
	if every == 0 {
		return true
	}
	// A camera's times jitter: a frame a quarter of an interval early is on time.
	if d := at.Sub(t.due); d < -every/4 && d > -10*every {
		return false
	} else if d > every || d <= -10*every {
		t.due = at // behind, or the clock made a step: begin anew
	}
	t.due = t.due.Add(every)
	return true
}
