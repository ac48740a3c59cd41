package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"anchord/device"
	"anchord/device/config"
	"anchord/device/control"
	"anchord/device/store"
	"anchord/internal/run"
)

// kept is where what commands set is stored.
type kept struct {
	store *store.Store // nil: nothing is stored
	found store.Found
	path  string
	bad   []error // stored values that were left out
	log   *slog.Logger
}

// restore opens the store that the file names, wants what it holds, and has each change
// kept in it.
func restore(ctx context.Context, dev *device.Device, log *slog.Logger) (*kept, error) {
	k := &kept{log: log, path: storePath(dev.Wanted().Store.Path)}
	if k.path == "" {
		log.Warn("what commands change is forgotten at the next start: set [store] path")
		return k, nil
	}
	st, found, err := store.Open(ctx, store.Config{Path: k.path, Log: log})
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", k.path, err)
	}
	k.store, k.found = st, found
	for _, p := range found.Problems {
		log.Warn("store", "problem", p.String())
	}
	k.bad = dev.Restore(settingsOf(st.Load()))
	for _, err := range k.bad {
		log.Warn("a stored value is left out", "err", err)
	}
	dev.Keep(keeper{st})
	return k, nil
}

// tokens lets in by HTTP whom the store names, and has changes of that kept.
func (k *kept) tokens(t *control.Tokens) {
	if k.store == nil {
		return
	}
	for _, err := range t.Restore(k.store.Load(), k.store) {
		k.log.Warn("a stored token lets nobody in", "err", err)
	}
}

// storePath gives where the store is; "" is nowhere. "auto" is the folder that systemd made
// for the daemon (StateDirectory=), else /var/lib/anchord if it is there.
func storePath(path string) string {
	if path != "auto" {
		return path
	}
	dir := filepath.SplitList(os.Getenv("STATE_DIRECTORY"))
	if len(dir) == 0 {
		dir = []string{"/var/lib/anchord"}
		if fi, err := os.Stat(dir[0]); err != nil || !fi.IsDir() {
			return ""
		}
	}
	return filepath.Join(dir[0], "anchord.db")
}

// parts puts the store's work into the group.
func (k *kept) parts(g *run.Group) {
	if k.store != nil {
		g.Keep("store", k.store.Run)
	}
}

func (k *kept) close() {
	if k.store == nil {
		return
	}
	if err := k.store.Close(); err != nil {
		k.log.Error("close", "err", err)
	}
}

// settingsOf leaves out what in the store is no key of the configuration.
func settingsOf(all map[string]string) config.Values {
	out := config.Values{}
	for k, v := range all {
		if len(config.Under(k)) == 1 {
			out[k] = v
		}
	}
	return out
}

// keeper stores settings.
type keeper struct{ *store.Store }

// Save stores values.
func (k keeper) Save(v config.Values) error { return k.Store.Save(v) }

// note gives what a part had kept under a name; nil if nothing.
func (k *kept) note(name string) []byte {
	if k.store == nil {
		return nil
	}
	if s, ok := k.store.Load()[name]; ok {
		return []byte(s)
	}
	return nil
}

// keep has something kept that a part wants to know after the next start. That it cannot be
// is no reason to stop: the part finds out again.
func (k *kept) keep(name string, b []byte) {
	if k.store == nil {
		return
	}
	if err := k.store.Save(map[string]string{name: string(b)}); err != nil {
		k.log.Warn("not kept", "what", name, "err", err)
	}
}
