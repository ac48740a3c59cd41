package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"anchord/device/control"
)

// outFile takes "-o FILE" out of a command that gives a file.
func outFile(words []string) (rest []string, file string, err error) {
	i := slices.Index(words, "-o")
	if i < 0 || !givesFile(words[:i]) {
		return words, "", nil
	}
	if i+1 == len(words) {
		return nil, "", errors.New("-o needs a file")
	}
	return slices.Concat(words[:i], words[i+2:]), words[i+1], nil
}

// givesFile tells whether the words begin a command that takes -o.
func givesFile(words []string) bool {
	return len(words) > 0 && (words[0] == "snapshot" || words[0] == "support") || len(words) > 1 && words[0] == "gsensor" && words[1] == "record"
}

// snapshot writes the next picture into a file.
func (t *tool) snapshot(c *control.Client, words []string, file string) int {
	a, err := t.ask(c, control.Line(append(words, "data=on")))
	if err != nil {
		return t.failed(err)
	}
	if a.Error != nil {
		return t.print(a)
	}
	b, err := base64.StdEncoding.DecodeString(a.Word("jpeg"))
	if err != nil {
		return t.failed(fmt.Errorf("the picture cannot be read: %w", err))
	}
	return t.write(file, b, strings.TrimSpace(a.Word("size"))+", ")
}

// bundle has a job done and writes its output into a file.
func (t *tool) bundle(c *control.Client, words []string, file string) int {
	a, err := t.ask(c, control.Line(words))
	if err != nil {
		return t.failed(err)
	}
	if a.Error != nil {
		return t.print(a)
	}
	job := a.Int("job")
	if a, err = t.ask(c, fmt.Sprintf("job wait %d", job)); err != nil {
		return t.failed(err)
	}
	if a.Error != nil {
		return t.print(a)
	}
	if s := a.Word("state"); s != "done" {
		return t.failed(fmt.Errorf("job %d %s: %s", job, s, a.Word("message")))
	}
	var all []byte
	for {
		a, err := t.ask(c, fmt.Sprintf("job fetch %d offset=%d", job, len(all)))
		if err != nil {
			return t.failed(err)
		}
		if a.Error != nil {
			return t.print(a)
		}
		b, err := base64.StdEncoding.DecodeString(a.Word("data"))
		if err == nil && len(b) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return t.failed(fmt.Errorf("the output of job %d cannot be read: %w", job, err))
		}
		if all = append(all, b...); len(all) >= a.Int("of") {
			return t.write(file, all, "")
		}
	}
}

// write writes a file that others cannot read; - is standard output.
func (t *tool) write(file string, b []byte, what string) int {
	if file == "-" {
		if _, err := t.out.Write(b); err != nil {
			return t.failed(fmt.Errorf("write to standard output: %w", err))
		}
		return done
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return t.failed(fmt.Errorf("write the file: %w", err))
	}
	fmt.Fprintf(t.out, "%s: %s%d bytes\n", file, what, len(b))
	return done
}
