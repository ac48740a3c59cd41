package control

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLine is the longest line of the text protocol, in bytes.
const MaxLine = 4096

// word is one token of a text line: a bare word, or name=value.
type word struct {
	name  string // "" for a bare word
	value string
}

// split cuts a text line into words. A value with spaces is quoted as a JSON string:
// user="cart 7".
func split(line string) ([]word, error) {
	if !utf8.ValidString(line) {
		return nil, Errorf(CodeSyntax, "the line is not UTF-8")
	}
	var out []word
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return out, nil
		}
		var w word
		if i := strings.IndexAny(line, "= \t\""); i > 0 && line[i] == '=' {
			w.name, line = line[:i], line[i+1:]
		}
		if strings.HasPrefix(line, `"`) {
			end := quoted(line)
			if end < 0 {
				return nil, Errorf(CodeSyntax, "a quote is not closed: %s", short(line))
			}
			v, err := unquote([]byte(line[:end]))
			if err != nil {
				return nil, err
			}
			w.value, line = v, line[end:]
			if line != "" && line[0] != ' ' && line[0] != '\t' {
				return nil, Errorf(CodeSyntax, "a space is missing after a quote: %s", short(line))
			}
		} else {
			end := strings.IndexAny(line, " \t")
			if end < 0 {
				end = len(line)
			}
			w.value, line = line[:end], line[end:]
		}
		if strings.ContainsFunc(w.value, control) {
			return nil, Errorf(CodeSyntax, "a control character in %s", short(w.value))
		}
		out = append(out, w)
	}
}

// control tells whether r is a control character, which no argument may hold: what is
// stored is shown on terminals and sent in headers later.
func control(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }

// quoted gives the end of the JSON string that s begins with, or -1.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// Quote writes a value so that split reads it back.
func Quote(v string) string {
	plain := v != "" && !strings.HasPrefix(v, `"`)
	for _, r := range v {
		if r == ' ' || r == '"' || r == '=' || control(r) || r == utf8.RuneError {
			plain = false
		}
	}
	if plain {
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return `""` // cannot happen: strings marshal
	}
	return string(b)
}

// short quotes at most 40 bytes for a message.
func short(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// Clean makes a string of anybody's fit for a terminal: control characters become
// U+FFFD, so that no escape sequence gets through.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if control(r) && r != '\t' || r == utf8.RuneError {
			return '\ufffd'
		}
		return r
	}, s)
}
