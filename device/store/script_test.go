package store_test

import (
	"maps"
	"strings"

	"anchord/device/store"
)

// step is one thing that is asked of a store in the scripted run.
type step struct {
	save   map[string]string
	del    []string
	reopen bool // clean stop and start
}

// script goes through all that writes: the making of the files, rooms entered and left,
// values from a byte to many pages, deletes, checkpoints, backups, clean stops.
func script(long bool) []step {
	big := func(c string, n int) string { return strings.Repeat(c, n) }
	steps := []step{
		{save: map[string]string{"room.in": "true", "room.id": "101", "room.user": "cart-7"}},
		{save: map[string]string{"video.bitrate": "1200"}},
		{save: map[string]string{"room.id": "102", "mic.volume": "80"}},
		{save: map[string]string{"camera.match": big("x", 9000)}},
		{del: []string{"video.bitrate"}},
		{reopen: true},
		{save: map[string]string{"room.in": "false"}},
	}
	if !long {
		return steps
	}
	for i := range 8 {
		c := string(rune('a' + i))
		steps = append(steps,
			step{save: map[string]string{"camera.match": big(c, 60000), "video.fps": c}},
			step{save: map[string]string{"room.in": "true", "room.id": c}},
			step{del: []string{"room.user"}},
			step{save: map[string]string{"room.user": "u" + c, "mic.match": big(c, 5000)}})
		if i == 4 {
			steps = append(steps, step{reopen: true})
		}
	}
	return steps
}

// edited is what values become by a step.
func (s step) edited(values map[string]string) map[string]string {
	out := maps.Clone(values)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, s.save)
	for _, k := range s.del {
		delete(out, k)
	}
	return out
}

func (s step) do(st *store.Store) error {
	if s.del != nil {
		return st.Delete(s.del...)
	}
	return st.Save(s.save)
}

// acked is what was acknowledged when the log had so many operations.
type acked struct {
	at     int
	values map[string]string
}

func oneOf(got map[string]string, all ...map[string]string) bool {
	for _, w := range all {
		if maps.Equal(got, w) {
			return true
		}
	}
	return false
}

func brief(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v[:min(len(v), 8)]
	}
	return out
}
