package control

import (
	"bytes"
	"encoding/json"
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
			j, _ := json.Marshal(Request{ID: json.RawMessage("7"), Cmd: e})
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
