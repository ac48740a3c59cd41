package room

import (
	"net"
	"net/http"
	"regexp"
	"testing"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// pinger pings the server from one new address after another, as it may who was let in.
func pinger(t *testing.T, s *Server, offer, answer string) func() {
	t.Helper()
	word := func(text, key string) string {
		m := regexp.MustCompile(`a=` + key + `:(\S+)`).FindStringSubmatch(text)
		if m == nil {
			t.Fatal("no " + key)
		}
		return m[1]
	}
	name := word(answer, "ice-ufrag") + ":" + word(offer, "ice-ufrag")
	pwd := word(answer, "ice-pwd")
	return func() {
		c, err := net.Dial("udp4", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(name), ice.AttrControlling(7),
			ice.PriorityAttr(1<<24), stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(m.Raw); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPingsFromManyAddressesEndTheSession(t *testing.T) {
	s, url := start(t, Config{})
	p := publisher(t)
	offer := p.offer()
	res, answer := do(t, http.MethodPost, url+"/whip/1?user=a", typeSDP, offer, nil)
	if res.StatusCode != http.StatusCreated {
		t.Fatal(answer)
	}
	ping := pinger(t, s, offer, answer)
	n := 0
	wait(t, "the session ends", func() bool {
		for range 100 {
			ping()
			n++
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.sessions) == 0
	})
	if n > 1000 {
		t.Errorf("only after pings from %d addresses", n)
	}
}
