package encoder

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
	"anchord/internal/pixel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

const longest = 5 * time.Second

// maker is a make of encoders that notes what is asked of it.
type maker struct {
	fake.Encoders
	name  string
	refed error // Open gives it
	skip  bool  // pictures are left out
	rates []int
	deny  error // SetRate gives it
}

func (m *maker) Name() string { return m.name }

func (m *maker) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	if m.refed != nil {
		return nil, c, m.refed
	}
	m.rates = append(m.rates, c.Bitrate)
	e, g, err := m.Encoders.Open(ctx, c)
	return &noting{e, m}, g, err
}

type noting struct {
	hal.VideoEncoder
	m *maker
}

func (n *noting) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	if n.m.skip {
		return nil, nil
	}
	return n.VideoEncoder.Encode(f, key)
}

func (n *noting) SetRate(b int, r media.Rate) (int, error) {
	n.m.rates = append(n.m.rates, b)
	if n.m.deny != nil {
		return 0, n.m.deny
	}
	return n.VideoEncoder.SetRate(b, r)
}

// bench is a Video that runs, fed by hand.
type bench struct {
	*Video
	t      testing.TB
	in     *media.Latest
	out    *media.Queue
	demand media.Demand
	sink   *media.Sink
	frames map[media.Size]*media.Pool[*media.Frame]
	ended  chan error
	cancel func()
}

func start(t testing.TB, makes ...hal.VideoEncoders) *bench {
	t.Helper()
	return startWith(t, quiet, makes...)
}

func startWith(t testing.TB, log *slog.Logger, makes ...hal.VideoEncoders) *bench {
	t.Helper()
	return startVideo(t, log, VideoConfig{Encoders: makes})
}

func startVideo(t testing.TB, log *slog.Logger, c VideoConfig) *bench {
	t.Helper()
	b := &bench{t: t, in: media.NewLatest(), out: media.NewQueue(64, func() {}), frames: map[media.Size]*media.Pool[*media.Frame]{}, ended: make(chan error, 1)}
	var tap media.Tap[*media.Packet]
	tap.Add(b.out.Put)
	c.Log, c.In, c.Out, c.Demand = log, b.in, &tap, &b.demand
	b.Video = NewVideo(c,
		VideoSettings{Bitrate: 500000, MinBitrate: 100000, Rate: media.FPS(30)})
	b.sink = b.demand.Sink()
	b.sink.Set(media.Wish{Subscribed: true})
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	gone := make(chan struct{})
	go func() { defer close(gone); b.ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-gone
		b.out.Clear()
		for s, p := range b.frames {
			if p.Out() != 0 {
				t.Errorf("%d frames of %v are not home", p.Out(), s)
			}
		}
	})
	return b
}

var small = media.Size{W: 64, H: 64}

// put gives the encoder a picture.
func (b *bench) put(s media.Size) {
	p := b.frames[s]
	if p == nil {
		p = media.NewFrames(media.Format{Pixel: media.YU12, Size: s}, 3)
		b.frames[s] = p
	}
	f := p.Get()
	f.Marks[media.Captured] = media.Now()
	b.in.Put(f)
}

// packet codes a picture.
func (b *bench) packet(s media.Size) *media.Packet {
	b.t.Helper()
	b.put(s)
	ctx, cancel := context.WithTimeout(b.t.Context(), longest)
	defer cancel()
	p, err := b.out.Get(ctx)
	if err != nil {
		b.t.Fatalf("no packet came: %+v", b.Status())
	}
	return p
}

// key codes a picture and tells whether it is a key picture.
func (b *bench) key() bool {
	b.t.Helper()
	p := b.packet(small)
	defer p.Release()
	if k := media.IsKey(p.Data); k != p.Key {
		b.t.Errorf("key is %t, the stream says %t", p.Key, k)
	}
	return p.Key
}

func (b *bench) end() error {
	b.t.Helper()
	select {
	case err := <-b.ended:
		return err
	case <-time.After(longest):
		b.t.Fatal("Run does not end")
		return nil
	}
}

