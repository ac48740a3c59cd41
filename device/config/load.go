package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Faults is a file's error: everything that is wrong with it.
type Faults struct {
	File   string
	Faults []Fault
}

// Error gives a line a fault: file:line:column: key: value: problem.
func (e *Faults) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
		}
		b.WriteString(": ")
		if f.Key != "" {
			b.WriteString(plain(f.Key) + ": ")
		}
		if f.Value != "" {
			fmt.Fprintf(&b, "%q: ", f.Value)
		}
		b.WriteString(plain(f.Problem))
	}
	return b.String()
}

// plain keeps the file's control characters from the terminal.
func plain(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return strconv.Quote(s)
	}
	return s
}

// Places are where the file is looked for when none is named.
func Places() []string { return []string{"/etc/anchord/anchord.toml", "configs/anchord.toml"} }

// maxFile bounds the file: it is written by hand.
const maxFile = 1 << 20

// File is what was read: the values, with the defaults where it says nothing.
type File struct {
	Config
	Name string            // "" when there is none
	From map[string]Source // of the keys that it has
}

// Load reads the named file, or the first of Places that there is when path is empty;
// without any of them the defaults hold and the name is "". The error is *Faults when the
// file is there and wrong; then the defaults are given.
func Load(path string) (File, error) {
	names := []string{path}
	if path == "" {
		names = Places()
	}
	for _, p := range names {
		b, err := read(p)
		if path == "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return File{Config: Default(), Name: p}, &Faults{p, []Fault{{Problem: reason(err)}}}
		}
		f := File{Name: p, From: map[string]Source{}}
		f.Config, err = Parse(p, b)
		for k := range places(bytes.TrimPrefix(b, byteOrderMark)) {
			if _, ok := f.Get(k); ok && err == nil {
				f.From[k] = FromFile
			}
		}
		return f, err
	}
	return File{Config: Default()}, nil
}

// byteOrderMark is what some editors begin a file with.
var byteOrderMark = []byte("\xef\xbb\xbf")

// errNoFile is the reason why something that is there is not read.
var errNoFile = errors.New("this is no ordinary file: name the file itself")

// read reads no more of a file than tells that it is too large. A pipe would keep it waiting
// for a writer, so it opens without waiting and reads ordinary files only.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, errNoFile
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "the file may not be read by this user: check its owner and mode"
	}
	return err.Error()
}

// Parse reads a file's text on top of the defaults. Its error is *Faults.
func Parse(name string, b []byte) (Config, error) {
	c := Default()
	b = bytes.TrimPrefix(b, byteOrderMark)
	if len(b) > maxFile {
		return Default(), &Faults{name, []Fault{{Problem: "larger than 1 MiB: this is not a configuration"}}}
	}
	faults := decode(b, &c)
	if faults == nil {
		faults = c.Validate()
	}
	if len(faults) == 0 {
		return c, nil
	}
	at := places(b)
	for i, f := range faults {
		if p, ok := at[f.Key]; ok && f.Line == 0 {
			faults[i].Line, faults[i].Column = p.line, p.column
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return Default(), &Faults{name, faults}
}

// decode fills c. Unknown keys and a wrong type are faults; the library stops at the
// first wrong type, so that key is taken out and the rest is tried again until all are
// known.
func decode(b []byte, c *Config) []Fault {
	var faults []Fault
	unknown := map[string]bool{}
	for range 100 {
		d := toml.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		err := d.Decode(c)
		var strict *toml.StrictMissingError
		var one *toml.DecodeError
		switch {
		case err == nil:
			return faults
		case errors.As(err, &strict):
			for _, e := range strict.Errors {
				key := strings.Join(e.Key(), ".")
				if line, col := e.Position(); !unknown[key] {
					unknown[key] = true
					faults = append(faults, Fault{Key: key, Problem: "there is no such key" + Nearest(key), Line: line, Column: col})
				}
			}
			return faults
		case errors.As(err, &one):
			line, col := one.Position()
			key := strings.Join(one.Key(), ".")
			faults = append(faults, Fault{Key: key, Problem: wrong(one, key), Line: line, Column: col})
			lines := bytes.SplitAfter(b, []byte("\n"))
			if key == "" || line < 1 || line > len(lines) {
				return faults // not TOML: nothing more can be said
			}
			lines[line-1] = []byte("\n")
			b = bytes.Join(lines, nil)
		default:
			return append(faults, Fault{Problem: err.Error()})
		}
	}
	return faults
}

// wrong says what is wrong in the file's words: of a wrong type the library speaks in
// those of our code.
func wrong(e *toml.DecodeError, key string) string {
	if v, ok := (&Config{}).Get(key); ok {
		switch v.(type) {
		case string:
			return "needs a string in quotes"
		case int:
			return "needs a whole number without quotes"
		case bool:
			return "needs true or false"
		case []string:
			return `needs a list of strings: ["…", "…"]`
		}
	}
	if key != "" && slices.ContainsFunc(Keys(), func(k string) bool { return strings.HasPrefix(k, key+".") }) {
		return "is a table: [" + key + "]"
	}
	return strings.TrimPrefix(e.Error(), "toml: ")
}

type place struct{ line, column int }

// places finds where each key stands.
func places(b []byte) map[string]place {
	at := map[string]place{}
	var p unstable.Parser
	p.Reset(b)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		var key []string
		where := place{}
		for k := e.Key(); k.Next(); {
			n := k.Node()
			if where.line == 0 {
				s := p.Shape(n.Raw).Start
				where = place{s.Line, s.Column}
			}
			key = append(key, string(n.Data))
		}
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = key
			at[strings.Join(key, ".")] = where
		case unstable.KeyValue:
			at[strings.Join(append(slices.Clone(table), key...), ".")] = where
		}
	}
	return at
}

// Nearest gives " (did you mean …?)" when a known key looks like this one, else "".
func Nearest(key string) string {
	best, d := "", 4
	for _, k := range Keys() {
		if n := distance(key, k); n < d {
			best, d = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := last
			if a[i] != b[j] {
				d++
			}
			last = row[j+1]
			row[j+1] = min(d, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
