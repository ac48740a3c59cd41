package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"anchord/internal/secret"
)

// Source is the layer that a value comes from. Later layers go before earlier ones.
type Source string

// The layers, in their order.
const (
	FromDefault Source = "default"
	FromBoard   Source = "board"
	FromFile    Source = "file"
	FromCommand Source = "command" // said by somebody, and stored
)

// Values are dotted keys of the configuration and their text, as Text writes it.
type Values map[string]string

// Under gives the keys that a key or a table stands for, in the order of the file:
// "video.fps" itself, all below "video", everything for "all".
func Under(name string) []string {
	var out []string
	for _, k := range Keys() {
		if k == name || name == "all" || strings.HasPrefix(k, name+".") {
			out = append(out, k)
		}
	}
	return out
}

// AtStart tells whether a change of the key waits for the next start of the daemon: these
// are what its listeners and libraries are made of.
func AtStart(key string) bool {
	for _, k := range []string{"mic.server", "encoder.threads", "control.", "rooms.", "store.", "log.file", "log.max_mb"} {
		if k == key || strings.HasSuffix(k, ".") && strings.HasPrefix(key, k) {
			return true
		}
	}
	return false
}

// Text gives the value of a dotted key as one line: numbers in digits, true and false,
// lists with commas.
func (c *Config) Text(key string) (string, bool) {
	v, ok := c.Get(key)
	if !ok {
		return "", false
	}
	switch v := v.(type) {
	case []string:
		return strings.Join(v, ","), true
	default:
		return fmt.Sprint(v), true
	}
}

// Shown gives a value's text without what may be a secret in it: addresses have some.
func Shown(key, text string) string {
	switch key {
	case "room.url":
		return secret.URL(text)
	case "ice.servers":
		var all []string
		for s := range strings.SplitSeq(text, ",") {
			all = append(all, secret.URL(s))
		}
		return strings.Join(all, ",")
	}
	return text
}

// SetText sets the value of a dotted key from its text. It checks the type alone; Validate
// checks the value.
func (c *Config) SetText(key, text string) *Fault {
	field := reflect.Value{}
	walk(reflect.TypeFor[Config](), "", func(k string, index []int) {
		if k == key {
			field = reflect.ValueOf(c).Elem().FieldByIndex(index)
		}
	}, nil)
	wrong := func(problem string) *Fault { return &Fault{Key: key, Value: Shown(key, text), Problem: problem} }
	if !field.IsValid() {
		problem := "there is no such key" + Nearest(key)
		if len(Under(key)) > 0 {
			problem = "is a table: name one of its keys: " + strings.Join(Under(key), ", ")
		}
		return &Fault{Key: key, Problem: problem}
	}
	switch field.Interface().(type) {
	case string:
		field.SetString(text)
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return wrong("needs a whole number")
		}
		field.SetInt(int64(n))
	case bool:
		switch text {
		case "true", "on", "yes", "1":
			field.SetBool(true)
		case "false", "off", "no", "0":
			field.SetBool(false)
		default:
			return wrong("needs true or false")
		}
	case []string:
		list := []string{}
		for s := range strings.SplitSeq(text, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
		field.Set(reflect.ValueOf(list))
	default:
		return wrong("cannot be set by a command")
	}
	return nil
}

// Clone gives a copy that shares nothing with c.
func (c Config) Clone() Config {
	c.ICE.Servers = slices.Clone(c.ICE.Servers)
	c.Encoder.Order = slices.Clone(c.Encoder.Order)
	c.Rooms.Advertise = slices.Clone(c.Rooms.Advertise)
	return c
}

// Diff gives what now has and old has not, by key.
func Diff(old, now Config) Values {
	out := Values{}
	for _, k := range Keys() {
		a, _ := old.Text(k)
		b, _ := now.Text(k)
		if a != b {
			out[k] = b
		}
	}
	return out
}

// Export writes the values for which keep says so as lines of a TOML file that Parse reads
// back to the same values, but for secrets: it refuses what is shown in their place.
func Export(c Config, keep func(key string) bool) []string {
	var out []string
	table := ""
	for _, k := range Keys() {
		if !keep(k) {
			continue
		}
		i := strings.LastIndexByte(k, '.')
		if t := k[:i]; t != table {
			if out != nil {
				out = append(out, "")
			}
			out, table = append(out, "["+t+"]"), t
		}
		v, _ := c.Get(k)
		if s, ok := v.(string); ok {
			v = Shown(k, s)
		}
		out = append(out, k[i+1:]+" = "+literal(v))
	}
	return out
}

// literal writes a value as TOML (https://toml.io/en/v1.0.0#string).
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case []string:
		q := make([]string, len(v))
		for i := range v {
			q[i] = quote(v[i])
		}
		return "[" + strings.Join(q, ", ") + "]"
	}
	return fmt.Sprint(v)
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
