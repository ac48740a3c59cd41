package control

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"anchord/internal/trtc"
)

// completeTime is how long what is plugged in may take to be named.
const completeTime = 2 * time.Second

// Complete gives what the last word of a line may become, in the syntax of lines; the last
// word of one that ends with a space is empty. Names of arguments come as "name=". It knows
// commands, arguments and their values; what the box has it names only to callers who may
// say the command.
func (t Table) Complete(ctx context.Context, line string) []string {
	words, err := split(line)
	var bad *Error
	if errors.As(err, &bad) {
		words, err = split(line + `"`) // the last word may be in quotes that are still open
	}
	if err != nil {
		return nil
	}
	last := word{}
	if len(words) > 0 && !strings.HasSuffix(line, " ") && !strings.HasSuffix(line, "\t") {
		last, words = words[len(words)-1], words[:len(words)-1]
	}
	var out []string
	for _, w := range t.complete(ctx, words, last) {
		q := ""
		switch {
		case w.name == "":
			q = Quote(w.value)
		case w.value == "":
			q = w.name + "="
		default:
			q = w.name + "=" + Quote(w.value)
		}
		if !slices.Contains(out, q) {
			out = append(out, q)
		}
	}
	return out
}

// Plain takes the quotes off words of a line, as a shell would.
func Plain(words []string) []string {
	var out []string
	for _, q := range words {
		if w, err := split(q); err == nil && len(w) == 1 {
			s := w[0].value
			if w[0].name != "" {
				s = w[0].name + "=" + s
			}
			out = append(out, s)
		}
	}
	return out
}

// complete gives what may stand in the place of last.
func (t Table) complete(ctx context.Context, before []word, last word) []word {
	c, rest, err := t.find(before)
	var out []word
	if last.name == "" && len(before) < 2 && (err != nil || len(rest) == 0) {
		for _, n := range t.names(before, last.value) {
			out = append(out, word{"", n})
		}
	}
	if err != nil {
		return out
	}
	given := map[string]bool{}
	var place *Arg // that the next bare word belongs to
	begun := ""    // of a value that goes on to the end of the line
	for _, w := range append(rest[:len(rest):len(rest)], word{}) {
		if place = c.place(given); w.name == "" && place != nil {
			if place.Rest {
				begun = strings.TrimPrefix(begun+" "+w.value, " ")
				continue
			}
			w.name = place.Name
		}
		given[w.name] = true
	}
	begun = strings.TrimSuffix(begun, " ")
	if last.name != "" {
		for i := range c.Args {
			if c.Args[i].Name == last.name {
				for _, v := range c.Args[i].may(ctx, c) {
					if strings.HasPrefix(v, last.value) {
						out = append(out, word{last.name, v})
					}
				}
			}
		}
		return out
	}
	if place != nil {
		for _, v := range place.may(ctx, c) {
			if place.Rest && begun != "" {
				var ok bool
				if v, ok = strings.CutPrefix(v, begun+" "); !ok {
					continue
				}
			}
			if place.Rest {
				v, _, _ = strings.Cut(v, " ")
			}
			if strings.HasPrefix(v, last.value) {
				out = append(out, word{"", v})
			}
		}
	}
	if begun == "" {
		for i := range c.Args {
			if n := c.Args[i].Name; (!given[n] || place == &c.Args[i]) && strings.HasPrefix(n, last.value) {
				out = append(out, word{n, ""})
			}
		}
	}
	return out
}

// names gives the words that go on from before to a command's name.
func (t Table) names(before []word, prefix string) []string {
	var out []string
	for i := range t {
		first, second, _ := strings.Cut(t[i].Name, " ")
		if len(before) == 1 {
			if before[0].name != "" || first != before[0].value || second == "" {
				continue
			}
			first = second
		}
		if strings.HasPrefix(first, prefix) && !slices.Contains(out, first) {
			out = append(out, first)
		}
	}
	return out
}

// place gives the argument that a bare word belongs to; nil: there is none.
func (c *Command) place(given map[string]bool) *Arg {
	for i := range c.Args {
		if !given[c.Args[i].Name] {
			return &c.Args[i]
		}
	}
	return nil
}

// may gives values of the argument that are worth a suggestion.
func (x *Arg) may(ctx context.Context, c *Command) []string {
	out := slices.Clone(x.Hints)
	switch x.Kind {
	case Bool:
		out = append(out, "on", "off")
	case Enum:
		out = append(out, x.Of...)
	case Size:
		for _, r := range trtc.Resolutions() {
			out = append(out, r.String())
		}
	}
	if x.Suggest != nil && CallerOf(ctx).Level.Allows(c.Level) {
		ctx, cancel := context.WithTimeout(ctx, completeTime)
		defer cancel()
		out = append(out, x.Suggest(ctx)...)
	}
	return out
}

// Offline gives the table without a box: for help and completion where no daemon runs.
func Offline() Table {
	t := Commands(Parts{Support: func(context.Context, io.Writer) error { return nil }})
	for i := range t {
		c := &t[i]
		c.Args = slices.Clone(c.Args)
		for j := range c.Args {
			c.Args[j].Suggest = nil
		}
		if c.Name != "help" {
			c.Run = func(context.Context, Args) (Fields, error) { return nil, Errorf(CodeState, "it needs a daemon") }
		}
	}
	return t
}

// Ask says a command line's words to the table, as Client.Do says them to a daemon.
func (t Table) Ask(ctx context.Context, by Caller, words []string) (*Answer, error) {
	q, err := writeRequest(words)
	if err != nil {
		return nil, err
	}
	return readAnswer(t.reply(ctx, by, q).json())
}

// Most gives how long the command of a line may take; the line may be wrong.
func (t Table) Most(line string) time.Duration {
	words, err := split(line)
	if err != nil {
		return callTime
	}
	c, _, err := t.find(words)
	if err != nil {
		return callTime
	}
	return c.most()
}
