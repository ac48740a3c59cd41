package control

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// byName is an Authenticator whose tokens are their levels' names.
type byName struct{}

func (byName) Authenticate(t string) (string, Level, bool) {
	for l := Level(0); l <= Admin; l++ {
		if l.String() == t {
			return t, l, true
		}
	}
	return "", 0, false
}

func (byName) While(ctx context.Context, _ string) (context.Context, func()) { return ctx, func() {} }

// TestAccess says every command with every level.
func TestAccess(t *testing.T) {
	table := Commands(parts())
	for i := range table {
		c := &table[i]
		need := c.Level
		for l := Level(0); l <= Admin; l++ {
			ran := false
			own := Table{*c}
			own[0].Args = nil
			own[0].Run = func(ctx context.Context, _ Args) (Fields, error) {
				ran = CallerOf(ctx) == Caller{"x", l}
				return nil, nil
			}
			got := string(own.answer(t.Context(), Caller{"x", l}, []byte(c.Name)))
			want := "OK\n"
			if l < need {
				want = fmt.Sprintf("ERR 121 forbidden %s needs the level %s and this token has %s: use a token with more\n", c.Name, need, l)
			}
			if got != want || ran != (l >= need) {
				t.Errorf("%s as %s: %q, it ran: %v", c.Name, l, got, ran)
			}
		}
	}
	// What states no level opens to nobody: it was forgotten.
	forgotten := Table{{Name: "x", Run: func(context.Context, Args) (Fields, error) { return nil, nil }}}
	if got := string(forgotten.answer(t.Context(), root, []byte("x"))); !strings.HasPrefix(got, "ERR 121 ") {
		t.Error(got)
	}
}

func TestAccessByHTTP(t *testing.T) {
	mux := http.NewServeMux()
	h := HTTP{Table: Commands(parts()), Gate: &Gate{Auth: byName{}}, Snapshot: func(*http.Request) ([]byte, error) { return []byte("jpeg"), nil }}
	h.Register(mux)
	for _, c := range []struct {
		method, path, body string
		need               Level
	}{
		{"GET", "/healthz", "", 0},
		{"GET", "/v1/status", "", Read},
		{"GET", "/v1/snapshot.jpg", "", Operate},
		{"POST", "/v1/command", `{"cmd":"version"}`, Read},
		{"POST", "/v1/command", `{"cmd":"mic mute on"}`, Operate},
	} {
		for l := Level(0); l <= Admin; l++ {
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header.Set("Authorization", "Bearer "+l.String())
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			want, said := 200, ""
			if l < c.need {
				want, said = 403, `"code":121,"slug":"forbidden"`
			}
			if w.Code != want || !strings.Contains(w.Body.String(), said) {
				t.Errorf("%s %s %s as %s: %d %s", c.method, c.path, c.body, l, w.Code, w.Body)
			}
		}
	}
}
