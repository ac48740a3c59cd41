//go:build e2e

package guest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// tilted is what a chip measures of a box that was turned clockwise, in mg.
type tilted struct{ x, y, z int }

func tilt(degrees float64, noise float64, r *rand.Rand) tilted {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	mg := func(g float64) int { return int(math.Round(1000*g + noise*r.NormFloat64())) }
	return tilted{mg(-sin), mg(cos), mg(0)}
}

// play lets the virtual chips measure a list, ten times a second, again and again if so said,
// and comes back when it is played, or begins.
func (g *guest) play(all []tilted, again bool) {
	g.t.Helper()
	var b strings.Builder
	for _, v := range all {
		fmt.Fprintln(&b, v.x, v.y, v.z)
	}
	g.write("tilts", b.String())
	script := `[ -z "${PLAYER:-}" ] || { kill $PLAYER; wait $PLAYER 2>/dev/null; PLAYER=; }
cp /host/tilts /tmp/tilts
play() { while read -r x y z; do echo $x >$A/x; echo $y >$A/y; echo $z >$A/z; sleep 0.1; done </tmp/tilts; }
`
	if again {
		g.do(script + "(while :; do play; done) & PLAYER=$!")
	} else {
		g.do(script + "play")
	}
}

// stand lets the box stand, with a chip's own noise.
func (g *guest) stand(degrees float64) {
	g.t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	var all []tilted
	for range 50 {
		all = append(all, tilt(degrees, 4, r))
	}
	g.play(all, true)
}

func (g *guest) says(command string) string {
	g.t.Helper()
	return g.do("/tmp/anchorctl -socket /tmp/c.sock " + command)
}

