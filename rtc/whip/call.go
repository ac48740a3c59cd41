package whip

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"anchord/internal/secret"
	"anchord/rtc"
)

// call is one session.
type call struct {
	s       *Signaller
	token   secret.Value
	url     *url.URL // nil: the room gave none
	answer  string
	servers []rtc.ICEServer

	events  chan rtc.Event // nil: the room has no such stream
	quit    context.CancelFunc
	follows sync.WaitGroup

	mu    sync.Mutex // one PATCH at a time; guards what follows
	offer string
	last  string // the newest answer
	etag  string
}

var _ rtc.Call = (*call)(nil)

func (c *call) Answer() string              { return c.answer }
func (c *call) ICEServers() []rtc.ICEServer { return c.servers }

func (c *call) Events() <-chan rtc.Event {
	if c.events == nil {
		return nil
	}
	return c.events
}

// Reach says whether the server answers at all, on a new connection.
func (c *call) Reach(ctx context.Context) (err error) {
	defer func() { err = c.s.cfg.Mask.HideError(err) }()
	if c.url == nil {
		return rtc.ErrNoRestart
	}
	c.s.client.CloseIdleConnections()
	_, err = c.s.do(ctx, request{method: http.MethodOptions, url: c.url, token: c.token})
	if err != nil {
		return fmt.Errorf("reach the room at %s: %w", shown(c.url), err)
	}
	return nil
}

// Trickle sends candidates by PATCH (RFC 9725 4.3.1).
func (c *call) Trickle(ctx context.Context, candidates []rtc.Candidate, done bool) (err error) {
	defer func() { err = c.s.cfg.Mask.HideError(err) }()
	if c.url == nil {
		return rtc.ErrNoTrickle
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	res, err := c.patch(ctx, c.etag, trickled(c.offer, candidates, done))
	if err != nil {
		return fmt.Errorf("send candidates to %s: %w", shown(c.url), err)
	}
	switch res.status {
	case http.StatusNoContent, http.StatusOK:
		return nil
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusUnsupportedMediaType:
		return rtc.ErrNoTrickle
	}
	return refused(res)
}

// Restart restarts ICE by PATCH (RFC 9725 4.3.3).
func (c *call) Restart(ctx context.Context, offer string) (_ string, err error) {
	defer func() { err = c.s.cfg.Mask.HideError(err) }()
	if c.url == nil {
		return "", rtc.ErrNoRestart
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	res, err := c.patch(ctx, "*", restarting(offer))
	if err != nil {
		return "", fmt.Errorf("restart ICE at %s: %w", shown(c.url), err)
	}
	switch {
	case res.status == http.StatusOK:
	case res.status >= 500 && res.status != http.StatusNotImplemented, res.status == http.StatusTooManyRequests:
		return "", refused(res)
	case res.status == http.StatusNotFound, res.status == http.StatusGone:
		// The server was started anew: that says nothing about what it can do.
		return "", fmt.Errorf("restart ICE at %s: the session is gone (%d: %s)", shown(c.url), res.status, reason(res))
	default: // among them 204: it was taken for a trickle
		return "", fmt.Errorf("%w (%d: %s)", rtc.ErrNoRestart, res.status, reason(res))
	}
	if c.last == "" {
		c.last = c.answer
	}
	answer, err := reanswered(c.last, string(res.body))
	if err != nil {
		return "", fmt.Errorf("%w: %w", rtc.ErrNoRestart, err)
	}
	c.offer, c.last, c.etag = offer, answer, res.header.Get("ETag")
	return answer, nil
}

// patch sends a fragment. c.mu is held.
func (c *call) patch(ctx context.Context, match, body string) (*response, error) {
	return c.s.do(ctx, request{method: http.MethodPatch, url: c.url, token: c.token, kind: fragmentKind,
		accept: fragmentKind, match: match, body: body})
}

// Hangup deletes the session, ends the event stream and closes the connection.
func (c *call) Hangup(ctx context.Context) (err error) {
	defer func() { err = c.s.cfg.Mask.HideError(err) }()
	if c.quit != nil {
		c.quit()
		defer c.follows.Wait()
	}
	defer c.s.client.CloseIdleConnections()
	if c.url == nil {
		return nil
	}
	var last error
	for range 2 {
		if last = c.delete(ctx); last == nil || ctx.Err() != nil {
			break
		}
	}
	return last
}

func (c *call) delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.s.cfg.HangupTimeout)
	defer cancel()
	res, err := c.s.do(ctx, request{method: http.MethodDelete, url: c.url, token: c.token})
	switch {
	case err == nil && (res.status < 300 || res.status == http.StatusNotFound || res.status == http.StatusGone):
		return nil // the latter: it is gone already
	case err == nil:
		err = refused(res)
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %v", c.s.cfg.HangupTimeout)
	}
	return fmt.Errorf("leave the room at %s: %w", shown(c.url), err)
}

// abandon ends a session whose answer is of no use.
func (c *call) abandon(ctx context.Context) {
	if err := c.Hangup(ctx); err != nil {
		c.s.cfg.Log.Debug("session with a useless answer not ended", "err", err)
	}
}
