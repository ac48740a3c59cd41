package encoder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// Result is what a self-test found.
type Result struct {
	At      time.Time     `json:"at"`
	Size    string        `json:"size"`
	Err     string        `json:"err,omitempty"`   // what is wrong; "" if all is well
	Median  time.Duration `json:"median"`          // of a picture in the encoder
	P95     time.Duration `json:"p95"`             // likewise
	FPS     int           `json:"fps"`             // pictures a second that it could code
	Key     bool          `json:"key"`             // it gives a key picture when asked
	Obeys   bool          `json:"obeys"`           // its bit rate follows, measured
	Skipped int           `json:"skipped"`         // pictures left out
	Rate    [2]int        `json:"rate"`            // measured bits a second before and after the bit rate was halved
	Level   string        `json:"level,omitempty"` // of its stream, such as 3.1
}

const (
	testTime     = 10 * time.Second
	testPictures = 45 // a second and a half each at the full and at half the bit rate
)

// SelfTest codes synthetic pictures with the named encoder and remembers how that went. The
// encoder in use is not disturbed, unless the hardware has one place only: then that is the
// result. It takes a few seconds; ctx ends it early. The error says that there is no such
// encoder; what is wrong with it is in the Result.
func (r *Roster) SelfTest(ctx context.Context, name string, c hal.VideoConfig) (Result, error) {
	e, err := r.find(name)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	res := Result{At: time.Now().Round(time.Second), Size: c.Input.Size.String()}
	if err := selfTest(ctx, e.make, c, &res); err != nil {
		res.Err = err.Error()
	}
	if ctx.Err() == nil || res.Err == "" {
		r.tested(e, res)
	}
	return res, nil
}

func selfTest(ctx context.Context, m hal.VideoEncoders, c hal.VideoConfig, res *Result) (err error) {
	enc, granted, err := m.Open(ctx, c)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() {
		begun := time.Now()
		if e := enc.Close(); e != nil && err == nil {
			err = fmt.Errorf("close: %w", e)
		}
		if took := time.Since(begun); took > 2*time.Second && err == nil {
			err = fmt.Errorf("close: it took %v", took.Round(time.Millisecond))
		}
	}()
	pool := media.NewFrames(granted.Input, 4)
	var times []time.Duration
	var bits [2]int
	var counted [2]int
	base := media.Now()
	for n := range 2 * testPictures {
		half := n / testPictures
		if n == testPictures {
			if _, err := enc.SetRate(c.Bitrate/2, c.Rate); err != nil {
				return fmt.Errorf("halve the bit rate: %w", err)
			}
		}
		ask := n == 10
		p, took, err := testPicture(ctx, enc, pool, n, base.Add(time.Duration(n)*c.Rate.Interval()), ask || n == 0)
		if err != nil {
			return fmt.Errorf("picture %d: %w", n, err)
		}
		times = append(times, took)
		// The first third of each half is for the rate control to find its way.
		counts := n%testPictures >= testPictures/3
		if counts {
			counted[half]++
		}
		if p == nil {
			res.Skipped++
			if n == 0 || ask {
				return fmt.Errorf("picture %d: it was left out, though a key picture was asked for", n)
			}
			continue
		}
		if n == 0 {
			if err := checkFirst(p, granted.Input.Size, res); err != nil {
				p.Release()
				return err
			}
		}
		if ask {
			res.Key = p.Key
		}
		if counts {
			bits[half] += 8 * len(p.Data)
		}
		p.Release()
	}
	slices.Sort(times)
	res.Median, res.P95 = times[len(times)/2].Round(time.Microsecond), times[len(times)*95/100].Round(time.Microsecond)
	if res.Median > 0 {
		res.FPS = int(time.Second / res.Median)
	}
	for i := range bits {
		res.Rate[i] = int(float64(bits[i]) / float64(counted[i]) * c.Rate.Float())
	}
	// Synthetic pictures are easy: they may need less than they are given, never more.
	res.Obeys = res.Rate[1] <= c.Bitrate/2*13/10 && res.Rate[0] <= c.Bitrate*13/10
	if !res.Key {
		return errors.New("it gave no key picture when asked for one")
	}
	return nil
}

// testPicture codes one picture and tells how long that took.
func testPicture(ctx context.Context, enc hal.VideoEncoder, pool *media.Pool[*media.Frame], n int, at media.Time, key bool) (*media.Packet, time.Duration, error) {
	if ctx.Err() != nil {
		return nil, 0, ctx.Err()
	}
	f := pool.Get()
	if f == nil {
		return nil, 0, errors.New("it keeps all pictures")
	}
	paintTest(f, n)
	f.Seq, f.Marks[media.Captured] = uint32(n), at
	begun := time.Now()
	p, err := enc.Encode(f, key)
	f.Release()
	return p, time.Since(begun), err
}

// checkFirst looks at the first access unit of a stream: a key picture with parameter sets
// that say the size that was asked for.
func checkFirst(p *media.Packet, size media.Size, res *Result) error {
	if !p.Key || !media.IsKey(p.Data) {
		return errors.New("its stream does not begin with a key picture")
	}
	for nal, rest := media.NextNAL(p.Data); nal != nil; nal, rest = media.NextNAL(rest) {
		if media.TypeOf(nal) != media.NALSPS {
			continue
		}
		s, err := media.ParseSPS(nal)
		if err != nil {
			return fmt.Errorf("its parameter set cannot be read: %w", err)
		}
		if s.Size != size {
			return fmt.Errorf("its stream is %v, asked for was %v", s.Size, size)
		}
		res.Level = fmt.Sprintf("%d.%d", s.Level/10, s.Level%10)
		return nil
	}
	return errors.New("there are no parameter sets in front of its first picture")
}

// paintTest draws a moving picture with some noise: stripes that travel, so that the encoder
// has motion to find, and a patch that never repeats.
func paintTest(f *media.Frame, n int) {
	w, h := f.Size.W, f.Size.H
	seed := uint32(n)*2654435761 + 1
	for y := range h {
		row := f.Planes[0][y*f.Stride[0]:][:w]
		for x := range row {
			row[x] = byte(64 + (x+y+3*n)&127)
		}
		if y >= h/2 && y < h/2+h/8 {
			for x := w / 4; x < w/2; x++ {
				seed = seed*1664525 + 1013904223
				row[x] = byte(64 + seed>>25)
			}
		}
	}
	for _, p := range f.Planes[1:] {
		for i := range p {
			p[i] = 128
		}
	}
}
