package whip

import (
	"testing"
	"time"
)

func TestATalkativeRoomIsSlowedDown(t *testing.T) {
	var p pace
	now := time.Unix(1e9, 0)
	for n := range eventBurst {
		if d := p.next(now); d > 0 {
			t.Fatalf("event %d waits %v", n, d)
		}
	}
	if d := p.next(now); d != eventEvery {
		t.Errorf("the next event waits %v", d)
	}
	if d := p.next(now.Add(time.Minute)); d > 0 {
		t.Errorf("a minute later an event waits %v", d)
	}
}

func TestICEServersThatPionRefusesAreLeftOut(t *testing.T) {
	links := parseLinks([]string{`<stun:a?transport=udp>; rel="ice-server", <stun:[::1>; rel="ice-server",
 <turn:b?transport=carrier-pigeon>; rel="ice-server"; username="u"; credential="c", <stun:good.example:3478>; rel="ice-server"`})
	servers := iceServers(links)
	if len(servers) != 1 || servers[0].URLs[0] != "stun:good.example:3478" {
		t.Errorf("%+v", servers)
	}
}
