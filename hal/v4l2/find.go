package v4l2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"anchord/hal"
)

// List gives the cameras that are plugged in now, by their port. A node that the daemon
// may not open is listed too: Open says what to do about it. One that cannot be opened
// for another reason is passed over, since it may be on its way in or out.
func (s *Cameras) List(ctx context.Context) ([]hal.Device, error) {
	places, err := s.places()
	if err != nil {
		return nil, fmt.Errorf("list cameras: %w", err)
	}
	var out []hal.Device
	for _, p := range places {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list cameras: %w", err)
		}
		if p.index != 0 {
			continue // other streams and the metadata of a camera that is there already
		}
		d := hal.Device{ID: p.id, Name: p.label, Node: filepath.Join(s.dev, p.name), Port: p.port}
		switch card, err := s.card(d); {
		case err == nil:
			d.Name = cmp.Or(card, d.Name)
		case errors.Is(err, hal.ErrUnsupported):
			continue
		case !errors.Is(err, fs.ErrPermission) && !errors.Is(err, hal.ErrBusy):
			s.log.Debug("camera passed over", "node", d.Node, "err", err)
			continue
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b hal.Device) int {
		return cmp.Or(strings.Compare(a.Port, b.Port), strings.Compare(a.ID, b.ID), strings.Compare(a.Node, b.Node))
	})
	distinguish(out)
	return out, nil
}

// card opens a node for a moment and gives what its maker calls it.
func (s *Cameras) card(d hal.Device) (string, error) {
	n, err := s.open(hal.Device{Node: d.Node})
	if err != nil {
		return "", explain(err)
	}
	c, err := n.capability()
	return c.Card, errors.Join(err, n.close())
}

// distinguish makes IDs unique: cheap cameras of one kind share one serial number, or
// have none. The first keeps its ID, the others get their port behind it.
func distinguish(ds []hal.Device) {
	seen := make(map[string]bool, len(ds))
	for i := range ds {
		d := &ds[i]
		if seen[d.ID] && d.Port != "" {
			d.ID += atPort + d.Port
		}
		for n, id := 2, d.ID; seen[d.ID]; n++ {
			d.ID = fmt.Sprint(id, atCount, n)
		}
		seen[d.ID] = true
	}
}

// What stands between an ID and what distinguishes it.
const (
	atPort  = "@"
	atCount = "#"
)
