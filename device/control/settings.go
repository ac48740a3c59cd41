package control

import (
	"context"
	"slices"

	"anchord/device"
	"anchord/device/config"
)

// settings are the commands for every key of the configuration by its dotted name.
func settings(p Parts) Table {
	key := Arg{Name: "key", Kind: Key, Help: "as in the file; all for everything", Hints: append(tables(), config.Keys()...)}
	one := key
	one.Help, one.Hints = "one value's, as in the file", config.Keys()
	optional := key
	optional.Optional, optional.Default = true, "all"
	return Table{
		{Name: "config get", Level: Read, Help: "What is wanted; from says where it comes from, where that is not the default: board, file, or command.", Example: "config get video", Args: []Arg{optional},
			Run: func(_ context.Context, a Args) (Fields, error) {
				values, err := valuesOf(p.Device, a.Word("key"))
				if err != nil {
					return nil, err
				}
				f, from, waits := Fields{}, Fields{}, []string{}
				for _, v := range values {
					f = append(f, Field{v.Key, v.Value})
					if v.From != config.FromDefault {
						from = append(from, Field{v.Key, string(v.From)})
					}
					if v.Waits {
						waits = append(waits, v.Key)
					}
				}
				if len(from) > 0 {
					f = append(f, Field{"from", from})
				}
				if len(waits) > 0 {
					f = append(f, Field{"at_next_start", waits})
				}
				return f, nil
			}},
		{Name: "config set", Level: Admin, Help: "Want another value. It is checked, stored, and in force; the part that it concerns alone starts again.", Example: "config set video.bitrate 1200",
			Args: []Arg{one, {Name: "value", Kind: Text, Max: 2048, Rest: true, Empty: true, Help: `a list has commas; "" is none`}},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				k := a.Word("key")
				same, err := p.Device.Set(CallerOf(ctx).Name, config.Values{k: a.Word("value")})
				if err != nil {
					return nil, err
				}
				f := Fields{}
				if same {
					f = append(f, Field{"unchanged", true})
				}
				if v, err := valuesOf(p.Device, k); err == nil && v[0].Waits {
					f = append(f, Field{"note", atStart})
				}
				return f, nil
			}},
		{Name: "config reset", Level: Admin, Help: "Forget what commands set: the file's values hold again.", Example: "config reset video",
			Args: []Arg{key},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				if _, err := valuesOf(p.Device, a.Word("key")); err != nil {
					return nil, err
				}
				keys, err := p.Device.Reset(CallerOf(ctx).Name, a.Word("key"))
				if err != nil {
					return nil, err
				}
				if keys == nil {
					return Fields{{"unchanged", true}}, nil
				}
				return Fields{{"reset", keys}}, nil
			}},
		{Name: "config export", Level: Read, Help: "What is wanted, as a file that anchord reads: all that differs from the defaults.", Example: "config export",
			Run: func(context.Context, Args) (Fields, error) {
				values := map[string]bool{}
				for _, v := range p.Device.Values("all") {
					values[v.Key] = v.From != config.FromDefault
				}
				return Fields{{"toml", config.Export(p.Device.Wanted(), func(k string) bool { return values[k] })}}, nil
			}},
	}
}

// tables gives what stands for several keys at once.
func tables() []string {
	out := []string{"all"}
	for _, k := range config.Keys() {
		for i := range len(k) {
			if k[i] == '.' && !slices.Contains(out, k[:i]) {
				out = append(out, k[:i])
			}
		}
	}
	return out
}

// atStart is said of a value that is not in force yet.
const atStart = "in force from the next start of anchord on"

// valuesOf gives what is wanted under a name, at least one.
func valuesOf(d *device.Device, name string) ([]device.Value, error) {
	v := d.Values(name)
	if len(v) == 0 {
		return nil, Errorf(CodeNotFound, "there is no key or table %s%s; config get lists all", short(name), config.Nearest(name))
	}
	return v, nil
}
