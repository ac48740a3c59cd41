package device

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"anchord/internal/media"
)

// fine is the step of a chip with 12 bits at ±2 g.
const fine = 0.0098

// stand is a box that measures ten times a second.
type stand struct {
	o       Orientation
	now     time.Time
	noise   float64
	random  *rand.Rand
	changes []media.Rotation
}

func newStand(noise float64) *stand {
	return &stand{now: time.Unix(1e9, 0), noise: noise, random: rand.New(rand.NewPCG(1, uint64(noise*1000)))}
}

// measure measures once.
func (b *stand) measure(v media.Vector) {
	n := func() float64 { return b.noise * b.random.NormFloat64() }
	b.now = b.now.Add(100 * time.Millisecond)
	if b.o.Measure(b.now, v.Plus(media.Vector{X: n(), Y: n(), Z: n()}), fine) {
		b.changes = append(b.changes, b.o.State().Turn)
	}
}

// leans gives the way up of a box that was turned clockwise by so many degrees, as seen from
// behind its lens: by as much its picture has to be turned to be upright.
func leans(degrees float64) media.Vector {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return media.Vector{X: -media.Gravity * sin, Y: media.Gravity * cos}
}

// stand lets it stand for so long.
func (b *stand) rest(d time.Duration, v media.Vector) {
	for range d / (100 * time.Millisecond) {
		b.measure(v)
	}
}

func equal(a []media.Rotation, b ...media.Rotation) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestRound: a turn all round gives exactly four changes, each way, however fast and noisy it
// is, from wherever it begins.
func TestRound(t *testing.T) {
	for _, speed := range []float64{2, 5, 10, 20, 45} { // degrees a second
		for _, noise := range []float64{0.001, 0.05, 0.3} {
			for start := 0.; start < 360; start += 90 {
				b := newStand(noise)
				b.rest(2*time.Second, leans(start))
				first := media.Rotation(start)
				if !equal(b.changes, first) {
					t.Fatalf("at %v it says %v", start, b.changes)
				}
				for _, way := range []float64{1, -1} {
					b.changes = nil
					for d := 0.; d <= 360; d += speed / 10 {
						b.measure(leans(start + way*d))
					}
					b.rest(2*time.Second, leans(start))
					q := media.Rotation(way * 90)
					want := []media.Rotation{(first + q + 360) % 360, (first + 2*q + 360) % 360, (first + 3*q + 360) % 360, first}
					if !equal(b.changes, want...) {
						t.Errorf("%v degrees a second, noise %v, from %v, way %v: %v, want %v", speed, noise, start, way, b.changes, want)
					}
				}
			}
		}
	}
}

// TestLeaning: noise of two degrees, and more, at 45 degrees changes nothing, wherever it came
// from, in five minutes.
func TestLeaning(t *testing.T) {
	for at := 45.; at < 360; at += 90 {
		for _, from := range []float64{at - 45, at + 45} {
			b := newStand(0.001)
			b.rest(2*time.Second, leans(from))
			b.changes = nil
			for range 3000 {
				b.measure(leans(at + 2*b.random.NormFloat64()))
			}
			if len(b.changes) != 0 {
				t.Errorf("at %v, from %v: %v", at, from, b.changes)
			}
			// Ten degrees beyond are still too few, eleven enough.
			further := 9.5
			if from > at {
				further = -9.5
			}
			b.rest(10*time.Second, leans(at+further))
			if len(b.changes) != 0 {
				t.Errorf("%v degrees beyond %v: %v", further, at, b.changes)
			}
			b.rest(10*time.Second, leans(at+1.3*further))
			if len(b.changes) != 1 {
				t.Errorf("%v degrees beyond %v: %v", 1.3*further, at, b.changes)
			}
		}
	}
}

// TestNods: a box that is turned for less than half a second has not been turned.
func TestNods(t *testing.T) {
	b := newStand(0.01)
	b.rest(2*time.Second, leans(0))
	b.changes = nil
	for range 20 {
		b.rest(600*time.Millisecond, leans(90))
		b.rest(2*time.Second, leans(0))
	}
	if len(b.changes) != 0 {
		t.Errorf("%v", b.changes)
	}
	b.rest(3*time.Second, leans(90))
	if !equal(b.changes, 90) {
		t.Errorf("then %v", b.changes)
	}
}

