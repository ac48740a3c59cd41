// Package device is the box: what is wanted of it, how it stands, and how well it is.
// Commands change what is wanted; parts are told and report what is.
package device

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"anchord/device/config"
)

// WantError says that something cannot be wanted: nothing was changed.
type WantError struct{ Faults []config.Fault }

// Error names each key, its value and what is allowed.
func (e *WantError) Error() string {
	var all []string
	for _, f := range e.Faults {
		if f.Code != 0 {
			all = append(all, f.Problem) // it names what it is about
			continue
		}
		s := f.Key + ": "
		if f.Value != "" {
			s += fmt.Sprintf("%q: ", f.Value)
		}
		all = append(all, s+f.Problem)
	}
	return strings.Join(all, "; ")
}

// Errors that somebody acts on.
var (
	// ErrNotKept says that a change could not be stored; nothing was changed.
	ErrNotKept = errors.New("nothing was changed, because it cannot be stored")
	// ErrNoKey says that there is no such key or table; nothing was changed.
	ErrNoKey = errors.New("there is no such key or table")
)

// Keeper stores values so that they survive a power cut before it returns. An error means
// that nothing was stored.
type Keeper interface {
	Save(config.Values) error
	Delete(keys ...string) error
}

// Device keeps what is wanted, in layers: the base, which is the defaults under the board's
// profile under the file, and on top of it what commands said. It tells those who do it.
type Device struct {
	mu        sync.Mutex
	base      config.Config
	from      map[string]config.Source // of the base's values; not there: the default
	said      config.Values            // by commands
	wanted    config.Config
	begun     config.Config // as the daemon's parts were made
	keep      Keeper
	listeners []func(old, now config.Config, by string)
}

// New makes a Device that wants what the base says. from tells where values that are not
// defaults come from.
func New(base config.Config, from map[string]config.Source) *Device {
	return &Device{base: base.Clone(), from: from, said: config.Values{}, wanted: base.Clone(), begun: base.Clone()}
}

// Wanted gives what is wanted now. It is the caller's own.
func (d *Device) Wanted() config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wanted.Clone()
}

// OnChange adds a listener, which is called with each change and who made it, one at a
// time, and must neither block nor call Change. Add listeners before the first Change.
func (d *Device) OnChange(f func(old, now config.Config, by string)) {
	d.listeners = append(d.listeners, f)
}

// Keep sets who stores changes: he is called with each, before anybody is told of it, and
// his error undoes the change. Without him nothing is stored.
func (d *Device) Keep(k Keeper) {
	d.mu.Lock()
	d.keep = k
	d.mu.Unlock()
}

// Change edits what is wanted, for whoever by names: of two who change the same the later
// wins, and listeners tell the other. If edit, the validation or the storing fails nothing is
// changed and the error is given. unchanged says that it was wanted already.
func (d *Device) Change(by string, edit func(*config.Config) error) (unchanged bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.wanted.Clone()
	if err := edit(&now); err != nil {
		return false, err
	}
	if f := now.Validate(); len(f) > 0 {
		return false, &WantError{f}
	}
	diff := config.Diff(d.wanted, now)
	if len(diff) == 0 {
		return true, nil
	}
	if d.keep != nil {
		if err := d.keep.Save(diff); err != nil {
			return false, fmt.Errorf("%w: %w", ErrNotKept, err)
		}
	}
	maps.Copy(d.said, diff)
	d.become(now, by)
	return false, nil
}

// Set changes values by their dotted keys.
func (d *Device) Set(by string, values config.Values) (unchanged bool, err error) {
	return d.Change(by, func(c *config.Config) error {
		var bad []config.Fault
		for _, k := range slices.Sorted(maps.Keys(values)) {
			if f := c.SetText(k, values[k]); f != nil {
				bad = append(bad, *f)
			}
			if k == "store.path" {
				bad = append(bad, config.Fault{Key: k, Problem: "can be set in the file only: what is set by commands lies in the store itself"})
			}
		}
		if bad != nil {
			return &WantError{bad}
		}
		return nil
	})
}

