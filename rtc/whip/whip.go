// Package whip enters rooms by WHIP (RFC 9725): an offer is posted to an address, the
// answer comes back, and the session has an address of its own for everything after.
package whip

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"anchord/internal/secret"
	"anchord/rtc"
)

// Config says where to enter and as whom.
type Config struct {
	Log *slog.Logger // nil: silent
	// URL is the room's WHIP endpoint, http or https.
	URL string
	// Token gives the bearer token; it is asked before each entry, so that it may be a
	// fresh one. nil, or an empty one: none is sent. It is never logged, and never sent to
	// another host than URL's.
	Token func(context.Context) (secret.Value, error)
	// Mask learns every secret that is sent or comes, and takes them out of what the room
	// says; nil: one of the Signaller's own.
	Mask *secret.Mask
	// TLS, if not nil, replaces the system's certificates and so on.
	TLS *tls.Config

	ConnectTimeout time.Duration // for TCP and for TLS, each; 0: 2 s
	AnswerTimeout  time.Duration // from the request to the answer's header, and from there to its end; 0: 5 s
	HangupTimeout  time.Duration // for each of two tries to say goodbye; 0: 1 s
	QuietTimeout   time.Duration // an event stream without a word for so long is dead; 0: 45 s
}

// Limits of what a server may answer.
const (
	maxBody      = 64 << 10
	maxRedirects = 5
	maxLinks     = 32
	maxReason    = 256
)

// Signaller enters one room. Its methods may be called from any goroutine.
type Signaller struct {
	cfg    Config
	url    *url.URL
	client *http.Client
	walls  walls
}

var _ rtc.Signaller = (*Signaller)(nil)

// New checks the address. Nothing is opened before Publish.
func New(c Config) (*Signaller, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&c.ConnectTimeout, 2 * time.Second}, {&c.AnswerTimeout, 5 * time.Second},
		{&c.HangupTimeout, time.Second}, {&c.QuietTimeout, 45 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("room address: it is no URL: use https://HOST/PATH") // the parser's error may quote a secret
	}
	if err := usable(u); err != nil {
		return nil, fmt.Errorf("room address: %w", err)
	}
	if c.Mask == nil {
		c.Mask = &secret.Mask{}
	}
	c.Mask.AddURL(c.URL)
	s := &Signaller{cfg: c, url: u}
	s.client = s.newClient()
	return s, nil
}

// Publish posts the offer. Its error is an *rtc.Refused when the room said no.
func (s *Signaller) Publish(ctx context.Context, offer string) (_ rtc.Call, err error) {
	defer func() {
		if err = s.cfg.Mask.HideError(err); err != nil {
			s.client.CloseIdleConnections()
		}
	}()
	// A connection of an earlier session may be dead without a word; a new one is known
	// to be good or bad within the connect time-out.
	s.client.CloseIdleConnections()
	token, err := s.token(ctx)
	if err != nil {
		return nil, err
	}
	res, err := s.do(ctx, request{method: http.MethodPost, url: s.url, token: token,
		kind: "application/sdp", accept: "application/sdp", body: offer})
	if err != nil {
		return nil, fmt.Errorf("enter the room at %s: %w", shown(s.url), err)
	}
	if res.status != http.StatusCreated && res.status != http.StatusOK {
		return nil, refused(res)
	}
	c := &call{s: s, token: token, offer: offer, answer: string(res.body), etag: res.header.Get("ETag")}
	if v := res.header.Get("Location"); v != "" {
		if c.url, err = locate(res.url, v); err != nil {
			return nil, fmt.Errorf("enter the room at %s: the session's address: %w", shown(s.url), err)
		}
	} else {
		s.cfg.Log.Warn("the room gave the session no address: it cannot be ended properly", "room", shown(s.url))
	}
	if err := checkAnswer(offer, res); err != nil {
		c.abandon(ctx)
		return nil, err
	}
	links := parseLinks(res.header.Values("Link"))
	c.servers = iceServers(links)
	for _, srv := range c.servers {
		s.cfg.Mask.Add(srv.Credential)
	}
	c.listen(res.url, links)
	return c, nil
}

// Close closes connections that wait for the next request.
func (s *Signaller) Close() { s.client.CloseIdleConnections() }

func (s *Signaller) token(ctx context.Context) (secret.Value, error) {
	if s.cfg.Token == nil {
		return secret.Value{}, nil
	}
	t, err := s.cfg.Token(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("get a token for the room: %w", err)
	}
	if t, err = secret.Line(t.Reveal()); err != nil {
		return secret.Value{}, fmt.Errorf("get a token for the room: it %w", err)
	}
	s.cfg.Mask.Add(t)
	return t, nil
}

// readAll reads a body of at most maxBody bytes.
func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxBody:
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxBody)
	}
	return b, nil
}