// TestHeld: whatever is no rest upright keeps what was found last.
func TestHeld(t *testing.T) {
	for _, c := range []struct {
		name string
		v    func(i int) media.Vector
		want Posture
	}{
		{"flat, the lens up", func(int) media.Vector { return media.Vector{X: .1, Y: -.3, Z: -9.8} }, Flat},
		{"flat, the lens down", func(int) media.Vector { return media.Vector{X: -.1, Y: -.1, Z: 9.8} }, Flat},
		{"nearly flat", func(int) media.Vector { return media.Vector{Y: -3, Z: 9.3} }, Flat},
		{"falls", func(int) media.Vector { return media.Vector{Y: -.2} }, Moving},
		{"is thrown", func(int) media.Vector { return media.Vector{Y: -14} }, Moving},
		{"is shaken", func(i int) media.Vector { return media.Vector{Y: []float64{-9.8, -16}[i%2]} }, Moving},
		{"measures nothing", func(int) media.Vector { return media.Vector{} }, Moving},
		{"measures no numbers", func(int) media.Vector { return media.Vector{X: math.NaN(), Y: math.Inf(1)} }, Moving},
	} {
		b := newStand(0.01)
		b.rest(2*time.Second, leans(90))
		b.changes = nil
		for i := range 100 {
			b.measure(c.v(i))
		}
		s := b.o.State()
		if len(b.changes) != 0 || s.Posture != c.want || s.Turn != 90 || !s.Known {
			t.Errorf("%s: %v, %+v", c.name, b.changes, s)
		}
		b.rest(3*time.Second, leans(180))
		if !equal(b.changes, 180) || b.o.State().Posture != Steady {
			t.Errorf("after that: %v, %+v", b.changes, b.o.State())
		}
	}
}

// TestStuck: a chip that measures exactly the same for ten seconds is not believed, unless its
// steps are so coarse that this is no wonder.
func TestStuck(t *testing.T) {
	b := newStand(0)
	b.rest(10*time.Second, leans(90))
	if s := b.o.State(); s.Posture != Steady {
		t.Errorf("after 10 s: %+v", s)
	}
	b.rest(200*time.Millisecond, leans(90))
	if s := b.o.State(); s.Posture != Stuck || s.Turn != 90 {
		t.Errorf("after 10.2 s: %+v", s)
	}
	b.rest(time.Minute, leans(90))
	b.noise = 0.01
	b.rest(300*time.Millisecond, leans(90))
	if s := b.o.State(); s.Posture != Steady || s.Turn != 90 {
		t.Errorf("once it measures again: %+v", s)
	}
	var coarse Orientation
	for i := range 600 {
		coarse.Measure(b.now.Add(time.Duration(i)*100*time.Millisecond), leans(180), 0.47) // six bits at ±1.5 g
	}
	if s := coarse.State(); s.Posture != Steady || s.Turn != 180 {
		t.Errorf("a coarse chip: %+v", s)
	}
}

// TestGap: what was measured before a pause says nothing about what is measured after it.
func TestGap(t *testing.T) {
	b := newStand(0.01)
	b.rest(2*time.Second, leans(0))
	b.now = b.now.Add(time.Minute)
	b.changes = nil
	b.rest(200*time.Millisecond, leans(180))
	if s := b.o.State(); s.Posture != Moving || len(b.changes) != 0 {
		t.Errorf("at once: %+v", s)
	}
	b.rest(900*time.Millisecond, leans(180))
	if !equal(b.changes, 180) {
		t.Errorf("%v", b.changes)
	}
}

func TestAngles(t *testing.T) {
	for _, c := range []struct {
		v          media.Vector
		turn, tilt float64
	}{
		{media.Vector{Y: 9}, 0, 0}, {media.Vector{X: -9}, 90, 0}, {media.Vector{Y: -9}, 180, 0}, {media.Vector{X: 9}, 270, 0},
		{media.Vector{Y: 7, Z: -7}, 0, 45}, {media.Vector{Y: 7, Z: 7}, 0, -45}, {media.Vector{Z: -9}, 0, 90},
	} {
		if turn, tilt := angles(c.v); math.Abs(turn-c.turn) > 1e-9 || math.Abs(tilt-c.tilt) > 1e-9 {
			t.Errorf("%v: %v, %v; want %v, %v", c.v, turn, tilt, c.turn, c.tilt)
		}
	}
}
