package v4l2

import (
	"errors"
	"fmt"
	"slices"

	v4l "github.com/vladimirvivien/go4vl/v4l2"

	"anchord/hal"
	"anchord/internal/media"
)

// How far enumerations are followed: a driver that never says "no more" must not keep
// us for ever.
const (
	mostFormats   = 256
	mostSizes     = 256
	mostIntervals = 64
)

// standard are the sizes that are offered where a driver takes any within a range.
var standard = [...]media.Size{
	{W: 160, H: 120}, {W: 176, H: 144}, {W: 320, H: 180}, {W: 320, H: 240}, {W: 352, H: 288},
	{W: 480, H: 270}, {W: 640, H: 360}, {W: 640, H: 480}, {W: 848, H: 480}, {W: 800, H: 600},
	{W: 960, H: 540}, {W: 1024, H: 768}, {W: 1280, H: 720}, {W: 1280, H: 960}, {W: 1600, H: 1200},
	{W: 1920, H: 1080}, {W: 2560, H: 1440}, {W: 3840, H: 2160},
}

// Modes lists what the camera offers in the formats of media, in the driver's order. A
// mode without a rate is one whose driver does not say how fast it is.
func (c *camera) Modes() ([]hal.Mode, error) {
	var modes []hal.Mode
	for i := range uint32(mostFormats) {
		f, err := c.node.format(i)
		if err != nil {
			if i == 0 || !errors.Is(err, v4l.ErrorBadArgument) {
				return nil, c.wrap("list modes of", err)
			}
			break
		}
		pixel := media.PixelFormat(f.PixelFormat)
		switch pixel {
		case media.YUYV, media.NV12, media.YU12, media.MJPG, media.H264:
		default:
			continue
		}
		sizes, err := c.sizes(f.PixelFormat)
		if err != nil {
			return nil, c.wrap("list modes of", err)
		}
		for _, s := range sizes {
			m := hal.Mode{Pixel: pixel, Size: s, Rate: c.fastest(f.PixelFormat, s)}
			if !slices.Contains(modes, m) {
				modes = append(modes, m)
			}
		}
	}
	if len(modes) == 0 {
		return nil, fmt.Errorf("list modes of camera %s: %w: none of its formats can be used", c.device.Node, hal.ErrUnsupported)
	}
	return modes, nil
}

// sizes lists the sizes of one pixel format. Drivers of video bridges list none, since
// the size is the source's: there it is the one that is set now.
func (c *camera) sizes(pixel uint32) ([]media.Size, error) {
	var out []media.Size
	for i := range uint32(mostSizes) {
		e, err := c.node.size(i, pixel)
		if err != nil {
			if !c.node.alive() {
				return nil, err
			}
			break
		}
		if e.Type != v4l.FrameSizeTypeDiscrete {
			return inRange(e.Size), nil
		}
		out = append(out, media.Size{W: int(e.Size.MinWidth), H: int(e.Size.MinHeight)})
	}
	if len(out) == 0 {
		f, err := c.node.pixFormat()
		if err != nil {
			return nil, err
		}
		out = append(out, media.Size{W: int(f.Width), H: int(f.Height)})
	}
	return slices.DeleteFunc(out, func(s media.Size) bool {
		return s.W < 1 || s.H < 1 || s.W > mostSide || s.H > mostSide
	}), nil
}

// inRange gives the standard sizes that a range allows, and its largest.
func inRange(r v4l.FrameSize) []media.Size {
	fits := func(n int, lo, hi, step uint32) bool {
		return n >= int(lo) && n <= int(hi) && (step <= 1 || (n-int(lo))%int(step) == 0)
	}
	var out []media.Size
	for _, s := range standard {
		if fits(s.W, r.MinWidth, r.MaxWidth, r.StepWidth) && fits(s.H, r.MinHeight, r.MaxHeight, r.StepHeight) {
			out = append(out, s)
		}
	}
	if top := (media.Size{W: int(r.MaxWidth), H: int(r.MaxHeight)}); len(out) == 0 && top.W > 0 && top.H > 0 && top.W <= mostSide && top.H <= mostSide {
		out = append(out, top)
	}
	return out
}

// fastest gives the highest rate of a format and size; the zero Rate if the driver does
// not say.
func (c *camera) fastest(pixel uint32, s media.Size) media.Rate {
	var best media.Rate
	for i := range uint32(mostIntervals) {
		v := frameInterval{index: i, pixel: pixel, width: uint32(s.W), height: uint32(s.H)}
		if c.node.interval(&v) != nil {
			break
		}
		if r := rate(v.min); r.Float() > best.Float() {
			best = r
		}
		if v.typ != v4l.FrameIntervalTypeDiscrete {
			break
		}
	}
	return best
}

// rate turns the time of one frame into frames a second; the zero Rate if that makes
// no sense: fewer than one in 10 s, or more than 1000 a second. How long a camera may be
// silent follows from it.
func rate(f v4l.Fract) media.Rate {
	const most = 1 << 31
	if f.Numerator == 0 || f.Denominator == 0 || f.Numerator >= most || f.Denominator >= most ||
		uint64(f.Denominator) > 1000*uint64(f.Numerator) || uint64(f.Numerator) > 10*uint64(f.Denominator) {
		return media.Rate{}
	}
	n, d := int(f.Denominator), int(f.Numerator)
	g := gcd(n, d)
	return media.Rate{Num: n / g, Den: d / g}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