func (b *bench) until(what string, f func() bool) {
	b.t.Helper()
	for end := time.Now().Add(longest); !f(); {
		if time.Now().After(end) {
			b.t.Fatalf("%s: %+v", what, b.Status())
		}
	}
}

func TestKeyPictures(t *testing.T) {
	m := &maker{name: "a"}
	b := start(t, m)
	if !b.key() {
		t.Error("a stream does not begin with a key picture")
	}
	if b.key() {
		t.Error("a key picture that nobody asked for")
	}
	b.sink.WantKey(media.KeyNow)
	if !b.key() || b.demand.Key() != media.NoKey {
		t.Error("a newcomer waits")
	}
	// A storm of losses: one a second.
	b.sink.WantKey(media.KeySoon)
	begun := time.Now()
	n := 0
	for !b.key() {
		n++
		b.sink.WantKey(media.KeySoon)
		time.Sleep(5 * time.Millisecond) // the camera's pace
	}
	if d := time.Since(begun); d < 900*time.Millisecond || d > 3*time.Second || n < 10 {
		t.Errorf("the next key picture comes after %v", d)
	}
	if st := b.Status(); st.Keys != 3 || st.Frames != uint64(n)+4 || st.Bytes == 0 || st.Encoder != "a" || st.Input.Size != small || st.Bitrate != 500000 {
		t.Errorf("%+v", st)
	}
}

func TestVideoRests(t *testing.T) {
	b := start(t, &maker{name: "a"})
	b.key()
	if b.key() {
		t.Fatal("a key picture that nobody asked for")
	}
	b.sink.Set(media.Wish{})
	b.until("rest", func() bool { return b.Status().Resting }) // by the wish alone: no pictures come
	b.put(small)
	b.until("the picture is taken", func() bool { return b.frames[small].Out() == 0 })
	if b.Status().Frames != 2 {
		t.Error("a picture for nobody was coded")
	}
	b.sink.Set(media.Wish{Subscribed: true})
	if !b.key() || b.Status().Resting {
		t.Error("it does not begin with a key picture when it is woken")
	}
	if b.key() {
		t.Error("a second key picture")
	}
}

func TestBitrateFollowsTheNetwork(t *testing.T) {
	m := &maker{name: "a"}
	b := start(t, m)
	for _, c := range []struct{ wish, want int }{{0, 500000}, {300000, 300000}, {2000000, 500000}, {5000, 100000}, {0, 500000}} {
		b.sink.Set(media.Wish{Subscribed: true, Bitrate: c.wish})
		b.packet(small).Release()
		b.until("bit rate", func() bool { return b.Status().Bitrate == c.want })
	}
	s := b.Settings()
	s.Bitrate, s.Rate = 200000, media.FPS(15)
	b.Set(s)
	b.packet(small).Release()
	b.until("less is wanted", func() bool { return b.Status().Bitrate == 200000 })
	// One that refuses is not asked again with every picture.
	m.deny = hal.ErrUnsupported
	b.sink.Set(media.Wish{Subscribed: true, Bitrate: 150000})
	n := len(m.rates)
	for range 5 {
		b.packet(small).Release()
	}
	if got := len(m.rates) - n; got != 1 || b.Status().Bitrate != 200000 {
		t.Errorf("asked %d times: %+v", got, b.Status())
	}
}

func TestAnotherSizeBeginsAnew(t *testing.T) {
	m := &maker{name: "a"}
	b := start(t, m)
	b.key()
	b.key()
	big := media.Size{W: 128, H: 64}
	p := b.packet(big)
	if !p.Key || p.Size != big || m.Opened() != 1 {
		t.Errorf("key %t, %v, %d encoders are open", p.Key, p.Size, m.Opened())
	}
	p.Release()
	b.cancel()
	if err := b.end(); !errors.Is(err, context.Canceled) || m.Opened() != 0 || b.Status().Encoder != "" {
		t.Errorf("%v, %d encoders are open", err, m.Opened())
	}
}

