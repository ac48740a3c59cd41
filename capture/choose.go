package capture

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"anchord/hal"
)

// Words of a match list that are not part of a device's name.
const (
	MatchAny  = "any"  // the first real device
	MatchTest = "test" // the test picture or tone
)

// pick gives the first device that a comma-separated match list names: its id, port or
// node in full, or a part of its name or id in any case; "any" is the first real device
// and "test" the first of the test devices. Two devices that fit a part of a name are
// an error: opening the wrong camera succeeds, and nobody notices for hours
// (https://github.com/wendylabsinc/WendyOS/pull/1853).
func pick(match string, real, test []hal.Device) (hal.Device, error) {
	for _, w := range strings.Split(match, ",") {
		switch w = strings.TrimSpace(w); w {
		case "":
			continue
		case MatchTest:
			if len(test) > 0 {
				return test[0], nil
			}
			continue
		case MatchAny:
			if len(real) > 0 {
				return real[0], nil
			}
			continue
		}
		var part []hal.Device
		for _, d := range real {
			if w == d.ID || w == d.Port || w == d.Node {
				return d, nil
			}
			if l := strings.ToLower(w); strings.Contains(strings.ToLower(d.Name), l) || strings.Contains(strings.ToLower(d.ID), l) {
				part = append(part, d)
			}
		}
		switch len(part) {
		case 0:
		case 1:
			return part[0], nil
		default:
			return hal.Device{}, fmt.Errorf("%q fits %d devices (%s and %s): name one by its id or port: %w",
				w, len(part), part[0].ID, part[1].ID, hal.ErrUnsupported)
		}
	}
	return hal.Device{}, fmt.Errorf("nothing that fits %q is plugged in: %w", match, hal.ErrGone)
}

// find gives the device that the match list names, and whether it is a test device. A
// real finder that cannot list (no sound server) has nothing; its error is told when
// nothing else fits.
func find(ctx context.Context, match string, real, test hal.Finder) (d hal.Device, isTest bool, err error) {
	var r, t []hal.Device
	var broken error
	if real != nil {
		r, broken = real.List(ctx)
	}
	if test != nil {
		if t, err = test.List(ctx); err != nil {
			return d, false, err
		}
	}
	if d, err = pick(match, r, t); err != nil {
		if broken != nil {
			err = broken
		}
		return d, false, err
	}
	return d, slices.Contains(t, d), nil
}
