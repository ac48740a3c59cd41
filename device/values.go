package device

import (
	"fmt"
	"strconv"

	"anchord/internal/media"
)

// field is one thing that can be wanted, by the dotted key of the configuration.
type field struct {
	key string
	get func(*Wanted) string
	set func(*Wanted, string) error
}

// fields lists everything that commands change.
func fields() []field {
	word := func(key string, at func(*Wanted) *string) field {
		return field{key, func(w *Wanted) string { return *at(w) }, func(w *Wanted, v string) error { *at(w) = v; return nil }}
	}
	yes := func(key string, at func(*Wanted) *bool) field {
		return field{key, func(w *Wanted) string { return strconv.FormatBool(*at(w)) }, func(w *Wanted, v string) (err error) {
			*at(w), err = strconv.ParseBool(v)
			return err
		}}
	}
	number := func(key string, at func(*Wanted) *int) field {
		return field{key, func(w *Wanted) string { return strconv.Itoa(*at(w)) }, func(w *Wanted, v string) (err error) {
			*at(w), err = strconv.Atoi(v)
			return err
		}}
	}
	return []field{
		yes("room.auto_enter", func(w *Wanted) *bool { return &w.Room.In }),
		word("room.id", func(w *Wanted) *string { return &w.Room.ID }),
		word("room.user", func(w *Wanted) *string { return &w.Room.User }),
		word("camera.match", func(w *Wanted) *string { return &w.Camera.Match }),
		yes("camera.stopped", func(w *Wanted) *bool { return &w.Camera.Off }),
		yes("camera.muted", func(w *Wanted) *bool { return &w.Camera.Muted }),
		word("mic.match", func(w *Wanted) *string { return &w.Mic.Match }),
		yes("mic.stopped", func(w *Wanted) *bool { return &w.Mic.Off }),
		yes("mic.muted", func(w *Wanted) *bool { return &w.Mic.Muted }),
		number("mic.volume", func(w *Wanted) *int { return &w.Mic.Volume }),
		{"video.resolution", func(w *Wanted) string { return w.Video.Size.String() }, func(w *Wanted, v string) error {
			var s media.Size
			if _, err := fmt.Sscanf(v, "%dx%d", &s.W, &s.H); err != nil {
				return err
			}
			w.Video.Size = s
			return nil
		}},
		number("video.fps", func(w *Wanted) *int { return &w.Video.FPS }),
		number("video.bitrate", func(w *Wanted) *int { return &w.Video.Bitrate }),
		number("video.min_bitrate", func(w *Wanted) *int { return &w.Video.MinBitrate }),
		number("video.rotation", func(w *Wanted) *int { return (*int)(&w.Video.Rotation) }),
		yes("video.mirror", func(w *Wanted) *bool { return &w.Video.Mirror }),
	}
}

// Changes gives what differs between two wants, by dotted key, as text: what has to be
// stored so that Restore makes the one of the other.
func Changes(old, now Wanted) map[string]string {
	out := map[string]string{}
	for _, f := range fields() {
		if v := f.get(&now); v != f.get(&old) {
			out[f.key] = v
		}
	}
	return out
}

// Restore wants what was stored, on top of what is wanted now. A value that cannot be
// wanted (any more) is left out, and its error is given; the others hold.
func (d *Device) Restore(values map[string]string) (bad []error) {
	for _, f := range fields() {
		v, ok := values[f.key]
		if !ok || f.key == "room.auto_enter" {
			continue
		}
		if _, err := d.change(func(w *Wanted) error { return f.set(w, v) }, nil); err != nil {
			bad = append(bad, fmt.Errorf("stored %s = %q: %w", f.key, v, err))
		}
	}
	// The room last: it needs its id and user.
	if v, ok := values["room.auto_enter"]; ok {
		if _, err := d.change(func(w *Wanted) (err error) { w.Room.In, err = strconv.ParseBool(v); return err }, nil); err != nil {
			bad = append(bad, fmt.Errorf("stored room.auto_enter = %q: %w", v, err))
		}
	}
	return bad
}