func TestNextEncoderTakesOver(t *testing.T) {
	first, second, third := &maker{name: "first"}, &maker{name: "second", refed: hal.ErrBusy}, &maker{name: "third"}
	b := start(t, first, second, third)
	b.key()
	first.Fail(errors.New("wedged"))
	p := b.packet(small) // of the same picture
	if !p.Key {
		t.Fatal("the third does not begin with a key picture")
	}
	p.Release()
	if st := b.Status(); st.Encoder != "third" || st.Failed != 1 || first.Opened() != 0 || third.Opened() != 1 {
		t.Errorf("%+v", st)
	}
	first.Fail(nil)
	third.Fail(errors.New("wedged too"))
	if !b.key() || b.Status().Encoder != "first" {
		t.Errorf("nobody takes over: %+v", b.Status())
	}
	first.Fail(errors.New("wedged again"))
	b.put(small)
	if err := b.end(); err == nil || !strings.Contains(err.Error(), "wedged") || first.Opened()+third.Opened() != 0 {
		t.Errorf("%v, %d are open", err, first.Opened()+third.Opened())
	}
}

func TestNoEncoder(t *testing.T) {
	b := start(t)
	b.put(small)
	if err := b.end(); err == nil || !strings.Contains(err.Error(), "none is configured") {
		t.Error(err)
	}
	b = start(t, &maker{name: "a", refed: hal.ErrBusy}, &maker{name: "b", refed: hal.ErrDenied})
	b.put(small)
	if err := b.end(); !errors.Is(err, hal.ErrBusy) || !errors.Is(err, hal.ErrDenied) {
		t.Error(err)
	}
}

func TestSkippedPicturesAreCounted(t *testing.T) {
	m := &maker{name: "a", skip: true}
	b := start(t, m)
	b.put(small)
	b.until("skipped", func() bool { return b.Status().Skipped == 1 })
	if st := b.Status(); st.Frames != 0 || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
}

func TestWhatComesTooFastIsCounted(t *testing.T) {
	pictures, sounds := media.NewLatest(), media.NewMailbox[*media.Sound](1)
	v, a := NewVideo(VideoConfig{In: pictures}, VideoSettings{}), NewAudio(AudioConfig{In: sounds}, AudioSettings{})
	for range 3 { // while both encoders are busy
		pictures.Put(media.NewFrame(nil).Lend())
		sounds.Put(media.NewSound(nil).Lend())
	}
	if p, s := v.Status().Late, a.Status().Late; p != 2 || s != 2 {
		t.Errorf("%d pictures and %d blocks of sound came too fast, want 2 of 3 each", p, s)
	}
	pictures.Clear()
	sounds.Clear()
}

func TestNothingIsAllocatedPerPicture(t *testing.T) {
	b := start(t, &fake.Encoders{})
	one := func() {
		b.put(small)
		for {
			if p := b.out.Try(); p != nil {
				p.Release()
				return
			}
			<-b.out.Ready()
		}
	}
	for range 10 {
		one()
	}
	if n := testing.AllocsPerRun(200, one); n != 0 {
		t.Errorf("%v allocations a picture", n)
	}
}

// BenchmarkPictureToPacket converts a camera's picture, codes it with the fake encoder and
// takes the packet.
func BenchmarkPictureToPacket(b *testing.B) {
	s := start(b, &fake.Encoders{})
	size := media.Size{W: 1280, H: 720}
	camera := media.NewFrames(media.Format{Pixel: media.NV12, Size: size}, 1).Get()
	defer camera.Release()
	pool := media.NewFrames(media.Format{Pixel: media.YU12, Size: size}, 3)
	var conv pixel.Converter
	defer conv.Close()
	b.ReportAllocs()
	for b.Loop() {
		f := pool.Get()
		if err := conv.Convert(f, camera); err != nil {
			b.Fatal(err)
		}
		f.Marks[media.Captured] = media.Now()
		s.in.Put(f)
		for {
			if p := s.out.Try(); p != nil {
				p.Release()
				break
			}
			<-s.out.Ready()
		}
	}
}
