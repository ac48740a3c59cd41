package device

import (
	"math"
	"time"

	"anchord/internal/media"
)

// Limits of an Orientation.
const (
	// leastG and mostG are what a box at rest measures, in m/s²: gravity, give or take a fifth,
	// which is more than chips are off by. Outside it is being moved or shaken.
	leastG, mostG = 8.0, 11.6
	settled       = 300 * time.Millisecond // that it must be at rest before it is believed
	// smooth is the time constant of the low-pass: 0.2 of a new measurement at ten a second.
	smooth = 448 * time.Millisecond
	// flatAngle is how far the lens may look up or down, in degrees, before the way up in the
	// picture means nothing.
	flatAngle = 70
	// near is how close to a new quarter, in degrees, it must be, and stay for the time, so
	// that a box that leans at 45 degrees does not turn its picture to and fro.
	near = 35
	stay = 500 * time.Millisecond
	// A chip whose steps are finer than fineStep, in m/s², never measures the same again and
	// again: its own noise is larger. For sameLong it is believed.
	fineStep = 0.05
	sameLong = 10 * time.Second
	// gap is how long there may be no measurement before what came before is forgotten.
	gap = time.Second
)

// Posture says how a box stands, as far as its accelerometer tells.
type Posture string

// The postures.
const (
	Unknown Posture = "unknown" // nothing was measured yet
	Moving  Posture = "moving"  // it is not at rest, or not long enough
	Flat    Posture = "flat"    // the lens looks up or down: the last turn stays
	Steady  Posture = "steady"
	Stuck   Posture = "stuck" // the chip measures the same again and again: the last turn stays
)

// Orientation finds out which way is up from measurements of acceleration, in the frame of the
// picture as it comes from the camera: x to its right, y to its top, z towards whoever
// stands behind the lens. It is pure: its time is that of the measurements. The zero
// Orientation knows nothing yet.
type Orientation struct {
	posture Posture
	raw     media.Vector // the last measurement
	at      time.Time    // of it
	level   media.Vector // smoothed
	rest    time.Time    // at rest since then; zero: it is not
	same    time.Time    // raw is the same since then
	known   bool
	turn    media.Rotation
	next    media.Rotation // that it may turn to
	since   time.Time      // when it came near to that; zero: it is not
}

// OrientationState is what an Orientation knows.
type OrientationState struct {
	Posture    Posture
	Raw, Level media.Vector   // the last measurement, and smoothed; m/s²
	Angle      float64        // by which the picture would have to be turned clockwise, 0 to 360 degrees
	Tilt       float64        // of the lens, in degrees: 90 looks straight up, -90 down
	Turn       media.Rotation // what the picture is turned by: the quarter that was found last
	Known      bool           // one was found
}

// State gives what is known now.
func (o *Orientation) State() OrientationState {
	s := OrientationState{Posture: o.posture, Raw: o.raw, Level: o.level, Turn: o.turn, Known: o.known}
	if s.Posture == "" {
		s.Posture = Unknown
	}
	if o.level != (media.Vector{}) {
		s.Angle, s.Tilt = angles(o.level)
	}
	return s
}

// angles gives how the box stands. Up in the room is up in the picture at 0 degrees, to the
// picture's left at 90, so that a quarter clockwise puts it right.
func angles(up media.Vector) (turn, tilt float64) {
	const degree = math.Pi / 180
	turn = math.Atan2(-up.X, up.Y) / degree
	if turn < 0 {
		turn += 360
	}
	return turn, math.Asin(max(-1, min(1, -up.Z/up.Length()))) / degree
}

// Measure takes a measurement of a chip with steps of that size, and tells whether the turn
// has changed.
func (o *Orientation) Measure(now time.Time, v media.Vector, step float64) (changed bool) {
	since := now.Sub(o.at)
	if v != o.raw || o.at.IsZero() {
		o.same = now
	}
	if since > gap || since < 0 {
		o.rest = time.Time{}
	}
	o.raw, o.at = v, now
	switch g := v.Length(); {
	case step < fineStep && now.Sub(o.same) >= sameLong:
		o.posture, o.since = Stuck, time.Time{}
		return false
	case !(g >= leastG && g <= mostG): // NaN as well
		o.posture, o.rest, o.since = Moving, time.Time{}, time.Time{}
		return false
	}
	if o.rest.IsZero() {
		o.rest, o.level = now, v
	} else {
		a := 1 - math.Exp(-float64(since)/float64(smooth))
		o.level = o.level.Times(1 - a).Plus(v.Times(a))
	}
	if now.Sub(o.rest) < settled {
		o.posture = Moving
		return false
	}
	return o.decide(now)
}

// decide looks whether the box stands on another side.
func (o *Orientation) decide(now time.Time) (changed bool) {
	angle, tilt := angles(o.level)
	if math.Abs(tilt) > flatAngle {
		o.posture, o.since = Flat, time.Time{}
		return false
	}
	o.posture = Steady
	quarter := math.Round(angle / 90)
	to, off := media.Rotation(90*int(quarter)%360), math.Abs(angle-90*quarter)
	switch {
	case !o.known:
		o.known, o.turn = true, to
		return true
	case to == o.turn || off > near:
		o.since = time.Time{}
		return false
	case o.since.IsZero() || o.next != to:
		o.next, o.since = to, now
	}
	if now.Sub(o.since) < stay {
		return false
	}
	o.turn, o.since = to, time.Time{}
	return true
}
