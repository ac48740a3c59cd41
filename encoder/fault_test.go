package encoder

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// weary encoders code one picture each and then fail.
type weary struct {
	maker
	opened int
}

func (w *weary) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	w.opened++
	e, g, err := w.maker.Open(ctx, c)
	return &once{VideoEncoder: e}, g, err
}

type once struct {
	hal.VideoEncoder
	done bool
}

func (o *once) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	if o.done {
		return nil, errors.New("weary")
	}
	o.done = true
	return o.VideoEncoder.Encode(f, key)
}

func TestEncodersThatFailInTurnAreNotOpenedForEver(t *testing.T) {
	first, second := &weary{}, &weary{}
	b := start(t, first, second)
	for range 100 {
		b.put(small)
		b.until("the picture is taken", func() bool { return b.frames[small].Out() == 0 })
	}
	if err := b.end(); err == nil || !strings.Contains(err.Error(), "weary") {
		t.Error(err)
	}
	if n := first.opened + second.opened; n != 3 || first.maker.Opened()+second.maker.Opened() != 0 {
		t.Errorf("%d were opened", n)
	}
}

// A camera's frame must not wait for an encoder that does not run: the camera could not be
// closed.
func TestNoFrameIsKeptAfterAnError(t *testing.T) {
	b := start(t, &maker{refed: hal.ErrUnsupported})
	b.put(small)
	if err := b.end(); !errors.Is(err, hal.ErrUnsupported) {
		t.Error(err)
	}
	b.put(small)
	if n := b.frames[small].Out(); n != 0 {
		t.Errorf("%d frames wait for nobody", n)
	}
}

// Other readers have the same frame: what the encoder notes is the packet's.
func TestFramesAreLeftAsTheyAre(t *testing.T) {
	b := start(t, &maker{})
	p := media.NewFrames(media.Format{Pixel: media.YU12, Size: small}, 1)
	f := p.Get()
	f.Marks[media.Captured] = media.Now()
	before := f.Marks
	b.in.Put(f.Retain())
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	k, err := b.out.Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if f.Marks != before || k.Marks[media.Taken] < before[media.Captured] || k.Marks[media.Encoded] < k.Marks[media.Taken] {
		t.Errorf("frame %v, packet %v", f.Marks, k.Marks)
	}
	k.Release()
	f.Release()
}

// lines counts what is logged.
type lines struct{ n atomic.Int32 }

func (l *lines) Write(b []byte) (int, error) { l.n.Add(1); return len(b), nil }

func TestRefusedBitratesAreSaidOnceASecond(t *testing.T) {
	var said lines
	m := &maker{name: "a", deny: hal.ErrUnsupported}
	b := startWith(t, slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn})), m)
	begun := time.Now()
	for i := range 50 {
		b.sink.Set(media.Wish{Subscribed: true, Bitrate: 200000 + 1000*i})
		b.packet(small).Release()
	}
	if n := said.n.Load(); n < 1 || n > 1+int32(time.Since(begun)/time.Second) || b.Status().Failed < 49 {
		t.Errorf("%d lines, %+v", n, b.Status())
	}
}
