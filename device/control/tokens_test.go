package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"anchord/internal/secret"
)

// shelf is a store in memory.
type shelf struct {
	values map[string]string
	err    error
	writes int
}

func (s *shelf) Save(v map[string]string) error {
	if s.err == nil {
		s.writes++
		maps.Copy(s.values, v)
	}
	return s.err
}

func (s *shelf) Delete(keys ...string) error {
	if s.err == nil {
		s.writes++
		for _, k := range keys {
			delete(s.values, k)
		}
	}
	return s.err
}

// newTokens gives tokens with a store and a first token.
func newTokens(t *testing.T) (*Tokens, *shelf) {
	t.Helper()
	s := &shelf{values: map[string]string{"room.id": "101"}}
	k := &Tokens{}
	if bad := k.Restore(s.values, s); bad != nil {
		t.Fatal(bad)
	}
	k.First(secret.New(token))
	return k, s
}

func mustCreate(t *testing.T, k *Tokens, name string, l Level, lasts time.Duration) string {
	t.Helper()
	made, err := k.Create(name, l, lasts)
	if err != nil {
		t.Fatal(err)
	}
	return made.Text.Reveal()
}

// knows checks that a token opens with a name and level; level 0: that it does not.
func knows(t *testing.T, k *Tokens, secret, name string, l Level) {
	t.Helper()
	if l == 0 {
		name = ""
	}
	if n, got, ok := k.Authenticate(secret); n != name || got != l || ok != (l != 0) {
		t.Errorf("%s: %q %v %v", name, n, got, ok)
	}
	ctx, done := k.While(t.Context(), secret)
	if (ctx.Err() == nil) != (l != 0) {
		t.Errorf("%s: a request may last: %v", name, ctx.Err())
	}
	done()
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, s := newTokens(t)
		look := mustCreate(t, k, "dash-1", Read, 0)
		use := mustCreate(t, k, "cart_7", Operate, time.Hour)
		if len(look) != 43 || look == use {
			t.Errorf("%q, %q", look, use)
		}
		knows(t, k, look, "dash-1", Read)
		knows(t, k, use, "cart_7", Operate)
		knows(t, k, token, "first", Admin)
		for _, wrong := range []string{"", look[1:], look + "A", look[:42] + "!", strings.ToLower(look), strings.Repeat("A", 20000), s.values["token.dash-1"]} {
			knows(t, k, wrong, "", 0)
		}

		// What is stored opens nothing and comes back after a restart.
		sum := sha256.Sum256([]byte(look))
		if want := "read " + hex.EncodeToString(sum[:]) + " 2000-01-01T00:00:00Z never"; s.values["token.dash-1"] != want {
			t.Errorf("stored is %q, not %q", s.values["token.dash-1"], want)
		}
		again := &Tokens{}
		if bad := again.Restore(s.values, s); bad != nil {
			t.Error(bad)
		}
		knows(t, again, look, "dash-1", Read)
		knows(t, again, use, "cart_7", Operate)
		knows(t, again, token, "first", 0)
		again.First(secret.New(token))

		writes := s.writes
		time.Sleep(time.Hour - time.Second)
		knows(t, k, use, "cart_7", Operate)
		want := []Token{{Name: "first", Level: Admin, Used: time.Now().Add(time.Second - time.Hour)},
			{Name: "dash-1", Level: Read, Made: time.Now().Add(time.Second - time.Hour), Used: time.Now().Add(time.Second - time.Hour)},
			{Name: "cart_7", Level: Operate, Made: time.Now().Add(time.Second - time.Hour), Ends: time.Now().Add(time.Second), Used: time.Now()}}
		if d := cmp.Diff(want, k.List(), cmpopts.EquateApproxTime(0), cmp.Comparer(func(a, b secret.Value) bool { return a.IsZero() && b.IsZero() })); d != "" {
			t.Error(d)
		}
		time.Sleep(time.Second)
		knows(t, k, use, "cart_7", 0)
		knows(t, again, use, "cart_7", 0)
		if l := k.List(); !l[2].Expired || l[1].Expired || l[0].Expired {
			t.Errorf("%+v", l)
		}
		if s.writes != writes {
			t.Error("something was written for a request")
		}

		if err := k.Revoke("dash-1"); err != nil {
			t.Error(err)
		}
		knows(t, k, look, "dash-1", 0)
		if _, ok := s.values["token.dash-1"]; ok || s.values["room.id"] != "101" {
			t.Errorf("%v", s.values)
		}
		// Its name can be had again, its text cannot.
		if other := mustCreate(t, k, "dash-1", Admin, 0); other == look {
			t.Error("the same token again")
		}
		knows(t, k, look, "dash-1", 0)
	})
}