// Reset forgets what commands said of a key, of all below a table, or of "all": the file's
// values hold again. It gives the keys that were forgotten.
func (d *Device) Reset(by, name string) (keys []string, err error) {
	under := config.Under(name)
	if len(under) == 0 {
		return nil, fmt.Errorf("%q: %w", name, ErrNoKey)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	rest := maps.Clone(d.said)
	for _, k := range under {
		if _, ok := rest[k]; ok {
			keys = append(keys, k)
			delete(rest, k)
		}
	}
	if keys == nil {
		return nil, nil
	}
	now, bad := overlay(d.base, rest)
	if bad != nil {
		return nil, fmt.Errorf("without it what else was set does not fit: %w", bad)
	}
	if d.keep != nil {
		if err := d.keep.Delete(keys...); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotKept, err)
		}
	}
	d.said = rest
	d.become(now, by)
	return keys, nil
}

// become tells everybody; the lock is held.
func (d *Device) become(now config.Config, by string) {
	old := d.wanted
	d.wanted = now
	if len(config.Diff(old, now)) == 0 {
		return
	}
	for _, f := range d.listeners {
		f(old.Clone(), now.Clone(), by)
	}
}

// overlay puts values on top of a configuration, all or none.
func overlay(base config.Config, values config.Values) (config.Config, error) {
	c := base.Clone()
	var bad []config.Fault
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if f := c.SetText(k, values[k]); f != nil {
			bad = append(bad, *f)
		}
	}
	if bad == nil {
		bad = c.Validate()
	}
	if len(bad) > 0 {
		return base.Clone(), &WantError{bad}
	}
	return c, nil
}

// Restore wants what was stored, on top of the base; it is for the start, before parts are
// made. Values that cannot be wanted any more, or not together, are left out, and the
// reasons given; the others hold.
func (d *Device) Restore(values config.Values) (bad []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := overlay(d.base, values)
	took := maps.Clone(values)
	if err != nil {
		c, took, bad = d.restoreOneByOne(values)
	}
	if took == nil {
		took = config.Values{}
	}
	d.wanted, d.said, d.begun = c, took, c.Clone()
	return bad
}

// restoreOneByOne finds which values hold: each that fits is taken, again and again, since
// one may need another (a room its user, a least bit rate its most).
func (d *Device) restoreOneByOne(values config.Values) (config.Config, config.Values, []error) {
	took := config.Values{}
	c := d.base.Clone()
	reasons := map[string]error{}
	for again := true; again; {
		again = false
		for _, k := range slices.Sorted(maps.Keys(values)) {
			if _, ok := took[k]; ok {
				continue
			}
			next, err := overlay(c, config.Values{k: values[k]})
			if err != nil {
				reasons[k] = err
				continue
			}
			c, took[k], again = next, values[k], true
		}
	}
	var bad []error
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if _, ok := took[k]; !ok {
			bad = append(bad, fmt.Errorf("stored %s = %q: %w", k, config.Shown(k, values[k]), reasons[k]))
		}
	}
	return c, took, bad
}

// Value is what is wanted under one key.
type Value struct {
	Key  string
	Text string // as it is shown: without secrets
	// Value is the same as a string, an int, a bool or a []string.
	Value any
	From  config.Source
	// Waits says that the value is in force from the next start of the daemon on.
	Waits bool
}

// Values gives what is wanted under a key, below a table, or everything for "all", in the
// order of the file; none if there is nothing of that name.
func (d *Device) Values(name string) []Value {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Value
	for _, k := range config.Under(name) {
		v := Value{Key: k, From: config.FromDefault}
		v.Text, _ = d.wanted.Text(k)
		if s, ok := d.from[k]; ok {
			v.From = s
		}
		if _, ok := d.said[k]; ok {
			v.From = config.FromCommand
		}
		was, _ := d.begun.Text(k)
		v.Waits = config.AtStart(k) && was != v.Text
		v.Text = config.Shown(k, v.Text)
		switch x, _ := d.wanted.Get(k); x := x.(type) {
		case int, bool:
			v.Value = x
		case []string:
			v.Value = slices.Clone(x)
		default:
			v.Value = v.Text
		}
		out = append(out, v)
	}
	return out
}
