package pulse

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"anchord/internal/media"
)

// simulate runs a clock for d over a microphone whose crystal is off by ppm, measured with
// noise, every 2 s, and gives the worst error in the second half and the worst interval
// between blocks.
func simulate(ppm float64, noise, d time.Duration) (worst, uneven time.Duration) {
	r := rand.New(rand.NewPCG(1, 2))
	truth := func(n uint64) media.Time { return media.Time(1e12 + float64(n)/sampleRate*1e9*(1+ppm*1e-6)) }
	measured := func(n uint64) media.Time {
		return truth(n).Add(time.Duration(float64(noise) * (2*r.Float64() - 1)))
	}
	c := clock{rate: sampleRate}
	c.step(0, measured(0))
	blocks := int(d / (20 * time.Millisecond))
	var before media.Time
	for i := range blocks {
		n := uint64(i) * blockSamples
		if i > 0 && i%100 == 0 {
			c.steer(n, measured(n))
		}
		t := c.stamp(n)
		if i > 0 {
			uneven = max(uneven, (t.Sub(before) - 20*time.Millisecond).Abs())
		}
		before = t
		if i > blocks/2 {
			worst = max(worst, t.Sub(truth(n)).Abs())
		}
	}
	return worst, uneven
}

func TestClockFollowsCrystals(t *testing.T) {
	for _, ppm := range []float64{0, 50, -100, 300} {
		worst, uneven := simulate(ppm, 0, 10*time.Minute)
		if worst > 100*time.Microsecond {
			t.Errorf("%v ppm: %v off without noise", ppm, worst)
		}
		if uneven > 20*time.Microsecond {
			t.Errorf("%v ppm: blocks %v uneven", ppm, uneven)
		}
		if worst, _ := simulate(ppm, 2*time.Millisecond, 10*time.Minute); worst > 2*time.Millisecond {
			t.Errorf("%v ppm: %v off with 2 ms of noise", ppm, worst)
		}
	}
}

func TestClockStepsWhenSamplesWereLost(t *testing.T) {
	c := clock{rate: sampleRate}
	c.step(0, 1e9)
	// The lone outlier changes nothing.
	if !c.steer(48000, media.Time(2e9+50e6)) {
		t.Error("no doubt")
	}
	c.steer(96000, 3e9)
	if off := c.at(96000).Sub(3e9); off.Abs() > time.Microsecond {
		t.Errorf("an outlier moved the clock by %v", off)
	}
	// Agreement does.
	const lost = 40e6
	for i := range steps {
		c.steer(uint64(144000+i*12000), media.Time(4e9+float64(i)*250e6+lost))
	}
	if off := c.at(144000).Sub(media.Time(4e9 + lost)); off.Abs() > time.Microsecond {
		t.Errorf("%v off after the step", off)
	}
	// So many that do not agree do not.
	c = clock{rate: sampleRate}
	c.step(0, 1e9)
	for i := range 10 {
		c.steer(uint64(i*12000), media.Time(1e9+float64(i)*250e6+20e6+60e6*float64(i%2)))
	}
	if off := c.at(0).Sub(1e9); off != 0 {
		t.Errorf("noise moved the clock by %v", off)
	}
}

func TestClockIsNeverAheadOfWhatArrived(t *testing.T) {
	c := clock{rate: sampleRate}
	c.step(0, 1e9)
	c.bound(48000, media.Time(2e9+1e6))
	if off := c.at(0).Sub(1e9); off != 0 {
		t.Errorf("moved by %v without need", off)
	}
	c.bound(48000, media.Time(2e9-30e6))
	if off := c.at(48000).Sub(2e9); (off + 30*time.Millisecond).Abs() > time.Microsecond {
		t.Errorf("moved by %v, want -30ms", off)
	}
}

func TestStampsNeverGoBack(t *testing.T) {
	c := clock{rate: sampleRate}
	c.step(0, 1e12)
	before := media.Time(0)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 10000 {
		n := uint64(i) * blockSamples
		if i%7 == 0 {
			c.steer(n, media.Time(r.Int64N(math.MaxInt64/2)))
		}
		if i%100 == 0 {
			c.step(n, media.Time(r.Int64N(2e12)))
		}
		if s := c.stamp(n); s <= before {
			t.Fatalf("block %d: %d after %d", i, s, before)
		} else {
			before = s
		}
	}
}
