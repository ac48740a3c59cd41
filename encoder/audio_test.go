package encoder

import (
	"context"
	"errors"
	"math"
	"testing"

	"anchord/internal/media"
	"anchord/internal/opus"
)

// studio is an Audio that runs, fed by hand.
type studio struct {
	*Audio
	t      *testing.T
	in     *media.Mailbox[*media.Sound]
	out    *media.Queue
	demand media.Demand
	sink   *media.Sink
	pools  map[int]*media.Pool[*media.Sound]
	n      int // samples that were put
	cancel func()
	ended  chan error
}

func listen(t *testing.T, s AudioSettings) *studio {
	t.Helper()
	st := &studio{t: t, in: media.NewMailbox[*media.Sound](4), out: media.NewQueue(64, nil), pools: map[int]*media.Pool[*media.Sound]{}, ended: make(chan error, 1)}
	var tap media.Tap[*media.Packet]
	tap.Add(st.out.Put)
	st.Audio = NewAudio(AudioConfig{Log: quiet, In: st.in, Out: &tap, Demand: &st.demand}, s)
	st.sink = st.demand.Sink()
	st.sink.Set(media.Wish{Subscribed: true})
	ctx, cancel := context.WithCancel(t.Context())
	st.cancel = cancel
	gone := make(chan struct{})
	go func() { defer close(gone); st.ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-gone
		st.out.Clear()
		for c, p := range st.pools {
			if p.Out() != 0 {
				t.Errorf("%d blocks of %d channels are not home", p.Out(), c)
			}
		}
	})
	return st
}

// packet codes the next 20 ms of a tone.
func (s *studio) packet(hz, amplitude float64, channels int) *media.Packet {
	s.t.Helper()
	p := s.pools[channels]
	if p == nil {
		p = media.NewSounds(960*channels, 4)
		s.pools[channels] = p
	}
	b := p.Get()
	b.Rate, b.Channels = 48000, channels
	b.Marks[media.Captured] = media.Now()
	for i := range 960 {
		v := amplitude * math.Sin(2*math.Pi*hz*float64(s.n)/48000)
		s.n++
		for c := range channels {
			b.PCM[i*channels+c] = int16(v)
		}
	}
	s.in.Put(b)
	ctx, cancel := context.WithTimeout(s.t.Context(), longest)
	defer cancel()
	q, err := s.out.Get(ctx)
	if err != nil {
		s.t.Fatalf("no packet came: %+v", s.Status())
	}
	if !q.Key || q.Samples != 960 || q.Marks[media.Captured] == 0 || q.Marks[media.Encoded] < q.Marks[media.Captured] {
		s.t.Errorf("key %t, %d samples, %v", q.Key, q.Samples, q.Marks)
	}
	return q
}

// decoded gives the last half second of a second of tone.
func (s *studio) decoded(hz, amplitude float64, channels int) []float64 {
	s.t.Helper()
	d, err := opus.NewDecoder(channels)
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close()
	var out []float64
	pcm := make([]int16, 960*channels)
	for i := range 50 {
		p := s.packet(hz, amplitude, channels)
		n, err := d.Decode(pcm, p.Data)
		p.Release()
		if err != nil || n != 960 {
			s.t.Fatalf("%d samples, %v", n, err)
		}
		for j := 0; i >= 25 && j < n; j++ {
			out = append(out, float64(pcm[j*channels]))
		}
	}
	return out
}

func rms(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(x)))
}

// crossings gives the frequency by the upward crossings of zero.
func crossings(x []float64) float64 {
	first, last, n := -1, 0, 0
	for i := 1; i < len(x); i++ {
		if x[i-1] < 0 && x[i] >= 0 {
			if first < 0 {
				first = i
			} else {
				n++
			}
			last = i
		}
	}
	return float64(n) * 48000 / float64(last-first)
}

var plain = AudioSettings{Bitrate: 50000, Volume: 100}

func TestTone(t *testing.T) {
	for _, c := range []struct {
		name     string
		set      AudioSettings
		channels int
		gain     float64
	}{
		{"speech", plain, 1, 1},
		{"music", AudioSettings{Bitrate: 128000, Volume: 100, Music: true}, 2, 1},
		{"half as loud", AudioSettings{Bitrate: 50000, Volume: 50}, 1, .5},
		{"louder", AudioSettings{Bitrate: 50000, Volume: 150}, 1, 1.5},
	} {
		s := listen(t, c.set)
		x := s.decoded(440, 10000, c.channels)
		if hz, level := crossings(x), rms(x)/(10000/math.Sqrt2); math.Abs(hz-440) > 3 || math.Abs(level/c.gain-1) > .12 {
			t.Errorf("%s: %.1f Hz, %.2f times as loud", c.name, hz, level)
		}
		if st := s.Status(); st.Packets != 50 || st.Bytes == 0 || st.Failed != 0 {
			t.Errorf("%s: %+v", c.name, st)
		}
	}
}

func TestMutedCostsNothing(t *testing.T) {
	for _, set := range []AudioSettings{{Bitrate: 50000, Volume: 100, Muted: true}, {Bitrate: 50000, Volume: 0}} {
		s := listen(t, set)
		sum := 0
		for i := range 60 {
			p := s.packet(440, 20000, 1)
			if i >= 30 {
				sum += len(p.Data)
			}
			if p.Level != 127 || p.Voice {
				t.Errorf("level -%d, voice %t", p.Level, p.Voice)
			}
			p.Release()
		}
		if sum > 300 {
			t.Errorf("%+v: 30 packets of silence have %d bytes", set, sum)
		}
		// Sound is back with the next block.
		s.Set(plain)
		if p := s.packet(440, 20000, 1); len(p.Data) < 30 || p.Level > 20 {
			t.Errorf("after mute: %d bytes at -%d dBov", len(p.Data), p.Level)
		} else {
			p.Release()
		}
	}
}

