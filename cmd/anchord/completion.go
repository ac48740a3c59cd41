package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"anchord/device/control"
)

//go:embed completion.bash
var bashCompletion string

// completion prints the script that makes a shell ask for completions.
func (t *tool) completion(args []string) int {
	if len(args) != 1 || args[0] != "bash" {
		return t.wrong("usage: anchorctl completion bash")
	}
	if _, err := io.WriteString(t.out, bashCompletion); err != nil {
		return t.failed(err)
	}
	return done
}

// askTime is how long a daemon may take to complete a word: somebody waits at a prompt.
const askTime = time.Second

// complete prints what the last of the words may become, one a line: what this program
// knows by itself, and what the daemon adds, if one answers.
func (t *tool) complete(words []string) int {
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		return done
	}
	words, last := words[:len(words)-1], words[len(words)-1]
	asked := &tool{err: io.Discard}
	f := asked.flags()
	if f.Parse(words) != nil {
		return done // an option's value, which is a file
	}
	var out []string
	add := func(words []string) {
		for _, w := range words {
			if strings.HasPrefix(w, last) && !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
	}
	switch words = f.Args(); {
	case len(words) == 0 && strings.HasPrefix(last, "-"):
		f.VisitAll(func(f *flag.Flag) { add([]string{"-" + f.Name}) })
	case len(words) == 0:
		add(locals()[:len(locals())-1]) // not the dash
	case words[0] == "completion" && len(words) == 1:
		add([]string{"bash"})
	case givesFile(words) && strings.HasPrefix(last, "-"):
		add([]string{"-o"})
	}
	line := control.Line(append(words, last))
	add(control.Plain(control.Offline().Complete(context.Background(), line)))
	add(asked.completeThere(line))
	for _, w := range out {
		if _, err := fmt.Fprintln(t.out, w); err != nil {
			return failed
		}
	}
	return done
}

// completeThere asks the daemon.
func (t *tool) completeThere(line string) []string {
	c, err := t.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	a, err := c.Do(ctx, []string{"complete", "line=" + line})
	if err != nil {
		return nil
	}
	return control.Plain(a.Words("word"))
}
