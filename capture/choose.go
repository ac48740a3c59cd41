package capture

import (
	"errors"
	"fmt"
	"strings"

	"anchord/hal"
)

// Words of a match list that are not part of a device's name.
const (
	MatchAny  = "any"  // the first real device
	MatchTest = "test" // the test picture or tone
)

// Errors of a search that somebody acts on.
var (
	ErrNoMatch   = errors.New("no such device is plugged in") // a hal.ErrGone as well
	ErrAmbiguous = errors.New("a name fits several devices")  // a hal.ErrUnsupported as well
)

// unfound is why a search finds nothing.
type unfound struct {
	text string
	why  [2]error
}

func (e *unfound) Error() string   { return e.text }
func (e *unfound) Unwrap() []error { return e.why[:] }

// pick gives the first device that a comma-separated match list names: its id, port or
// node in full, or a part of its name or id in any case; "any" is the first real device
// and "test" the first of the test devices. Two devices that fit a part of a name are
// an error: opening the wrong camera succeeds, and nobody notices for hours
// (https://github.com/wendylabsinc/WendyOS/pull/1853).
func pick(match string, real, test []hal.Device) (d hal.Device, isTest bool, err error) {
	for _, w := range strings.Split(match, ",") {
		switch w = strings.TrimSpace(w); w {
		case "":
			continue
		case MatchTest:
			if len(test) > 0 {
				return test[0], true, nil
			}
			continue
		case MatchAny:
			if len(real) > 0 {
				return real[0], false, nil
			}
			continue
		}
		var part []hal.Device
		for _, d := range real {
			if w == d.ID || w == d.Port || w == d.Node {
				return d, false, nil
			}
			if l := strings.ToLower(w); strings.Contains(strings.ToLower(d.Name), l) || strings.Contains(strings.ToLower(d.ID), l) {
				part = append(part, d)
			}
		}
		switch len(part) {
		case 0:
		case 1:
			return part[0], false, nil
		default:
			return hal.Device{}, false, &unfound{fmt.Sprintf("%q fits %d devices (%s and %s): name one by its id or port",
				w, len(part), part[0].ID, part[1].ID), [2]error{ErrAmbiguous, hal.ErrUnsupported}}
		}
	}
	return hal.Device{}, false, &unfound{fmt.Sprintf("nothing that fits %q is plugged in", match), [2]error{ErrNoMatch, hal.ErrGone}}
}
