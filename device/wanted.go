// Package device is the box: what is wanted of it, how it stands, and how well it is.
// Commands change what is wanted; parts are told and report what is.
package device

import (
	"errors"
	"fmt"
	"sync"

	"anchord/internal/media"
	"anchord/internal/trtc"
)

// Wanted is what somebody asked of the box. It is a value: two of them compare with ==,
// and whoever is told of a change compares the field that concerns it.
type Wanted struct {
	Room   RoomWanted
	Camera CameraWanted
	Mic    MicWanted
	Video  VideoWanted
}

// RoomWanted is the room to be in.
type RoomWanted struct {
	In   bool // false: in no room
	ID   string
	User string
}

// CameraWanted is the camera to use.
type CameraWanted struct {
	Match string // ids, ports, parts of names, "any", "test"; comma-separated
	Off   bool   // stopped: the device is closed
	Muted bool   // the device stays open and no picture leaves
}

// MicWanted is the microphone to use.
type MicWanted struct {
	Match    string
	Off      bool
	Muted    bool
	Volume   int // percent, 0…150
	Bitrate  int // bits a second
	Channels int
	Music    bool
}

// VideoWanted is what the picture should be like.
type VideoWanted struct {
	Size       media.Size
	FPS        int
	Bitrate    int // bits a second
	MinBitrate int
	Rotation   media.Rotation
	Mirror     bool
}

// WantError says that something cannot be wanted: nothing was changed.
type WantError struct {
	Field, Value, Allowed string
}

// Error names the field, its value and what is allowed.
func (e *WantError) Error() string {
	return fmt.Sprintf("%s %q: allowed: %s", e.Field, e.Value, e.Allowed)
}

// Validate says what in w cannot be wanted.
func (w *Wanted) Validate() error {
	if w.Room.In {
		if err := trtc.CheckRoom(w.Room.ID); err != nil {
			return err
		}
		if err := trtc.CheckUser(w.Room.User); err != nil {
			return err
		}
	}
	v := w.Video
	switch {
	case w.Mic.Volume < 0 || w.Mic.Volume > 150:
		return &WantError{"volume", fmt.Sprint(w.Mic.Volume), "0 to 150 percent"}
	case v.FPS < 1 || v.FPS > 60:
		return &WantError{"fps", fmt.Sprint(v.FPS), "1 to 60 frames a second"}
	case v.Bitrate < 50e3 || v.Bitrate > 20e6:
		return &WantError{"bitrate", fmt.Sprint(v.Bitrate / 1000), "50 to 20000 kbit/s"}
	case !v.Rotation.Valid():
		return &WantError{"rotation", fmt.Sprint(int(v.Rotation)), "0, 90, 180, 270 degrees clockwise"}
	case v.Size.W < 64 || v.Size.H < 64 || v.Size.W > 4096 || v.Size.H > 4096:
		return &WantError{"resolution", v.Size.String(), "64x64 to 4096x4096"}
	}
	return nil
}

// ErrNotKept says that a change could not be stored; nothing was changed.
var ErrNotKept = errors.New("nothing was changed, because it cannot be stored")

// Device keeps what is wanted and tells those who do it.
type Device struct {
	mu        sync.Mutex
	wanted    Wanted
	listeners []func(old, now Wanted)
	keep      func(changes map[string]string) error
}

// New makes a Device that wants w.
func New(w Wanted) *Device { return &Device{wanted: w} }

// Wanted gives what is wanted now.
func (d *Device) Wanted() Wanted {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wanted
}

// OnChange adds a listener, which is called with each change, one at a time, and must
// neither block nor call Change. Add listeners before the first Change.
func (d *Device) OnChange(f func(old, now Wanted)) { d.listeners = append(d.listeners, f) }

// Keep sets who stores changes: it is called with each, before anybody is told of it, and
// its error undoes the change. Without it nothing is stored.
func (d *Device) Keep(f func(changes map[string]string) error) {
	d.mu.Lock()
	d.keep = f
	d.mu.Unlock()
}

// Change edits what is wanted. If edit, the validation or the storing fails nothing is
// changed and the error is given. unchanged says that it was wanted already.
func (d *Device) Change(edit func(*Wanted) error) (unchanged bool, err error) {
	d.mu.Lock()
	keep := d.keep
	d.mu.Unlock()
	return d.change(edit, keep)
}

func (d *Device) change(edit func(*Wanted) error, keep func(map[string]string) error) (unchanged bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, now := d.wanted, d.wanted
	if err := edit(&now); err != nil {
		return false, err
	}
	if err := now.Validate(); err != nil {
		return false, err
	}
	if now == old {
		return true, nil
	}
	if keep != nil {
		if err := keep(Changes(old, now)); err != nil {
			return false, fmt.Errorf("%w: %w", ErrNotKept, err)
		}
	}
	d.wanted = now
	for _, f := range d.listeners {
		f(old, now)
	}
	return false, nil
}

// Recommend gives the bit rates for a size, in bits a second: TRTC's recommendation for
// live rooms, which is made for 15 frames a second and grows with the rate beyond it,
// half as fast; and a quarter of it as the least.
func Recommend(s media.Size, fps int) (target, least int) {
	target = 1000 * trtc.Nearest(s.W, s.H).LiveKbps
	if fps > 15 {
		target = target * (15 + fps) / 30
	}
	return target, target / 4
}
