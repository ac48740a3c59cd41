package capture

import (
	"context"
	"fmt"
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

// list gives the devices of both finders; test may be nil.
func list(ctx context.Context, real, test hal.Finder) (r, t []hal.Device, err error) {
	if real != nil {
		if r, err = real.List(ctx); err != nil {
			return nil, nil, err
		}
	}
	if test != nil {
		if t, err = test.List(ctx); err != nil {
			return nil, nil, err
		}
	}
	return r, t, nil
}