func TestTokensRefuse(t *testing.T) {
	k, s := newTokens(t)
	mustCreate(t, k, "here", Read, 0)
	before := maps.Clone(s.values)
	code := func(err error) int {
		var e *Error
		if !errors.As(err, &e) {
			return 0
		}
		return e.Code
	}
	create := func(name string, lasts time.Duration) error { _, err := k.Create(name, Read, lasts); return err }
	full := errors.New("the disk is full: free some space")
	for _, c := range []struct {
		name string
		do   func() error
		code int
		says string
	}{
		{"the first one's name", func() error { return create("first", 0) }, CodeArgument, "another name"},
		{"no name", func() error { return create("", 0) }, CodeArgument, "1 to 32"},
		{"a long name", func() error { return create(strings.Repeat("n", 33), 0) }, CodeArgument, "1 to 32"},
		{"a bad name", func() error { return create("a.b", 0) }, CodeArgument, "1 to 32"},
		{"a name twice", func() error { return create("here", 0) }, CodeState, "token revoke here"},
		{"too short", func() error { return create("x", leastLife-1) }, CodeArgument, "a minute"},
		{"a time that is past", func() error { return create("x", -time.Hour) }, CodeArgument, "a minute"},
		{"revoke nobody", func() error { return k.Revoke("x") }, CodeNotFound, "token list"},
		{"revoke the first", func() error { return k.Revoke("first") }, CodeState, "remove the file"},
		{"nothing can be stored", func() error { s.err = full; return create("x", 0) }, CodeState, "free some space"},
		{"no store", func() error { n := &Tokens{}; _, err := n.Create("x", Read, 0); return err }, CodeState, "[store] path"},
	} {
		if err := c.do(); code(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	s.err = nil
	if !maps.Equal(before, s.values) || len(k.List()) != 2 {
		t.Errorf("%v, %v", s.values, k.List())
	}
	for i := 1; i < maxTokens; i++ {
		mustCreate(t, k, fmt.Sprint("n", i), Read, 0)
	}
	if err := create("more", 0); code(err) != CodeState || !strings.Contains(err.Error(), "64") {
		t.Error(err)
	}
	if bad := (&Tokens{}).Restore(s.values, s); bad != nil {
		t.Error(bad)
	}
}

// TestRevokeIsNotStored revokes while the disk is full: the token is refused all the same.
func TestRevokeIsNotStored(t *testing.T) {
	k, s := newTokens(t)
	secret := mustCreate(t, k, "x", Read, 0)
	s.err = errors.New("full")
	if err := k.Revoke("x"); err == nil || !strings.Contains(err.Error(), "revoke it again") {
		t.Error(err)
	}
	knows(t, k, secret, "x", 0)
	if l := k.List(); len(l) != 2 || !l[1].Revoked || l[1].state() != "refused, still stored" {
		t.Errorf("%+v", l)
	}
	s.err = nil
	if err := k.Revoke("x"); err != nil || len(k.List()) != 1 || len(s.values) != 1 {
		t.Errorf("%v, %v", err, s.values)
	}
}

func TestRevokeEndsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := newTokens(t)
		a, b := mustCreate(t, k, "a", Read, 0), mustCreate(t, k, "b", Read, time.Minute)
		one, done1 := k.While(t.Context(), a)
		two, done2 := k.While(t.Context(), a)
		gone, done3 := k.While(t.Context(), a)
		done3()
		other, done4 := k.While(t.Context(), b)
		first, done5 := k.While(t.Context(), token)
		if err := k.Revoke("a"); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(context.Cause(one), errRevoked) || !errors.Is(context.Cause(two), errRevoked) || errors.Is(context.Cause(gone), errRevoked) || other.Err() != nil {
			t.Error(one.Err(), two.Err(), gone.Err(), other.Err())
		}
		late, done6 := k.While(t.Context(), a)
		if !errors.Is(context.Cause(late), errRevoked) {
			t.Error("a revoked token opens")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !errors.Is(context.Cause(other), errExpired) || first.Err() != nil {
			t.Error(context.Cause(other), first.Err())
		}
		for _, f := range []func(){done1, done2, done4, done5, done6} {
			f()
		}
		for _, x := range k.all() {
			if len(x.using) != 0 {
				t.Errorf("%s: %d requests are left", x.name, len(x.using))
			}
		}
	})
}

