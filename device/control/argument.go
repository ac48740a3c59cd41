package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"anchord/internal/trtc"
)

// Arg is one argument of a command.
type Arg struct {
	Name     string
	Kind     Kind
	Min, Max int      // of an Int or Duration; Max of a Text or Secret is its most bytes
	Unit     string   // of the number, in words: "percent", "kbit/s"
	Of       []string // of an Enum
	Optional bool
	Default  string // the value if it is not given; only of an optional one
	Empty    bool   // the value may be ""
	Named    bool   // only by its name, never by position
	Rest     bool   // a Text that all bare words from here on belong to, with spaces between
	Help     string // what it means, without its values, unit and default
	// Hints and Suggest give what may be meant, for completion: words that are always the
	// same, and what the box has. What they do not give is allowed as well.
	Hints   []string
	Suggest func(context.Context) []string
}

// Explain says in one line what the argument means, what is allowed, and what holds if it
// is not given.
func (x *Arg) Explain() string {
	s := x.values()
	if x.Help != "" {
		s = x.Help + "; " + s
	}
	if x.Default != "" {
		s += fmt.Sprintf("; %s if not given", x.Default)
	}
	if x.Named {
		s += "; only by name: " + x.Name + "="
	}
	return s
}

// Args are the arguments of one call; all that are not optional are there and valid, and
// those with a default have one.
type Args struct {
	given map[string]bool
	value map[string]any
}

// Has tells whether an argument was given.
func (a Args) Has(name string) bool { return a.given[name] }

// Word gives what was said, as text; "" when it was not given.
func (a Args) Word(name string) string { s, _ := a.value[name].(string); return s }

// Int gives a number, 0 when it was not given.
func (a Args) Int(name string) int { n, _ := a.value[name].(int); return n }

// On gives a switch, false when it was not given.
func (a Args) On(name string) bool { b, _ := a.value[name].(bool); return b }

// Resolution gives a size, zero when it was not given.
func (a Args) Resolution(name string) trtc.Resolution {
	r, _ := a.value[name].(trtc.Resolution)
	return r
}

// Duration gives a time, 0 when it was not given.
func (a Args) Duration(name string) time.Duration {
	d, _ := a.value[name].(time.Duration)
	return d
}

// args checks words against the command's list: by name, or by position.
func (c *Command) args(words []word) (Args, error) {
	a := Args{map[string]bool{}, map[string]any{}}
	next := 0
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		if w.name == "" {
			for next < len(c.Args) && (c.Args[next].Named || a.Has(c.Args[next].Name)) {
				next++
			}
			if next == len(c.Args) {
				return a, Errorf(CodeArgument, "too many arguments: %s; usage: %s", short(w.value), c.Usage())
			}
			w.name = c.Args[next].Name
			for c.Args[next].Rest && len(words) > 0 && words[0].name == "" {
				w.value += " " + words[0].value
				words = words[1:]
			}
		}
		i := slices.IndexFunc(c.Args, func(x Arg) bool { return x.Name == w.name })
		if i < 0 {
			return a, Errorf(CodeArgument, "no argument is named %s; usage: %s", short(w.name), c.Usage())
		}
		if a.Has(w.name) {
			return a, Errorf(CodeArgument, "%s is given twice; usage: %s", w.name, c.Usage())
		}
		if err := a.set(&c.Args[i], w.value); err != nil {
			return a, err
		}
		a.given[w.name] = true
	}
	for i := range c.Args {
		x := &c.Args[i]
		switch {
		case a.Has(x.Name):
		case !x.Optional:
			return a, Errorf(CodeArgument, "%s is missing; usage: %s", x.Name, c.Usage())
		case x.Default != "":
			if err := a.set(x, x.Default); err != nil {
				return a, fmt.Errorf("default of %s: %w", x.Name, err)
			}
		}
	}
	return a, nil
}

func (a Args) set(x *Arg, text string) error {
	v, err := x.check(text)
	if err != nil {
		return err
	}
	a.value[x.Name] = v
	return nil
}
