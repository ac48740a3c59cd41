// Package control is how the box is told what to do: one table of commands, spoken as
// text lines and JSON on the Unix socket, and as HTTP.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"anchord/device"
	"anchord/hal"
	"anchord/internal/trtc"
)

// Codes of errors of commands, 100…999. An error of the engine has TRTC's negative code
// instead.
const (
	CodeSyntax   = 100 // the line cannot be read
	CodeUnknown  = 101 // there is no such command
	CodeArgument = 102 // an argument is missing, unknown, or of the wrong type or value
	CodeTooLong  = 103 // the line or body is too long
	CodeState    = 110 // the command does not fit how the box stands
	CodeNotFound = 111 // what it names is not there
	CodeTimeout  = 112 // the part that does it did not answer in time
	CodeBusy     = 113 // too many at once
	CodeDenied   = 120 // no or a wrong token
	CodeInternal = 500 // a fault of ours
)

// slug gives a code's name.
func slug(code int) string {
	switch code {
	case CodeSyntax:
		return "syntax"
	case CodeUnknown:
		return "unknown-command"
	case CodeArgument:
		return "bad-argument"
	case CodeTooLong:
		return "too-long"
	case CodeState:
		return "bad-state"
	case CodeNotFound:
		return "not-found"
	case CodeTimeout:
		return "timeout"
	case CodeBusy:
		return "busy"
	case CodeDenied:
		return "denied"
	}
	if name := trtc.Code(code).Meaning().Name; name != "" {
		return name
	}
	return "internal"
}

// Error is a command's error.
type Error struct {
	Code    int
	Message string // what is wrong, and what to do
}

// Errorf makes an Error.
func Errorf(code int, format string, a ...any) *Error {
	return &Error{code, fmt.Sprintf(format, a...)}
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// errorOf gives any error a code.
func errorOf(err error) *Error {
	var e *Error
	var want *device.WantError
	var id *trtc.IDError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &want):
		return &Error{CodeArgument, err.Error()}
	case errors.As(err, &id):
		return &Error{int(id.Code), err.Error()}
	case errors.Is(err, device.ErrNotKept):
		return &Error{CodeState, err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{CodeTimeout, err.Error()}
	case errors.Is(err, hal.ErrGone):
		return &Error{CodeNotFound, err.Error()}
	}
	return &Error{CodeInternal, err.Error()}
}

// Field is one line of an answer.
type Field struct {
	Key   string
	Value any // string, bool, int, uint64, float64, Fields, []Fields, []string
}

// Fields is an answer, in order.
type Fields []Field

// MarshalJSON writes an object whose keys keep their order. Its strings are cleaned: a
// program that shows them need not know where they come from.
func (f Fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, x := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(Clean(x.Key))
		if err != nil {
			return nil, err
		}
		switch s := x.Value.(type) {
		case string:
			x.Value = Clean(s)
		case []string:
			clean := make([]string, len(s))
			for i := range s {
				clean[i] = Clean(s[i])
			}
			x.Value = clean
		}
		v, err := json.Marshal(x.Value)
		if err != nil {
			return nil, err
		}
		b.Write(append(append(k, ':'), v...))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Arg is one argument of a command.
type Arg struct {
	Name     string
	Kind     string // "int", "word", "bool" (on, off)
	Min, Max int    // of an int
	Of       []string
	Optional bool
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

// Command is one row of the table.
type Command struct {
	Name    string // one or two words
	Args    []Arg
	Help    string
	Example string
	Writes  bool // it changes something; the others only look
	Run     func(context.Context, Args) (Fields, error)
}

// Usage gives the command with its arguments: "room enter id=WORD [user=WORD]".
func (c *Command) Usage() string {
	var b strings.Builder
	b.WriteString(c.Name)
	for _, a := range c.Args {
		v := strings.ToUpper(a.Kind)
		if a.Kind == "bool" {
			v = "on|off"
		}
		if a.Rest {
			v += "…"
		}
		if len(a.Of) > 0 {
			v = strings.Join(a.Of, "|")
		}
		if a.Kind == "int" {
			v = fmt.Sprintf("%d…%d", a.Min, a.Max)
		}
		if a.Optional {
			fmt.Fprintf(&b, " [%s=%s]", a.Name, v)
		} else {
			fmt.Fprintf(&b, " %s=%s", a.Name, v)
		}
	}
	return b.String()
}

// Table is the list of commands, the only one.
type Table []Command

// find gives the command that the words begin with, and the rest of them.
func (t Table) find(words []word) (*Command, []word, error) {
	bare := func(i int) string {
		if i < len(words) && words[i].name == "" {
			return words[i].value
		}
		return ""
	}
	two := bare(0) + " " + bare(1)
	for i := range t {
		if t[i].Name == two {
			return &t[i], words[2:], nil
		}
	}
	for i := range t {
		if t[i].Name == bare(0) {
			return &t[i], words[1:], nil
		}
	}
	var sub []string
	for i := range t {
		if a, b, ok := strings.Cut(t[i].Name, " "); ok && a == bare(0) {
			sub = append(sub, b)
		}
	}
	if len(sub) > 0 {
		return nil, nil, Errorf(CodeUnknown, "%s what? One of: %s", bare(0), strings.Join(sub, ", "))
	}
	return nil, nil, Errorf(CodeUnknown, "there is no command %s; see help", short(bare(0)))
}

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
	case v == "":
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

// Request is a command in JSON. Cmd has the syntax of a text line, so that it may carry
// arguments as well.
type Request struct {
	ID   json.RawMessage            `json:"id,omitempty"`
	Cmd  string                     `json:"cmd"`
	Args map[string]json.RawMessage `json:"args,omitempty"`
}

// words gives the request as the words of a text line.
func (r *Request) words() ([]word, error) {
	out, err := split(r.Cmd)
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, Errorf(CodeSyntax, `"cmd" is missing`)
	}
	for k, raw := range r.Args {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, Errorf(CodeSyntax, "argument %s: %v", short(k), err)
		}
		switch x := v.(type) {
		case string:
			out = append(out, word{k, x})
		case float64:
			if x != math.Trunc(x) || math.Abs(x) > 1<<53 {
				return nil, Errorf(CodeArgument, "argument %s: a whole number is needed", short(k))
			}
			out = append(out, word{k, strconv.FormatInt(int64(x), 10)})
		case bool:
			out = append(out, word{k, map[bool]string{true: "on", false: "off"}[x]})
		default:
			return nil, Errorf(CodeArgument, "argument %s: a string, number or boolean is needed", short(k))
		}
		if k == "" {
			return nil, Errorf(CodeArgument, "an argument without a name")
		}
	}
	return out, nil
}

// callTime is how long a command may take.
const callTime = 10 * time.Second

// call runs the command that the words say.
func (t Table) call(ctx context.Context, words []word) (Fields, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	c, rest, err := t.find(words)
	if err != nil {
		return nil, err
	}
	a, err := c.args(rest)
	if err != nil {
		return nil, err
	}
	return c.Run(ctx, a)
}
