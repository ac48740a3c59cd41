package haltest

import (
	"bytes"
	"testing"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// EncoderRig is what the encoder suite needs.
type EncoderRig struct {
	Make hal.VideoEncoders
	// Paint draws picture n of a moving test picture.
	Paint func(f *media.Frame, n int)
	// Skips says that the encoder may skip pictures to keep its bit rate.
	Skips bool
	// Obeys says that the bit rate is kept within 30 % over 3 s of stream.
	Obeys bool
	// Shared has the pictures in memory that other processes can map.
	Shared bool
}

// frames makes a pool of n pictures.
func (r EncoderRig) frames(t *testing.T, f media.Format, n int) *media.Pool[*media.Frame] {
	t.Helper()
	if !r.Shared {
		return media.NewFrames(f, n)
	}
	p, err := media.NewSharedFrames(f, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Encoder runs the suite of hal.VideoEncoders and hal.VideoEncoder.
func Encoder(t *testing.T, r EncoderRig) {
	if r.Make.Name() == "" || len(r.Make.Inputs()) == 0 {
		t.Fatal("no name or no inputs")
	}
	for _, px := range r.Make.Inputs() {
		for _, size := range []media.Size{{W: 320, H: 240}, {W: 640, H: 360}, {W: 1280, H: 720}} {
			f := media.Format{Pixel: px, Size: size}
			f.Colour = f.Colour.Guess(size)
			t.Run(f.String(), func(t *testing.T) { r.stream(t, f) })
		}
	}
	f := media.Format{Pixel: r.Make.Inputs()[0], Size: media.Size{W: 640, H: 360}}
	t.Run("wrong frame", func(t *testing.T) {
		e := r.open(t, f, 1e6)
		defer e.Close()
		other := f
		other.Size.W = 320
		p := r.frames(t, other, 1).Get()
		if k, err := e.Encode(p, false); err == nil {
			t.Errorf("a frame of another size gave %v", k)
		}
		p.Release()
	})
	t.Run("refused", func(t *testing.T) {
		leaks(t)
		for _, c := range []hal.VideoConfig{
			{Input: media.Format{Pixel: f.Pixel, Size: media.Size{}}, Rate: media.FPS(30), Bitrate: 1e6},
			{Input: media.Format{Pixel: f.Pixel, Size: media.Size{W: 641, H: 361}}, Rate: media.FPS(30), Bitrate: 1e6},
			{Input: f, Rate: media.Rate{}, Bitrate: 1e6},
			{Input: f, Rate: media.FPS(30), Bitrate: 0},
		} {
			if e, _, err := r.Make.Open(t.Context(), c); err == nil {
				t.Errorf("%+v was opened", c)
				e.Close()
			}
		}
	})
	t.Run("packets outlive their encoder", func(t *testing.T) {
		e := r.open(t, f, 1e6)
		pool := r.frames(t, f, 1)
		p := r.encode(t, e, pool, 0, true)
		before := bytes.Clone(p.Data)
		e.Close()
		if !bytes.Equal(before, p.Data) {
			t.Error("the bytes changed")
		}
		p.Release()
	})
	t.Run("rate", func(t *testing.T) { r.rate(t, f) })
}

func (r EncoderRig) open(t *testing.T, f media.Format, bitrate int) hal.VideoEncoder {
	t.Helper()
	e, g, err := r.Make.Open(t.Context(), hal.VideoConfig{Input: f, Rate: media.FPS(30), Bitrate: bitrate, MinBitrate: bitrate / 4})
	if err != nil {
		t.Fatal(err)
	}
	if g.Input.Pixel != f.Pixel || g.Input.Size != f.Size || g.Bitrate <= 0 {
		t.Errorf("asked for %v at %d, granted %+v", f, bitrate, g)
	}
	return e
}

// encode codes picture n, at 30 a second, and gives its packet; nil if it was skipped.
func (r EncoderRig) encode(t *testing.T, e hal.VideoEncoder, pool *media.Pool[*media.Frame], n int, key bool) *media.Packet {
	t.Helper()
	f := pool.Get()
	if f == nil {
		t.Fatal("the encoder keeps all frames")
	}
	r.Paint(f, n)
	f.Seq = uint32(n)
	f.Marks[media.Captured] = media.Time(time.Hour).Add(time.Duration(n) * time.Second / 30)
	at := f.Marks[media.Captured]
	p, err := e.Encode(f, key)
	f.Release()
	if err != nil {
		t.Fatalf("picture %d: %v", n, err)
	}
	if p == nil {
		if !r.Skips || key {
			t.Fatalf("picture %d gave nothing", n)
		}
		return nil
	}
	if p.Marks[media.Captured] != at || p.Marks[media.Encoded] == 0 {
		t.Errorf("picture %d: marks %v", n, p.Marks)
	}
	return p
}

// stream checks that key pictures come when asked for and at no other time, with their
// parameter sets in front.
func (r EncoderRig) stream(t *testing.T, f media.Format) {
	leaks(t)
	e := r.open(t, f, 2e6)
	pool := r.frames(t, f, 4)
	for n := range 40 {
		ask := n == 7 || n == 8 || n == 30
		p := r.encode(t, e, pool, n, ask)
		if p == nil {
			continue
		}
		if p.Key != (ask || n == 0) || p.Key != media.IsKey(p.Data) {
			t.Errorf("picture %d: key %v (asked %v, really %v)", n, p.Key, ask, media.IsKey(p.Data))
		}
		nal, rest := media.NextNAL(p.Data)
		if p.Key {
			if media.TypeOf(nal) != media.NALSPS {
				t.Errorf("picture %d begins with NAL type %d", n, media.TypeOf(nal))
			}
			if second, _ := media.NextNAL(rest); media.TypeOf(second) != media.NALPPS {
				t.Errorf("picture %d: then NAL type %d", n, media.TypeOf(second))
			}
			if s, err := media.ParseSPS(nal); r.Obeys && (err != nil || s.Size != f.Size) {
				t.Errorf("picture %d: SPS says %+v %v", n, s, err)
			}
		}
		p.Release()
	}
	if pool.Out() != 0 {
		t.Errorf("%d frames are kept", pool.Out())
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// rate checks that a change of the bit rate is followed by the stream itself.
func (r EncoderRig) rate(t *testing.T, f media.Format) {
	leaks(t)
	e := r.open(t, f, 1.2e6)
	defer e.Close()
	pool := r.frames(t, f, 4)
	n := 0
	measure := func(seconds int) int {
		bytes := 0
		for range 30 * seconds {
			if p := r.encode(t, e, pool, n, n == 0); p != nil {
				bytes += len(p.Data)
				p.Release()
			}
			n++
		}
		return 8 * bytes / seconds
	}
	measure(2)
	for _, want := range []int{1.2e6, 5e5, 9e5} {
		if g, err := e.SetRate(want, media.FPS(30)); err != nil || g <= 0 {
			t.Fatalf("set %d: granted %d, %v", want, g, err)
		}
		measure(1) // to settle
		got := measure(3)
		if r.Obeys && (got < want*7/10 || got > want*13/10) {
			t.Errorf("asked for %d bit/s, the stream has %d", want, got)
		}
	}
	if _, err := e.SetRate(0, media.FPS(30)); err == nil {
		t.Error("a bit rate of 0 was granted")
	}
	if pool.Out() != 0 {
		t.Errorf("%d frames are kept", pool.Out())
	}
}
