package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"anchord/internal/media"
)

// Sides of a box that can point up while it is calibrated.
const (
	SideTop  = "top"  // of the picture as it comes from the camera: the box stands upright
	SideLeft = "left" // of that picture: the box was turned by a quarter
	SideLens = "lens" // the lens looks up: the box lies on its back
)

// Sides lists them.
func Sides() []string { return []string{SideTop, SideLeft, SideLens} }

// Limits of a calibration.
const (
	calibrateReads = 20
	calibrateShake = 0.6 // m/s² that a measurement may be off the mean
)

// ErrNotStill says that a box was not at rest while it was calibrated.
var ErrNotStill = errors.New("the box was not at rest: let it stand still for two seconds, and say it again")

// Calibrate measures a box that rests with that side up, for two seconds, and gives the
// matrix that makes it so. What was calibrated before with another side up is kept: top and
// then left, or top and then lens, are all there is to know. Nothing is changed by it.
func (g *GSensor) Calibrate(ctx context.Context, side string) (media.Matrix, error) {
	var sum media.Vector
	var all []media.Vector
	if err := g.Watch(ctx, func(_ time.Duration, v media.Vector) bool {
		sum, all = sum.Plus(v), append(all, v)
		return len(all) < calibrateReads
	}); err != nil {
		return media.Matrix{}, err
	}
	mean := sum.Times(1 / float64(len(all)))
	for _, v := range all {
		if v.Plus(mean.Times(-1)).Length() > calibrateShake {
			return media.Matrix{}, ErrNotStill
		}
	}
	if l := mean.Length(); l < leastG || l > mostG {
		return media.Matrix{}, fmt.Errorf("it measures %.2f m/s² and not gravity's %.2f: the sensor is not what it is taken for, or does not work", l, media.Gravity)
	}
	g.mu.Lock()
	m := g.matrix(g.info)
	g.mu.Unlock()
	return calibrated(m, mean, side), nil
}

// calibrated gives m, turned further so that what is measured at rest with a side up points
// to that side. As much of the way as can be is gone about the axis that another side's
// calibration left free.
func calibrated(m media.Matrix, measured media.Vector, side string) media.Matrix {
	axis, to := media.Vector{Z: 1}, media.Vector{Y: 1} // top
	switch side {
	case SideLeft:
		axis, to = media.Vector{Y: 1}, media.Vector{X: -1}
	case SideLens:
		axis, to = media.Vector{Y: 1}, media.Vector{Z: -1}
	}
	v := m.Apply(measured)
	v = v.Times(1 / v.Length())
	// About the axis, until it points to the side as far as that goes.
	across := v.Plus(axis.Times(-v.Dot(axis)))
	if across.Length() > 0.2 { // else it lies along the axis, and turning about it does nothing
		m = about(axis, math.Atan2(axis.Dot(across.Cross(to)), across.Dot(to))).After(m)
		v = m.Apply(measured)
		v = v.Times(1 / v.Length())
	}
	// And what is left, by the shortest way.
	if c := v.Cross(to); c.Length() > 1e-9 {
		m = about(c.Times(1/c.Length()), math.Atan2(c.Length(), v.Dot(to))).After(m)
	}
	return m.Rounded()
}

// about gives the turn by an angle, in radians, about an axis of length 1 (Rodrigues' formula:
// https://mathworld.wolfram.com/RodriguesRotationFormula.html).
func about(k media.Vector, angle float64) media.Matrix {
	s, c := math.Sincos(angle)
	n := 1 - c
	return media.Matrix{
		c + k.X*k.X*n, k.X*k.Y*n - k.Z*s, k.X*k.Z*n + k.Y*s,
		k.X*k.Y*n + k.Z*s, c + k.Y*k.Y*n, k.Y*k.Z*n - k.X*s,
		k.X*k.Z*n - k.Y*s, k.Y*k.Z*n + k.X*s, c + k.Z*k.Z*n,
	}
}
