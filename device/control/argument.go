package control

import (
	"slices"
	"strconv"
	"strings"
)

// Arg is one argument of a command.
type Arg struct {
	Name     string
	Kind     string // "int", "word", "bool" (on, off)
	Min, Max int    // of an int
	Of       []string
	Optional bool
	Empty    bool // a word that may be empty
	Rest     bool // a word that all bare words from here on belong to, with spaces between
	Help     string
}

// Args are the arguments of one call; all that are not optional are there and valid.
type Args struct {
	s map[string]string
	n map[string]int
}

// Has tells whether an argument was given.
func (a Args) Has(name string) bool { _, ok := a.s[name]; return ok }

// Word gives a word, "" when it was not given.
func (a Args) Word(name string) string { return a.s[name] }

// Int gives a number, 0 when it was not given.
func (a Args) Int(name string) int { return a.n[name] }

// On gives a switch.
func (a Args) On(name string) bool { return a.s[name] == "on" }

// args checks words against the command's list: by name, or by position.
func (c *Command) args(words []word) (Args, error) {
	a := Args{map[string]string{}, map[string]int{}}
	next := 0
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		if w.name == "" {
			for next < len(c.Args) && a.Has(c.Args[next].Name) {
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
		if err := c.Args[i].check(w.value, &a); err != nil {
			return a, err
		}
	}
	for _, x := range c.Args {
		if !x.Optional && !a.Has(x.Name) {
			return a, Errorf(CodeArgument, "%s is missing; usage: %s", x.Name, c.Usage())
		}
	}
	return a, nil
}

func (x *Arg) check(v string, a *Args) error {
	switch {
	case len(v) > 256:
		return Errorf(CodeArgument, "%s is longer than 256 bytes", x.Name)
	case strings.ContainsFunc(v, control):
		return Errorf(CodeSyntax, "a control character in %s", short(v))
	case v == "" && !x.Empty:
		return Errorf(CodeArgument, "%s is empty; give a value", x.Name)
	case x.Kind == "int":
		n, err := strconv.Atoi(v)
		if err != nil || n < x.Min || n > x.Max {
			return Errorf(CodeArgument, "%s %s: allowed: %d to %d", x.Name, short(v), x.Min, x.Max)
		}
		a.n[x.Name] = n
	case x.Kind == "bool" && v != "on" && v != "off":
		return Errorf(CodeArgument, "%s %s: allowed: on, off", x.Name, short(v))
	case len(x.Of) > 0 && !slices.Contains(x.Of, v):
		return Errorf(CodeArgument, "%s %s: allowed: %s", x.Name, short(v), strings.Join(x.Of, ", "))
	}
	a.s[x.Name] = v
	return nil
}
