package opus

import (
	"math"
	"strings"
	"testing"
)

func encoder(t testing.TB, c Config) *Encoder {
	t.Helper()
	e, err := NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func decoder(t testing.TB, channels int) *Decoder {
	t.Helper()
	d, err := NewDecoder(channels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// tone fills pcm with the block at number k of a tone, one an octave up on the right.
func tone(pcm []int16, k, channels int, hz float64) {
	for i := range pcm {
		at := float64(k*Block + i/channels)
		pcm[i] = int16(10000 * math.Sin(2*math.Pi*hz*float64(1+i%channels)*at/Rate))
	}
}

// power is how much of a frequency is in one channel (Goertzel).
func power(pcm []int16, channel, channels int, hz float64) float64 {
	var re, im float64
	n := 0
	for i := channel; i < len(pcm); i += channels {
		a := 2 * math.Pi * hz * float64(n) / Rate
		re += float64(pcm[i]) * math.Cos(a)
		im += float64(pcm[i]) * math.Sin(a)
		n++
	}
	return math.Hypot(re, im) / float64(n)
}

func TestToneComesBack(t *testing.T) {
	for _, c := range []Config{
		{Channels: 1, Bitrate: 32000, Complexity: 5},
		{Channels: 2, Rate: 48000, Bitrate: 64000, Complexity: 10, Application: Audio},
	} {
		e, d := encoder(t, c), decoder(t, c.Channels)
		if n := e.Lookahead(); n < 100 || n > 960 {
			t.Errorf("lookahead %d", n)
		}
		in, out, packet := make([]int16, Block*c.Channels), make([]int16, Block*c.Channels), make([]byte, MaxPacket)
		var all []int16
		for k := range 50 {
			tone(in, k, c.Channels, 440)
			n, err := e.Encode(packet, in)
			if err != nil {
				t.Fatal(err)
			}
			m, err := d.Decode(out, packet[:n])
			if err != nil || m != Block {
				t.Fatal(m, err)
			}
			all = append(all, out...)
		}
		all = all[len(all)/2:]
		for ch := range c.Channels {
			hz := 440 * float64(1+ch)
			p, other := power(all, ch, c.Channels, hz), power(all, ch, c.Channels, hz*1.2)
			if p < 3500 || other > p/20 {
				t.Errorf("%d channels, channel %d: %.0f at %.0f Hz, %.0f beside it", c.Channels, ch, p, hz, other)
			}
		}
	}
}

func TestSilenceIsNotSent(t *testing.T) {
	e := encoder(t, Config{Channels: 1, Bitrate: 32000, Complexity: 5, DTX: true})
	pcm, packet := make([]int16, Block), make([]byte, MaxPacket)
	small := func() (k int) {
		for range 100 {
			n, err := e.Encode(packet, pcm)
			if err != nil {
				t.Fatal(err)
			}
			if n <= 2 {
				k++
			}
		}
		return k
	}
	if k := small(); k < 80 {
		t.Errorf("%d of 100 silent blocks are small", k)
	}
	if err := e.SetDTX(false); err != nil {
		t.Fatal(err)
	}
	if k := small(); k > 1 {
		t.Errorf("without DTX %d of 100 blocks are small", k)
	}
}

func TestBitrateChanges(t *testing.T) {
	e := encoder(t, Config{Channels: 1, Bitrate: 48000, Complexity: 5})
	pcm, packet := make([]int16, Block), make([]byte, MaxPacket)
	seed := uint32(1)
	second := func() (bits int) {
		for k := range 50 {
			tone(pcm, k, 1, 300)
			for i := range pcm {
				seed = seed*1664525 + 1013904223
				pcm[i] += int16(seed>>20) - 2048
			}
			n, err := e.Encode(packet, pcm)
			if err != nil {
				t.Fatal(err)
			}
			bits += 8 * n
		}
		return bits
	}
	for _, want := range []int{48000, 16000, 64000, 24000} {
		if err := e.SetBitrate(want); err != nil {
			t.Fatal(err)
		}
		if got := second(); got < want*7/10 || got > want*12/10 {
			t.Errorf("%d bits a second, want %d", got, want)
		}
	}
}

func TestLostBlockIsRecovered(t *testing.T) {
	e, d := encoder(t, Config{Channels: 1, Bitrate: 32000, Complexity: 5, FEC: true, ExpectedLoss: 20}), decoder(t, 1)
	pcm, out := make([]int16, Block), make([]int16, Block)
	packets := make([][]byte, 60)
	// Only block 40 has the tone of 900 Hz: nobody could guess it.
	for k := range packets {
		tone(pcm, k, 1, 250)
		if k == 40 {
			tone(pcm, k, 1, 900)
		}
		packets[k] = make([]byte, MaxPacket)
		n, err := e.Encode(packets[k], pcm)
		if err != nil {
			t.Fatal(err)
		}
		packets[k] = packets[k][:n]
	}
	for k := range 40 {
		if _, err := d.Decode(out, packets[k]); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := d.Recover(out, packets[41]); err != nil || n != Block {
		t.Fatal(n, err)
	}
	if p, q := power(out, 0, 1, 900), power(out, 0, 1, 250); p < 1500 || p < q {
		t.Errorf("recovered: %.0f at 900 Hz, %.0f at 250 Hz", p, q)
	}
	if _, err := d.Decode(out, packets[41]); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Decode(out, nil); err != nil || n != Block {
		t.Fatal("a gap: ", n, err)
	}
}

func TestFECAndLossAtRunTime(t *testing.T) {
	e := encoder(t, Config{Channels: 1, Bitrate: 24000})
	if err := e.SetFEC(true); err != nil {
		t.Error(err)
	}
	if err := e.SetLoss(30); err != nil {
		t.Error(err)
	}
	for _, bad := range []int{-1, 101} {
		if err := e.SetLoss(bad); err == nil || !strings.Contains(err.Error(), "expected loss") {
			t.Errorf("loss %d: %v", bad, err)
		}
	}
	for _, bad := range []int{0, -5} {
		if err := e.SetBitrate(bad); err == nil {
			t.Errorf("bitrate %d is taken", bad)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []Config{
		{Channels: 0, Bitrate: 32000},
		{Channels: 3, Bitrate: 32000},
		{Channels: 1, Bitrate: 32000, Rate: 44100},
		{Channels: 1, Bitrate: 32000, Application: 7},
		{Channels: 1, Bitrate: 32000, Complexity: 11},
		{Channels: 1, Bitrate: 32000, ExpectedLoss: 200},
		{Channels: 1},
	} {
		if e, err := NewEncoder(c); err == nil || e != nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if _, err := NewDecoder(5); err == nil {
		t.Error("5 channels are taken")
	}
	e, d := encoder(t, Config{Channels: 2, Bitrate: 32000}), decoder(t, 2)
	pcm, packet := make([]int16, 2*Block), make([]byte, MaxPacket)
	for _, n := range []int{0, Block, 2*Block - 1} {
		if _, err := e.Encode(packet, pcm[:n]); err == nil {
			t.Errorf("%d samples are taken", n)
		}
	}
	if _, err := e.Encode(packet[:100], pcm); err == nil {
		t.Error("a short buffer is taken")
	}
	n, err := e.Encode(packet, pcm)
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 1, 100} {
		if _, err := d.Decode(pcm[:room], packet[:n]); err == nil {
			t.Errorf("%d samples have room for a block", room)
		}
	}
	if _, err := d.Decode(pcm, []byte{0xff, 0xff, 0xff}); err == nil {
		t.Error("nonsense is decoded")
	}
	e.Close()
	e.Close()
	d.Close()
	d.Close()
	if _, err := e.Encode(packet, pcm); err == nil {
		t.Error("a closed encoder encodes")
	}
	if err := e.SetBitrate(32000); err == nil || e.Lookahead() != 0 {
		t.Error("a closed encoder is set")
	}
	if _, err := d.Decode(pcm, packet); err == nil {
		t.Error("a closed decoder decodes")
	}
}

func TestNothingIsAllocatedPerBlock(t *testing.T) {
	e, d := encoder(t, Config{Channels: 2, Bitrate: 32000, FEC: true, DTX: true, ExpectedLoss: 5}), decoder(t, 2)
	pcm, packet := make([]int16, 2*Block), make([]byte, MaxPacket)
	tone(pcm, 0, 2, 440)
	if a := testing.AllocsPerRun(50, func() {
		n, err := e.Encode(packet, pcm)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Decode(pcm, packet[:n]); err != nil {
			t.Fatal(err)
		}
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func FuzzDecode(f *testing.F) {
	e, err := NewEncoder(Config{Channels: 1, Bitrate: 32000})
	if err != nil {
		f.Fatal(err)
	}
	defer e.Close()
	pcm, packet := make([]int16, Block), make([]byte, MaxPacket)
	tone(pcm, 0, 1, 440)
	n, err := e.Encode(packet, pcm)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet[:n])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, out := decoder(t, 2), make([]int16, 2*Block)
		if n, err := d.Decode(out, b); err == nil && (n <= 0 || n > Block) {
			t.Errorf("%d samples", n)
		}
		if n, err := d.Recover(out, b); err == nil && (n <= 0 || n > Block) {
			t.Errorf("%d samples recovered", n)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, x := range []struct {
		name string
		c    Config
	}{
		{"voice5fec", Config{Channels: 1, Bitrate: 32000, Complexity: 5, FEC: true, ExpectedLoss: 5}},
		{"voice10fec", Config{Channels: 1, Bitrate: 32000, Complexity: 10, FEC: true, ExpectedLoss: 5}},
		{"audio5stereo", Config{Channels: 2, Bitrate: 64000, Complexity: 5, Application: Audio}},
	} {
		b.Run(x.name, func(b *testing.B) {
			e := encoder(b, x.c)
			pcm, packet := make([]int16, Block*x.c.Channels), make([]byte, MaxPacket)
			k := 0
			b.ReportAllocs()
			for b.Loop() {
				tone(pcm, k, x.c.Channels, 440)
				k++
				if _, err := e.Encode(packet, pcm); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