// value gives what a command says under a key.
func (g *guest) value(command, key string) string {
	g.t.Helper()
	for l := range strings.Lines(g.says(command)) {
		if v, ok := strings.CutPrefix(l, key+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// until waits until a command says so under a key.
func (g *guest) until(command, key, want string, within time.Duration) {
	g.t.Helper()
	got := ""
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if got = g.value(command, key); got == want {
			return
		}
	}
	g.t.Errorf("%s says %s: %q, not %q:\n%s", command, key, got, want, g.says(command))
}

// turns gives what the sensor added since the last clearing, one after the other.
func (g *guest) turns(since int) (all []string) {
	g.t.Helper()
	for l := range strings.Lines(g.says("events list 200 gsensor")) {
		if strings.Contains(l, "gsensor") && strings.Contains(l, "adds=") {
			_, rest, _ := strings.Cut(l, "adds=")
			n, _, _ := strings.Cut(rest, " ")
			all = append(all, n)
		}
	}
	return all[min(since, len(all)):]
}

// The daemon follows chips on a kernel's I²C bus, through a whole turn and every fault.
func TestGSensor(t *testing.T) {
	g := boot(t, "arm64")
	g.do("A=/sys/module/vaccel/parameters; modprobe -a vaccel i2c-dev; daemon auto")
	bus := strings.TrimSpace(g.do(`i2cdetect -l | awk '/vaccel/ { sub("i2c-", "", $1); print $1 }'`))
	g.says("config set gsensor.address 0x19")
	g.says("config set gsensor.device i2c:" + bus + ":lis3dh")
	requests := func() string { t.Helper(); return strings.TrimSpace(g.do("cat $A/requests")) }

	g.stand(180)
	time.Sleep(5 * time.Second)
	if n := requests(); n != "0" {
		t.Errorf("disable: %s requests on the bus", n)
	}
	g.says("gsensor show")
	if n := requests(); n != "0" {
		t.Errorf("disable, shown: %s requests on the bus", n)
	}
	g.says("gsensor mode auto")
	g.until("gsensor show", "adds", "180", 10*time.Second)
	if a := g.says("video rotation 90"); !strings.Contains(a, "note: gsensor auto adds 180") {
		t.Errorf("the answer is %q", a)
	}
	if v := g.value("video show", "turned"); v != "270" {
		t.Errorf("turned by %s", v)
	}
	g.stand(0)
	g.until("gsensor show", "adds", "0", 10*time.Second)

	// Once round, each way, with noise.
	random := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct {
		way  float64
		want []string
	}{{1, []string{"90", "180", "270", "0"}}, {-1, []string{"270", "180", "90", "0"}}} {
		before := len(g.turns(0))
		var all []tilted
		for d := 0.; d <= 360; d += 2 {
			all = append(all, tilt(c.way*d, 10, random))
		}
		g.play(all, false)
		g.stand(0)
		time.Sleep(3 * time.Second)
		if got := g.turns(before); !slices.Equal(got, c.want) {
			t.Errorf("way %v: %v, want %v", c.way, got, c.want)
		}
	}
	// At 45 degrees, give or take two.
	before := len(g.turns(0))
	var all []tilted
	for range 200 {
		all = append(all, tilt(45+2*random.NormFloat64(), 4, random))
	}
	g.play(all, false)
	if got := g.turns(before); len(got) != 0 {
		t.Errorf("at 45 degrees: %v", got)
	}

	// Faults: the last turn stays, and what is wrong is said.
	g.stand(90)
	g.until("gsensor show", "adds", "90", 10*time.Second)
	before = len(g.turns(0))
	for _, c := range []struct {
		name, begin, end, slug string
		slow                   time.Duration
	}{
		{"not acknowledged", "echo 1000000 >$A/nack", "echo 0 >$A/nack", "gsensor-none", 10 * time.Second},
		{"errors on the bus", "echo 1000000 >$A/eio", "echo 0 >$A/eio", "gsensor-failed", 10 * time.Second},
		{"off the bus", "echo 25 >$A/absent", "echo 0 >$A/absent", "gsensor-none", 10 * time.Second},
		{"stuck", "kill $PLAYER; wait $PLAYER 2>/dev/null; PLAYER=", "", "gsensor-stuck", 25 * time.Second},
		{"another chip", "echo 66 >$A/id; echo 5 >$A/eio", "echo -1 >$A/id", "gsensor-wrong", 15 * time.Second},
	} {
		g.do(c.begin)
		for end := time.Now().Add(c.slow); !strings.Contains(g.says("health"), c.slug); time.Sleep(200 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s: health says\n%s", c.name, g.says("health"))
				break
			}
		}
		if a, s := g.value("gsensor show", "adds"), g.value("gsensor show", "state"); a != "90" || s != "fault" {
			t.Errorf("%s: adds %s, state %s", c.name, a, s)
		}
		g.do(c.end + "\n:")
		g.stand(90)
		// A try comes half a minute after the last one at most.
		for end := time.Now().Add(50 * time.Second); strings.Contains(g.says("health"), "gsensor"); time.Sleep(200 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("after %s: health says\n%s", c.name, g.says("health"))
				break
			}
		}
	}
	if got := g.turns(before); len(got) != 0 {
		t.Errorf("with the faults it turned: %v", got)
	}

	// A driver of the kernel takes the chip: it is left alone, and used through the driver.
	g.says("gsensor mode disable")
	time.Sleep(time.Second)
	g.do("modprobe st_accel_i2c; echo lis3dh 0x19 >/sys/bus/i2c/devices/i2c-" + bus + "/new_device; wait_until 10 test -e /sys/bus/iio/devices/iio:device0")
	if v := g.value("gsensor show", "found"); v != "iio:lis3dh" {
		t.Errorf("found %q:\n%s", v, g.says("gsensor show"))
	}
	g.says("gsensor mode auto")
	g.until("gsensor show", "state", "fault", 10*time.Second)
	if !strings.Contains(g.says("health"), "gsensor-busy") {
		t.Errorf("health says\n%s", g.says("health"))
	}
	g.says("config set gsensor.device auto")
	g.until("gsensor show", "adds", "90", 20*time.Second)
	g.stand(0)
	g.until("gsensor show", "adds", "0", 10*time.Second)
	g.says("gsensor mode disable")
	time.Sleep(time.Second) // what was asked is answered, and the chip sleeps
	n := requests()
	time.Sleep(3 * time.Second)
	if now := requests(); now != n {
		t.Errorf("disable: %s requests, then %s", n, now)
	}
}