// TestRestoreBadTokens has records as no disk should give them: nobody comes in, and the
// others are not harmed.
func TestRestoreBadTokens(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	good := "read " + hash + " 2020-01-01T00:00:00Z never"
	for name, text := range map[string]string{
		"empty": "", "level": strings.Replace(good, "read", "root", 1), "hash": strings.Replace(good, "ab", "xy", 1),
		"short": strings.Replace(good, "abab", "", 1), "long": strings.Replace(good, "ab", "abab", 1), "made": strings.Replace(good, "2020-01-01", "soon", 1),
		"ends": strings.Replace(good, "never", "late", 1), "words": good + " x", "first": good, "a b": good,
	} {
		s := &shelf{values: map[string]string{"token.good": good, "token." + name: text}}
		k := &Tokens{}
		bad := k.Restore(s.values, s)
		if len(bad) != 1 || !strings.Contains(bad[0].Error(), "create another") {
			t.Errorf("%s: %v", name, bad)
		}
		knows(t, k, "", "", 0)
		knows(t, k, text, "", 0)
		if l := k.List(); len(l) != 2 || l[0].Revoked == l[1].Revoked {
			t.Errorf("%s: %+v", name, l)
		}
		if err := k.Revoke(name); name != "first" && (err != nil || len(s.values) != 1) {
			t.Errorf("%s: %v, %v", name, err, s.values)
		}
	}
}

// TestClockInThePast has a box without a battery start long before its tokens were made.
func TestClockInThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where it is the year 2000
		secret := "0123456789012345678901234567890123456789012"
		sum := sha256.Sum256([]byte(secret))
		h := hex.EncodeToString(sum[:])
		k := &Tokens{}
		if bad := k.Restore(map[string]string{"token.old": "read " + h + " 2030-01-01T00:00:00Z 2030-02-01T00:00:00Z",
			"token.new": "read " + strings.Repeat("00", 32) + " 2030-06-01T00:00:00Z never"}, &shelf{}); bad != nil {
			t.Fatal(bad)
		}
		knows(t, k, secret, "old", 0)
	})
}

// TestGuessing tries a million tokens, a third of them one character off a right one.
func TestGuessing(t *testing.T) {
	k, _ := newTokens(t)
	right := []string{mustCreate(t, k, "a", Read, 0), mustCreate(t, k, "b", Admin, 0), token}
	const n = 1_000_000
	begun := time.Now()
	for i := range n {
		wrong := randomToken()
		if i%3 == 0 {
			r := []byte(right[i/3%len(right)])
			r[i%len(r)] ^= byte(1 + i%127)
			wrong = string(r)
		}
		if name, _, ok := k.Authenticate(wrong); ok {
			t.Fatalf("%q opens as %s", wrong, name)
		}
	}
	t.Logf("%d wrong tokens in %v, none let in", n, time.Since(begun))
}

func BenchmarkAuthenticate(b *testing.B) {
	s := &shelf{values: map[string]string{}}
	k := &Tokens{}
	k.Restore(s.values, s)
	k.First(secret.New(token))
	var secret string
	for i := range maxTokens {
		v, err := k.Create(fmt.Sprint("n", i), Read, 0)
		if err != nil {
			b.Fatal(err)
		}
		secret = v.Text.Reveal()
	}
	for name, try := range map[string]string{"right": secret, "wrong": randomToken(), "first byte wrong": "!" + secret[1:], "last byte wrong": secret[:42] + "!"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.Authenticate(try)
			}
		})
	}
}
