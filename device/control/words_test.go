package control

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		line string
		want []word
	}{
		{"", nil},
		{" \t ", nil},
		{"room enter", []word{{"", "room"}, {"", "enter"}}},
		{"  id=101\tuser=a ", []word{{"id", "101"}, {"user", "a"}}},
		{`user="cart 7" x`, []word{{"user", "cart 7"}, {"", "x"}}},
		{`"a=b"`, []word{{"", "a=b"}}},
		{`a=b=c`, []word{{"a", "b=c"}}},
		{`=b`, []word{{"", "=b"}}},
		{`a=`, []word{{"a", ""}}},
		{`a=""`, []word{{"a", ""}}},
		{`a"b`, []word{{"", `a"b`}}},
		{`"a\"\\ \u00e4é"`, []word{{"", `a"\ äé`}}},
	} {
		got, err := split(c.line)
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(word{})); err != nil || d != "" {
			t.Errorf("%q: %v\n%s", c.line, err, d)
		}
	}
	for _, line := range []string{`"a`, `a="b\"`, `"a"b`, `"\x"`, "a\x01", "a\rb", "a\x7f", "\u009b1m", "\"\\u0007\"", "\xff", "a\x00b"} {
		if got, err := split(line); err == nil || errorOf(err).Code != CodeSyntax {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "a b", `"`, "a=b", `\`, "é\u00a0", "\u2028", "<&>", "=", "@7", "{", "\ufffd", "\u0085x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q := Quote(s)
		if strings.ContainsAny(q, "\r\n\x1b\x00") || !utf8.ValidString(q) {
			t.Fatalf("%q is quoted as %q", s, q)
		}
		got, err := split("cmd name=" + q + " " + q)
		if !utf8.ValidString(s) || strings.ContainsFunc(s, control) {
			return // cannot be said; that it does no harm is enough
		}
		if err != nil || len(got) != 3 || got[1] != (word{"name", s}) || got[2] != (word{"", s}) {
			t.Fatalf("%q → %q → %q, %v", s, q, got, err)
		}
	})
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "a\tb", "\x1b[31m", "\u009b", "\xff", "a\r\nOK"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Clean(s)
		for _, r := range c {
			if r != '\t' && control(r) {
				t.Fatalf("%q → %q", s, c)
			}
		}
		if !utf8.ValidString(c) {
			t.Fatalf("%q → %q", s, c)
		}
	})
}

// FuzzAnswer says anything to a box that does not exist: nothing panics, and each line
// has exactly one final line, or one line of JSON.
func FuzzAnswer(f *testing.F) {
	table := Commands(parts())
	for i := range table {
		f.Add([]byte(table[i].Name))
		f.Add([]byte("@17 " + table[i].Usage()))
		if e := table[i].Example; e != "" {
			f.Add([]byte(e))
			j, _ := json.Marshal(map[string]any{"id": 7, "cmd": e})
			f.Add(j)
		}
	}
	for _, s := range []string{"", "\r", "@", "@1", "@\xff status", "{", "{}", `{"cmd":"status"}}`, `{"cmd":"video fps","args":{"fps":30}}`, `{"id":{"a":[1]},"cmd":"help"}`,
		`{"cmd":"mic mute","args":{"state":true}}`, `{"cmd":"version","args":null}`, `[{}]`, "null", "\x00\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i]
		}
		out := string(Commands(parts()).answer(t.Context(), root, line))
		in := bytes.TrimSpace(line)
		if len(in) == 0 {
			if out != "" {
				t.Fatalf("an empty line is answered: %q", out)
			}
			return
		}
		body, ended := strings.CutSuffix(out, "\n")
		if !ended || !utf8.ValidString(out) {
			t.Fatalf("%q: %q", line, out)
		}
		if in[0] == '{' {
			var r struct {
				OK    *bool
				Error *replyError
			}
			if err := json.Unmarshal([]byte(body), &r); err != nil || strings.Contains(body, "\n") || r.OK == nil || *r.OK == (r.Error != nil) {
				t.Fatalf("%q: %q, %v", line, out, err)
			}
			return
		}
		tag := ""
		if in[0] == '@' {
			tag, _, _ = strings.Cut(string(in), " ")
			tag += " "
		}
		lines := strings.Split(body, "\n")
		for i, l := range lines {
			u := strings.TrimPrefix(l, tag)
			final := u == "OK" || strings.HasPrefix(u, "ERR ")
			if final != (i == len(lines)-1) {
				t.Fatalf("%q: line %d of %q", line, i+1, out)
			}
			if strings.ContainsFunc(strings.ReplaceAll(l, "\t", ""), control) {
				t.Fatalf("%q: control characters in %q", line, l)
			}
			if tag != "" && !strings.HasPrefix(l, tag) && !strings.Contains(l, "a tag is @") {
				t.Fatalf("%q: no tag before %q", line, l)
			}
		}
	})
}

// FuzzRequest reads anything as a request: what is read is what encoding/json reads, and
// nothing is read that it would not.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{`{"cmd":"status"}`, `{"id":7,"cmd":"room enter","args":{"id":101,"user":"a"}}`, `{"id":"x","cmd":"a \"b c\"","args":{"s":"\ud83d\ude00","b":true,"n":-1e3}}`,
		`{"cmd":"a","cmd":"b"}`, `{"args":{"a":{"a":{}}}}`, `{"id":[[[]]]}`, `null`, `[]`, `{"cmd":"\ud800"}`, `{"cmd":"a","args":{"n":1e999}}`, "\xff", `{"cmd":"a"}{`, `{"":"","cmd":"0"}`, `{"":1,"":2}`, `{"cmd":"a","args":{"0":"0","0":0}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		q, err := readRequest(line)
		if err != nil {
			if c := errorOf(err).Code; c != CodeSyntax && c != CodeArgument && c != CodeTooLong {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		var want struct {
			ID   any
			Cmd  string
			Args map[string]any
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q is read as %+v, and encoding/json says %v", line, q, err)
		}
		head, err := split(want.Cmd)
		for i := len(head); i < len(q.words); i++ {
			if slices.ContainsFunc(q.words[i+1:], func(w word) bool { return w.name == q.words[i].name }) {
				return // given twice: the command's list of arguments refuses it, with its usage
			}
		}
		if err != nil || len(q.words) != len(head)+len(want.Args) {
			t.Fatalf("%q: %+v, %v", line, q, err)
		}
		for i, w := range q.words {
			if i < len(head) {
				if w != head[i] {
					t.Fatalf("%q: word %d is %q", line, i+1, w)
				}
				continue
			}
			switch v := want.Args[w.name].(type) {
			case string:
				if v != w.value {
					t.Fatalf("%q: %q", line, w)
				}
			case bool:
				if v != (w.value == "on") {
					t.Fatalf("%q: %q", line, w)
				}
			case float64:
				if n, err := strconv.ParseInt(w.value, 10, 64); err != nil || float64(n) != v {
					t.Fatalf("%q: %q", line, w)
				}
			default:
				t.Fatalf("%q: %q", line, w)
			}
		}
		var id any
		if q.id != nil && json.Unmarshal(q.id, &id) != nil || id != want.ID {
			t.Fatalf("%q: id %s", line, q.id)
		}
	})
}

// FuzzLines cuts a stream that comes in pieces.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"", "a", "a\nb", "a\r\nb\r\n", "\r\r\n\n", "a\rb\n", strings.Repeat("x", MaxLine+1) + "\nb\n"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		piece = min(max(piece, 1), len(stream)+1)
		var parts []io.Reader
		for p := range slices.Chunk(stream, piece) {
			parts = append(parts, bytes.NewReader(p))
		}
		in := newLines(io.MultiReader(parts...))
		ends := func(r rune) bool { return r == '\n' || r == '\r' }
		want := bytes.FieldsFunc(stream, ends)
		whole := len(stream) == 0 || ends(rune(stream[len(stream)-1]))
		for i := 0; ; {
			line, err := in.next()
			switch {
			case err == io.EOF:
				if i != len(want) {
					t.Fatalf("%d lines of %d", i, len(want))
				}
				return
			case err == errCut:
				if i++; whole || i != len(want) {
					t.Fatalf("line %d is said to be cut off", i)
				}
			case err == errLong:
				if i++; len(want[i-1]) <= MaxLine {
					t.Fatalf("line %d is said to be too long", i)
				}
			case err != nil:
				t.Fatal(err)
			case len(line) > 0:
				if i++; !bytes.Equal(line, want[i-1]) {
					t.Fatalf("line %d is %q, not %q", i, line, want[i-1])
				}
			}
		}
	})
}
