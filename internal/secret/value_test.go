package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "c4nary-5ecret"

// holder has a secret where formatters may and may not call its methods.
type holder struct {
	Open   Value
	hidden Value
	deep   *Value
	many   []Value
	named  map[string]Value
}

func held() holder {
	v := New(canary)
	return holder{v, v, &v, []Value{v}, map[string]Value{"k": v}}
}

// secretError is an error that holds one.
type secretError struct{ v Value }

func (e secretError) Error() string { return fmt.Sprint("wrong: ", e.v) }

func TestNothingPrintsIt(t *testing.T) {
	v, h := New(canary), held()
	var all []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%p", "%T", "%c", "%U", "%e", "%g", "%o", "%b", "%w", "%5.3s", "%-50v", "%!"} {
		for _, x := range []any{v, &v, h, &h, []Value{v}, map[string]Value{"k": v}, [1]any{v}, struct{ v Value }{v}, secretError{v}} {
			all = append(all, fmt.Sprintf(verb, x))
		}
		all = append(all, fmt.Errorf(verb, v).Error(), fmt.Errorf("a: %w", fmt.Errorf(verb, secretError{v})).Error())
	}
	all = append(all, fmt.Sprint(v), fmt.Sprint(h), fmt.Sprintln(v, h), errors.Join(secretError{v}, secretError{v}).Error(), v.String())

	var b bytes.Buffer
	for _, l := range []*slog.Logger{slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))} {
		l.Info("m", "v", v, "p", &v, "h", h, "ph", &h, "many", h.many, "err", secretError{v}, slog.Group("g", "v", v))
	}
	encode := func(x any, err error) {
		if err != nil {
			t.Error(err)
		}
		all = append(all, fmt.Sprintf("%s", x))
	}
	encode(json.Marshal(h))
	encode(json.Marshal(map[string]any{"v": v, "m": h.named, "s": h.many}))
	encode(toml.Marshal(h))
	encode(toml.Marshal(map[string]any{"v": v, "s": h.many}))
	encode(xml.Marshal(h.many))
	encode(nil, gob.NewEncoder(&b).Encode(h))
	encode(nil, gob.NewEncoder(&b).Encode(v))
	all = append(all, b.String())
	for _, s := range all {
		if strings.Contains(s, canary) || strings.Contains(s, fmt.Sprintf("%x", canary)) || strings.Contains(strings.ToLower(s), fmt.Sprintf("% x", canary)) {
			t.Errorf("it is in %q", s)
		}
	}
	for verb, x := range map[string]any{"%v": v, "%+v": v, "%#v": v, "%s": v, "%q": v, "%x": v, "%d": v} {
		if got := fmt.Sprintf(verb, x); got != Shown {
			t.Errorf("%s gives %q", verb, got)
		}
		if got := fmt.Sprintf(verb, Value{}); got != "" {
			t.Errorf("%s of none gives %q", verb, got)
		}
	}
	if got, want := string(must(json.Marshal(v))), `"***"`; got != want {
		t.Error(got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestRead(t *testing.T) {
	var x struct{ V, W Value }
	if err := toml.Unmarshal([]byte("V = \"a b\"\n"), &x); err != nil || x.V.Reveal() != "a b" || !x.W.IsZero() || x.W.Len() != 0 || x.V.Len() != 3 {
		t.Error(x.V.Reveal(), err)
	}
	if err := json.Unmarshal([]byte(`{"V":"c","W":"***"}`), &x); !errors.Is(err, errShown) {
		t.Error(err)
	}
	var b bytes.Buffer
	var v Value
	if err := errors.Join(gob.NewEncoder(&b).Encode(New("a")), gob.NewDecoder(&b).Decode(&v)); !errors.Is(err, errShown) || !v.IsZero() {
		t.Error(err)
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{{"a", "a", true}, {"a", "b", false}, {"a", "", false}, {"", "a", false}, {"", "", false}, {canary, canary + "x", false}} {
		if got := New(c.a).Equal(New(c.b)); got != c.same {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
	}
	if cmp.Diff(holder{}.Open, New("a")) == "" || cmp.Diff(New("a"), New("a")) != "" {
		t.Error("go-cmp does not use Equal")
	}
}

func TestMask(t *testing.T) {
	var m Mask
	if got := m.Hide("abc token=x"); got != "abc token=***" {
		t.Error(got)
	}
	m.Add(New("short"))
	m.Add(New(canary))
	m.Add(New(canary + "-longer"))
	m.Add(New(`a"b c/d+e<f`))
	for in, want := range map[string]string{
		"short":                      "short",
		"x" + canary + "y":           "x***y",
		canary + "-longer":           "***",
		"a%22b+c%2Fd%2Be%3Cf":        "***",
		"a%22b%20c%2Fd+e%3Cf":        "***",
		`a\"b c/d+e\u003cf`:          "***",
		`a\"b c/d+e<f`:               "***",
		"a&#34;b c/d+e&lt;f":         "***",
		"/x/" + canary + "?y":        "/x/***?y",
		strings.ToUpper(canary) + "": strings.ToUpper(canary),
	} {
		if got := m.Hide(in); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
	m.AddURL("https://u:passw0rd@h/5f2b7c1d9e8a4b6c8d7e6f5a/webRTC?usersig=abcdefgh&user=cart-7-kitchen&x=k5f2b7c1d9e8a4b6c8d7e&z9z9z9z9z9z9z9z9z9z9z9")
	m.AddURL("https://h/%zz?token=abcdefghij")
	if got, want := m.Hide("passw0rd 5f2b7c1d9e8a4b6c8d7e6f5a webRTC abcdefgh cart-7-kitchen k5f2b7c1d9e8a4b6c8d7e z9z9z9z9z9z9z9z9z9z9z9"), "*** *** webRTC *** cart-7-kitchen *** ***"; got != want {
		t.Error(got)
	}
	plain, dirty := errors.New("plain"), fmt.Errorf("with %s: %w", canary, io.EOF)
	if m.HideError(nil) != nil || m.HideError(plain) != plain {
		t.Error("what holds no secret is changed")
	}
	if err := m.HideError(dirty); err.Error() != "with ***: EOF" || !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	for i := range 2 * mostMasked {
		m.Add(New(fmt.Sprintf("the-secret-%03d", i)))
	}
	if m.Hide("the-secret-031 the-secret-032") != "the-secret-031 ***" || len(m.kept) != mostMasked {
		t.Error(m.Hide("the-secret-031 the-secret-032"), len(m.kept))
	}
}
