package whip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"anchord/internal/secret"
)

// request is one request, with what redirects need to make it again.
type request struct {
	method       string
	url          *url.URL
	token        secret.Value
	kind, accept string // media types; empty: none
	match        string // If-Match
	body         string
}

// response is an answer that was read to its end.
type response struct {
	status  int
	header  http.Header
	url     *url.URL // that answered, after redirects
	strange bool     // another host than the configured one answered, without the token
	body    []byte
}

// newClient makes a client with connections of its own. HTTP/1.1 is enough for four
// requests a session, and unlike one HTTP/2 connection for all, a dead one is left
// behind by the next entry.
func (s *Signaller) newClient() *http.Client {
	s.walls.trust(s.url)
	t := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			u, err := http.ProxyFromEnvironment(r)
			if u != nil {
				s.walls.trust(u)
			}
			return u, err
		},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			d := net.Dialer{Timeout: s.cfg.ConnectTimeout, Control: s.walls.control(addr)}
			return d.DialContext(ctx, network, addr)
		},
		TLSClientConfig:        s.cfg.TLS,
		TLSHandshakeTimeout:    s.cfg.ConnectTimeout,
		ResponseHeaderTimeout:  s.cfg.AnswerTimeout,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    1,
		MaxResponseHeaderBytes: maxBody,
		DisableCompression:     true,
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do sends r, follows redirects and reads the answer.
func (s *Signaller) do(ctx context.Context, r request) (*response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	seen := map[string]bool{}
	for {
		if u := r.url.String(); seen[u] {
			return nil, errors.New("the server redirects in a circle")
		} else if len(seen) > maxRedirects {
			return nil, fmt.Errorf("the server redirects more than %d times", maxRedirects)
		} else {
			seen[u] = true
		}
		res, err := s.send(ctx, r)
		if err != nil {
			return nil, plain(err)
		}
		if res.StatusCode == http.StatusTemporaryRedirect || res.StatusCode == http.StatusPermanentRedirect {
			_ = res.Body.Close()
			if r.url, err = locate(r.url, res.Header.Get("Location")); err != nil {
				return nil, fmt.Errorf("the server redirects: %w", err)
			}
			continue
		}
		slow := time.AfterFunc(s.cfg.AnswerTimeout, func() {
			cancel(fmt.Errorf("the answer did not end within %v", s.cfg.AnswerTimeout))
		})
		body, err := readAll(res.Body)
		slow.Stop()
		_ = res.Body.Close()
		if err != nil {
			if c := context.Cause(ctx); c != nil {
				err = c
			}
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the answer is cut off")
			}
			return nil, plain(err)
		}
		// A server that repeats the token must not get it into our log, however short it is. An
		// SDP answer may have a short one in it by chance.
		if res.StatusCode >= 300 {
			if !r.token.IsZero() {
				body = bytes.ReplaceAll(body, []byte(r.token.Reveal()), []byte(secret.Shown))
			}
			body = []byte(s.cfg.Mask.Hide(string(body)))
		}
		return &response{res.StatusCode, res.Header, r.url, !r.token.IsZero() && !s.mayHaveToken(r.url), body}, nil
	}
}

// send makes one request; the caller closes the body.
func (s *Signaller) send(ctx context.Context, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	for k, v := range map[string]string{"Content-Type": r.kind, "Accept": r.accept, "If-Match": r.match, "User-Agent": "anchord"} {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	if !r.token.IsZero() && s.mayHaveToken(r.url) {
		req.Header.Set("Authorization", "Bearer "+r.token.Reveal())
	}
	return s.client.Do(req)
}

// mayHaveToken tells whether u is the host that the token was meant for, on the same
// origin or at least by TLS.
func (s *Signaller) mayHaveToken(u *url.URL) bool {
	if !strings.EqualFold(u.Hostname(), s.url.Hostname()) {
		return false
	}
	return u.Scheme == s.url.Scheme && port(u) == port(s.url) || u.Scheme == "https"
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// usable says what is wrong with an address.
func usable(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("its scheme is %q: use http or https", clean(u.Scheme))
	case u.Hostname() == "":
		return errors.New("it names no host")
	case u.User != nil:
		return errors.New("it has a user or password in it: use the token")
	}
	return nil
}

// locate resolves a Location against the address that sent it.
func locate(base *url.URL, location string) (*url.URL, error) {
	if location == "" {
		return nil, errors.New("there is no Location")
	}
	if len(location) > 4096 {
		return nil, errors.New("the Location is too long")
	}
	u, err := base.Parse(location)
	if err != nil {
		return nil, errors.New("the Location is no URL")
	}
	if err := usable(u); err != nil {
		return nil, fmt.Errorf("the Location is refused: %w", err)
	}
	if base.Scheme == "https" && u.Scheme != "https" {
		return nil, errors.New("the Location is refused: it leads from https to http")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// shown gives an address without what may be secret in it.
func shown(u *url.URL) string { return clean(secret.URL(u.String())) }

// plain takes net/http's wrapping off an error: it quotes the whole address.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var d *net.DNSError
	if errors.As(err, &d) && d.IsNotFound {
		return fmt.Errorf("no such host: check the name in room.url and the box's DNS: %w", err)
	}
	return err
}

// walls keep a room's redirects and session addresses from leading further inside than
// the address that the operator configured: a public server cannot make the box talk
// to its own loopback, its link or its private network.
type walls struct {
	mu      sync.Mutex
	trusted map[string]bool // host:port
	depth   int             // how far inside the trusted ones were found
}

// trust adds the operator's own word: the configured address, a proxy.
func (w *walls) trust(u *url.URL) {
	p := u.Port()
	if p == "" {
		p = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
		if p == "" {
			p = "80"
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trusted == nil {
		w.trusted = map[string]bool{}
	}
	w.trusted[net.JoinHostPort(u.Hostname(), p)] = true
}

// control judges the address that addr was resolved to, before it is connected.
func (w *walls) control(addr string) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		d := depth(ap.Addr().Unmap())
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.trusted[addr] {
			w.depth = max(w.depth, d)
			return nil
		}
		if d > w.depth {
			return fmt.Errorf("the server led to %s, which is further inside the network than room.url: refused", ap.Addr())
		}
		return nil
	}
}

// depth grades addresses: public, private network, this machine, and what is no server.
func depth(a netip.Addr) int {
	switch {
	case a.IsLoopback():
		return 2
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), a.IsInterfaceLocalMulticast():
		return 3
	case a.IsPrivate():
		return 1
	}
	return 0
}
