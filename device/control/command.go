// Package control is how the box is told what to do: one table of commands, spoken as
// text lines and JSON on the Unix socket, and as HTTP.
package control

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Command is one row of the table.
type Command struct {
	Name    string // one or two words
	Args    []Arg
	Help    string
	Example string // of a command without arguments it may be left out
	Level   Level  // that who says it must have
	// Most is how long it may take, after which its context ends; 0: 10 s.
	Most time.Duration
	Run  func(context.Context, Args) (Fields, error)
}

// Usage gives the command with its arguments: "room enter id=WORD [user=WORD]".
func (c *Command) Usage() string {
	var b strings.Builder
	b.WriteString(c.Name)
	for i := range c.Args {
		a := &c.Args[i]
		if a.Optional {
			fmt.Fprintf(&b, " [%s=%s]", a.Name, a.usage())
		} else {
			fmt.Fprintf(&b, " %s=%s", a.Name, a.usage())
		}
	}
	return b.String()
}

// example gives a line that says the command.
func (c *Command) example() string {
	if c.Example == "" {
		return c.Name
	}
	return c.Example
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

// callTime is how long a command may take that says nothing else.
const callTime = 10 * time.Second

// most gives how long it may take.
func (c *Command) most() time.Duration {
	if c.Most > 0 {
		return c.Most
	}
	return callTime
}

// call runs the command that the words say, for whoever says it. What he may not do he is
// told before his arguments are looked at.
func (t Table) call(ctx context.Context, by Caller, words []word) (Fields, error) {
	c, rest, err := t.find(words)
	if err != nil {
		return nil, err
	}
	if err := by.may(c.Level, c.Name); err != nil {
		return nil, err
	}
	a, err := c.args(rest)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(withCaller(ctx, by), commandKey{}, c), c.most())
	defer cancel()
	return c.Run(ctx, a)
}