func TestLossTurnsFECOn(t *testing.T) {
	s := listen(t, AudioSettings{Bitrate: 32000, Volume: 100})
	// What a decoder makes of a lost block from the packet after it: with FEC it has the
	// tone's new loudness, by guess it has the old one.
	recovered := func() float64 {
		d, err := opus.NewDecoder(1)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		pcm := make([]int16, 960)
		for range 20 {
			p := s.packet(300, 300, 1)
			if _, err := d.Decode(pcm, p.Data); err != nil {
				t.Fatal(err)
			}
			p.Release()
		}
		for range 2 { // these are lost
			s.packet(300, 20000, 1).Release()
		}
		p := s.packet(300, 20000, 1)
		defer p.Release()
		if _, err := d.Recover(pcm, p.Data); err != nil {
			t.Fatal(err)
		}
		x := make([]float64, len(pcm))
		for i, v := range pcm {
			x[i] = float64(v)
		}
		return rms(x)
	}
	without := recovered()
	s.sink.Set(media.Wish{Subscribed: true, Loss: .15})
	with := recovered()
	if without > 1000 || with < 5*without || with < 3000 {
		t.Errorf("loudness of a recovered block: %.0f without losses, %.0f with", without, with)
	}
	if c := s.config(1); !c.FEC || c.ExpectedLoss != 20 {
		t.Errorf("%+v", c)
	}
	s.sink.Set(media.Wish{Subscribed: true})
	if c := s.config(1); c.FEC || c.ExpectedLoss != 0 {
		t.Errorf("%+v", c)
	}
}

func TestLossStep(t *testing.T) {
	for l, want := range map[float64]int{0: 0, .001: 2, .02: 2, .021: 5, .1: 10, .2: 20, .21: 30, 1: 30} {
		if got := lossStep(l); got != want {
			t.Errorf("%v: %d, want %d", l, got, want)
		}
	}
}

func TestChannelsAndKindChangeWhileRunning(t *testing.T) {
	s := listen(t, plain)
	stereo := func(p *media.Packet) bool { return p.Data[0]&4 != 0 } // RFC 6716 3.1
	for _, c := range []struct {
		channels int
		set      AudioSettings
	}{{1, plain}, {2, plain}, {1, plain}, {2, AudioSettings{Bitrate: 128000, Volume: 100, Music: true}}, {1, AudioSettings{Bitrate: 18000, Volume: 100}}} {
		s.Set(c.set)
		p := s.packet(440, 10000, c.channels)
		if c.channels == 1 && stereo(p) {
			t.Errorf("%+v: mono sound in stereo", c)
		}
		p.Release()
		x := s.decoded(440, 10000, c.channels)
		if hz := crossings(x); math.Abs(hz-440) > 3 {
			t.Errorf("%+v: %.1f Hz", c, hz)
		}
	}
}

func TestBadSound(t *testing.T) {
	s := listen(t, AudioSettings{Volume: 100}) // no bit rate
	b := media.NewSounds(960, 1).Get()
	b.Channels = 1
	s.in.Put(b)
	if err := <-s.ended; err == nil || errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.ended <- nil
}

func TestLevel(t *testing.T) {
	block := func(f func(i int) float64) []int16 {
		x := make([]int16, 960)
		for i := range x {
			x[i] = int16(f(i))
		}
		return x
	}
	sine := func(a float64) []int16 {
		return block(func(i int) float64 { return a * math.Sin(2*math.Pi*float64(i)/48) })
	}
	for _, c := range []struct {
		name string
		pcm  []int16
		want uint8
	}{
		{"full-scale sine", sine(32767), 3},
		{"a tenth of it", sine(3276.7), 23},
		{"full-scale square", block(func(i int) float64 { return float64(1-i/24%2*2) * 32767 }), 0},
		{"the lowest number", block(func(int) float64 { return -32768 }), 0},
		{"one step", block(func(int) float64 { return 1 }), 90},
		{"silence", block(func(int) float64 { return 0 }), 127},
		{"nothing", nil, 127},
	} {
		if got := level(c.pcm); got != c.want {
			t.Errorf("%s: -%d dBov, want -%d", c.name, got, c.want)
		}
	}
}

func TestGain(t *testing.T) {
	pcm := []int16{0, 1000, -1000, 32767, -32768}
	for _, c := range []struct {
		set  AudioSettings
		want [5]int16
	}{
		{AudioSettings{Volume: 100}, [5]int16{0, 1000, -1000, 32767, -32768}},
		{AudioSettings{Volume: 150}, [5]int16{0, 1500, -1500, 32767, -32768}},
		{AudioSettings{Volume: 50}, [5]int16{0, 500, -500, 16383, -16384}},
		{AudioSettings{Volume: 0}, [5]int16{}},
		{AudioSettings{Volume: 100, Muted: true}, [5]int16{}},
	} {
		if got := gain(nil, pcm, c.set); [5]int16(got) != c.want || pcm[1] != 1000 {
			t.Errorf("%+v: %v", c.set, got)
		}
	}
}

func TestNothingIsAllocatedPerBlock(t *testing.T) {
	s := listen(t, plain)
	p := media.NewSounds(960, 2)
	one := func() {
		b := p.Get()
		b.Rate, b.Channels = 48000, 1
		s.in.Put(b)
		for {
			if q := s.out.Try(); q != nil {
				q.Release()
				return
			}
			<-s.out.Ready()
		}
	}
	for range 10 {
		one()
	}
	if n := testing.AllocsPerRun(100, one); n != 0 {
		t.Errorf("%v allocations a block", n)
	}
}
