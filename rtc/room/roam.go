package room

import (
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// roam follows a peer whose address changes under way: a box that moves to another network, a
// NAT that forgets. The peer's own pings go on from the new address and are answered there, so
// that it notices nothing, while RTCP and media to it would go to the old one for ever: only the
// side that made the offer may choose the pair (RFC 8445 section 7.3.1.5), and it sees no reason.
type roam struct {
	pair  *ice.CandidatePair // that the peer chose, or that it was followed to
	heard time.Time          // the last ping there
	flood func()             // the peer pings from more addresses than any honest one
	paid  time.Time          // for the addresses so far
}

// How many addresses a peer may ping from: so many at once, and one each wayEvery in the long
// run. pion keeps every one until the session ends and looks through all for each packet.
const (
	wayBurst = 64
	wayEvery = 5 * time.Second
)

// roamAfter is how long the chosen pair may be silent while another one is pinged. A browser
// pings every 2.5 s.
const roamAfter = 3 * time.Second

// asked is called for each authenticated ping, on the ICE agent's goroutine. It says whether the
// pair becomes the selected one. That the ping came from there is not enough, because its source
// may be forged to have our media flood somebody else: our own ping has to be answered too.
func (r *roam) asked(m *stun.Message, _, _ ice.Candidate, pair *ice.CandidatePair) bool {
	if pair == nil {
		return false
	}
	now := time.Now()
	if pair.RequestsReceived() == 1 && r.tooMany(now) {
		r.flood()
		return false
	}
	return r.follow(pair, m.Contains(stun.AttrUseCandidate), pair.ResponsesReceived() > 0, now)
}

// tooMany counts one more address.
func (r *roam) tooMany(now time.Time) bool {
	if r.paid.Before(now) {
		r.paid = now
	}
	r.paid = r.paid.Add(wayEvery)
	return r.paid.Sub(now) > wayBurst*wayEvery
}

func (r *roam) follow(pair *ice.CandidatePair, chosen, answered bool, now time.Time) bool {
	switch {
	case pair == r.pair, chosen:
		r.pair, r.heard = pair, now
		return false
	case r.pair == nil || !answered || now.Sub(r.heard) < roamAfter:
		return false
	}
	r.pair, r.heard = pair, now
	return true
}
