package control

import (
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Gate lets HTTP requests in by their bearer tokens. Such tokens do not travel by
// themselves as cookies do, so another site's page has nothing to ride on; the Host and
// Origin checks are in Local.
type Gate struct {
	Auth Authenticator // who may come in; nil: nobody
	Log  *slog.Logger  // nil: silent

	limit limiter
	shut  struct{ missing, wrong, limited, level atomic.Uint64 }
	mu    sync.Mutex
	said  time.Time // when wrong tokens were logged last
	more  int       // senders that were not logged since
}

// Refused counts requests that were not let in.
type Refused struct {
	Missing uint64 // without a token
	Wrong   uint64 // with one that nobody holds, or not any more
	Limited uint64 // not looked at, because their sender had sent too many wrong ones
	Level   uint64 // with one that does not allow it
}

// Refused gives the counters since the start.
func (g *Gate) Refused() Refused {
	return Refused{g.shut.missing.Load(), g.shut.wrong.Load(), g.shut.limited.Load(), g.shut.level.Load()}
}

// Guard lets requests through that carry a token of at least this level; next finds whose
// it is with CallerOf. The request's context ends when the token is revoked or expires.
// Too many wrong tokens make their sender wait, and nobody else. A nil Gate is shut.
func (g *Gate) Guard(need Level, next http.HandlerFunc) http.Handler {
	if g == nil {
		g = &Gate{}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		secret = strings.TrimSpace(secret)
		if !strings.EqualFold(scheme, "Bearer") || secret == "" || g.Auth == nil {
			g.shut.missing.Add(1)
			unknown(w, `Bearer realm="anchord"`)
			return
		}
		if now := time.Now(); !g.limit.quiet(now) {
			if wait := g.limit.wait(senderOf(r), now); wait > 0 {
				g.shut.limited.Add(1)
				later(w, wait)
				return
			}
		}
		name, level, ok := g.Auth.Authenticate(secret)
		if !ok {
			g.shut.wrong.Add(1)
			p := senderOf(r)
			wait, first := g.limit.wrong(p, time.Now())
			if first {
				g.say(p, wait)
			}
			unknown(w, `Bearer realm="anchord", error="invalid_token"`)
			return
		}
		by := Caller{"token " + name, level}
		if err := by.may(need, r.URL.Path); err != nil {
			g.shut.level.Add(1)
			fail(w, http.StatusForbidden, errorOf(err))
			return
		}
		ctx, done := g.Auth.While(withCaller(r.Context(), by), secret)
		defer done()
		next(w, r.WithContext(ctx))
	})
}

// unknown answers a request without a token that is known (RFC 6750 3).
func unknown(w http.ResponseWriter, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	fail(w, http.StatusUnauthorized, Errorf(CodeDenied, "a bearer token is needed; the first one is in the file that [control.http] token_file names"))
}

// later answers a request of a sender that has to wait.
func later(w http.ResponseWriter, wait time.Duration) {
	s := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(s))
	fail(w, http.StatusTooManyRequests, Errorf(CodeDenied, "too many wrong tokens came from here, so none is looked at: try again in %d s, or use the control socket", s))
}

// sayEvery is the least time between two log lines about wrong tokens.
const sayEvery = time.Minute

func (g *Gate) say(p sender, wait time.Duration) {
	if g.Log == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.said) >= sayEvery {
		g.Log.Warn("too many wrong tokens: who sends them has to wait", "from", p, "wait", wait, "others", g.more)
		g.said, g.more = now, 0
	} else {
		g.more++
	}
}
