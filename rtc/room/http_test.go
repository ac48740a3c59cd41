package room

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"anchord/internal/secret"
)

// offerOf gives a good offer for either side.
func offerOf(t *testing.T, anchor bool) string {
	t.Helper()
	if anchor {
		return publisher(t).offer()
	}
	return viewer(t).offer()
}

func TestBadRequestsGetOneClearAnswer(t *testing.T) {
	_, url := start(t, Config{})
	good := offerOf(t, true)
	long := strings.Repeat("x", 65)
	data := strings.Replace(good, "m=audio", "m=application", 1)
	for _, c := range []struct {
		name, method, path, kind, body string
		header                         http.Header
		status                         int
		code                           string
	}{
		{"no SDP", "POST", "/whip/1?user=a", typeSDP, "hello", nil, 400, "bad_sdp"},
		{"empty", "POST", "/whip/1?user=a", typeSDP, "", nil, 400, "bad_sdp"},
		{"SDP without media", "POST", "/whip/1?user=a", typeSDP, "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", nil, 422, "unusable_offer"},
		{"no credentials", "POST", "/whip/1?user=a", typeSDP, strings.ReplaceAll(good, "a=ice-pwd", "a=x-pwd"), nil, 400, "bad_sdp"},
		{"data channel", "POST", "/whip/1?user=a", typeSDP, data, nil, 422, "unusable_offer"},
		{"other codec", "POST", "/whip/1?user=a", typeSDP, strings.ReplaceAll(good, "H264", "VP8"), nil, 422, "no_common_codec"},
		{"wrong way", "POST", "/whip/1?user=a", typeSDP, offerOf(t, false), nil, 422, "unusable_offer"},
		{"viewer that sends", "POST", "/whep/1/a", typeSDP, good, nil, 422, "unusable_offer"},
		{"huge", "POST", "/whip/1?user=a", typeSDP, strings.Repeat("a", maxBody+1), nil, 413, "too_large"},
		{"wrong type", "POST", "/whip/1?user=a", "text/plain", good, nil, 415, "wrong_type"},
		{"no type", "POST", "/whip/1?user=a", "", good, nil, 415, "wrong_type"},
		{"no SDP wanted", "POST", "/whip/1?user=a", typeSDP, good, http.Header{"Accept": {"text/html"}}, 406, "not_acceptable"},
		{"no user", "POST", "/whip/1", typeSDP, good, nil, 400, "bad_user"},
		{"bad user", "POST", "/whip/1?user=a%20b", typeSDP, good, nil, 400, "bad_user"},
		{"room 0", "POST", "/whip/0?user=a", typeSDP, good, nil, 400, "bad_room"},
		{"room too long", "POST", "/whip/" + long + "?user=a", typeSDP, good, nil, 400, "bad_room"},
		{"GET", "GET", "/whip/1?user=a", "", "", nil, 405, "wrong_method"},
		{"PUT", "PUT", "/whep/1/a", typeSDP, good, nil, 405, "wrong_method"},
		{"GET of a session", "GET", "/whip/1/x", "", "", nil, 405, "wrong_method"},
		{"POST to state", "POST", "/rooms/1/state", "", "", nil, 405, "wrong_method"},
		{"unknown session", "DELETE", "/whip/1/x", "", "", nil, 404, "no_session"},
		{"unknown viewer", "PATCH", "/whep/1/x", typeFrag, "a=ice-ufrag:abcd\r\n", nil, 404, "no_session"},
		{"events of an unknown session", "GET", "/rooms/1/events?id=x", "", "", nil, 404, "no_session"},
		{"foreign page", "POST", "/whip/1?user=a", typeSDP, good, http.Header{"Origin": {"https://evil.example"}}, 403, "foreign_origin"},
		{"page from nowhere", "POST", "/whip/1?user=a", typeSDP, good, http.Header{"Origin": {"null"}}, 403, "foreign_origin"},
		{"rebound name", "GET", "/rooms/1/state", "", "", http.Header{"Host": {"evil.example"}}, 421, "unknown_host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, text := do(t, c.method, url+c.path, c.kind, c.body, c.header)
			var p Problem
			if err := json.Unmarshal([]byte(text), &p); err != nil {
				t.Fatalf("%d is no problem: %q", res.StatusCode, text)
			}
			if res.StatusCode != c.status || p.Status != c.status || p.Code != c.code || p.Title == "" || p.Detail == "" {
				t.Errorf("got %d %+v, want %d %s", res.StatusCode, p, c.status, c.code)
			}
			if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type is %q", got)
			}
			if c.status == 405 && res.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if res.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("other sites are let in")
			}
		})
	}
}

func TestEntranceSaysWhatTheRFCsWant(t *testing.T) {
	_, url := start(t, Config{ICEServers: []ICEServer{{URLs: []string{"turn:turn.example?transport=udp"}, Username: "u", Credential: secret.New(`a"b`)}}})
	pub := publisher(t)
	pub.enter(url + "/whip/my%20room?user=a")
	if !strings.HasPrefix(pub.where, url+"/whip/my%20room/") {
		t.Errorf("Location is %s", pub.where)
	}
	if tag := pub.header.Get("ETag"); len(tag) < 3 || tag[0] != '"' {
		t.Errorf("ETag is %s", tag)
	}
	if got := pub.header.Get("Accept-Patch"); got != typeFrag {
		t.Errorf("Accept-Patch is %s", got)
	}
	links := strings.Join(pub.header.Values("Link"), "\n")
	for _, want := range []string{
		`<turn:turn.example?transport=udp>; rel="ice-server"; username="u"; credential="a\"b"; credential-type="password"`,
		`</rooms/my%20room/events?id=` + idOf(pub) + `>; rel="urn:ietf:params:whip:ext:core:server-sent-events"`,
	} {
		if !strings.Contains(links, want) {
			t.Errorf("no %s in\n%s", want, links)
		}
	}
	res, _ := do(t, http.MethodDelete, pub.where, "", "", nil)
	if res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %d", res.StatusCode)
	}
	if res, _ = do(t, http.MethodDelete, pub.where, "", "", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("DELETE again: %d", res.StatusCode)
	}
	if res, _ = do(t, http.MethodOptions, url+"/whip/1", "", "", nil); res.StatusCode != http.StatusNoContent || res.Header.Get("Accept-Post") != typeSDP {
		t.Errorf("OPTIONS: %d %v", res.StatusCode, res.Header)
	}
}

func TestLimitsAnswerWithRetryAfter(t *testing.T) {
	_, url := start(t, Config{MaxAnchors: 1, MaxViewers: 1, MaxWatches: 1})
	publisher(t).enter(url + "/whip/1?user=a")
	viewer(t).enter(url + "/whep/1/a")
	listen(t, url+"/rooms/1/events", "")
	for path, code := range map[string]string{"/whip/1?user=b": "room_full", "/whep/1/a": "server_full"} {
		res, text := do(t, http.MethodPost, url+path, typeSDP, offerOf(t, strings.HasPrefix(path, "/whip")), nil)
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(text, code) {
			t.Errorf("%s: %d %v %s", path, res.StatusCode, res.Header, text)
		}
	}
	if res, _ := do(t, http.MethodGet, url+"/rooms/1/events", "", "", nil); res.StatusCode != 503 {
		t.Errorf("second stream: %d", res.StatusCode)
	}
	again := publisher(t) // the same user takes its own place
	again.enter(url + "/whip/1?user=a")
}

func TestAuthorize(t *testing.T) {
	_, url := start(t, Config{Authorize: func(r *http.Request, room string) (Identity, error) {
		switch r.Header.Get("Authorization") {
		case "Bearer anchor":
			return Identity{User: "a", Anchor: true}, nil
		case "Bearer viewer":
			return Identity{User: "v"}, nil
		case "Bearer old":
			return Identity{}, &Problem{Status: 401, Code: "expired", Title: "the token has expired"}
		}
		return Identity{}, errors.New("a secret reason")
	}})
	as := func(who string) http.Header { return http.Header{"Authorization": {"Bearer " + who}} }
	for _, c := range []struct {
		who    string
		path   string
		status int
		word   string
	}{
		{"", "/whip/1", 401, "unauthorized"}, {"old", "/whip/1", 401, "expired"}, {"viewer", "/whip/1?user=a", 403, "may_not_publish"},
		{"anchor", "/whip/1?user=somebody-else", 201, ""}, {"viewer", "/whep/1/a", 201, ""}, {"", "/whep/1/a", 401, "unauthorized"},
	} {
		res, text := do(t, http.MethodPost, url+c.path, typeSDP, offerOf(t, strings.HasPrefix(c.path, "/whip")), as(c.who))
		if res.StatusCode != c.status || !strings.Contains(text, c.word) || strings.Contains(text, "secret") {
			t.Errorf("%q %s: %d %s", c.who, c.path, res.StatusCode, text)
		}
		if c.status == 401 && res.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Error("401 without WWW-Authenticate")
		}
		if c.who != "anchor" || c.status != 201 {
			continue
		}
		where := url + res.Header.Get("Location")
		if res, _ := do(t, http.MethodDelete, where, "", "", as("viewer")); res.StatusCode != 404 {
			t.Errorf("another user's DELETE: %d", res.StatusCode)
		}
		if res, _ := do(t, http.MethodGet, url+"/rooms/1/events?id="+where[strings.LastIndex(where, "/")+1:], "", "", as("viewer")); res.StatusCode != 404 {
			t.Errorf("another user's events: %d", res.StatusCode)
		}
	}
	if res, _ := do(t, http.MethodGet, url+"/rooms/1/state", "", "", nil); res.StatusCode != 401 {
		t.Errorf("state without a token: %d", res.StatusCode)
	}
	if res, text := do(t, http.MethodGet, url+"/rooms/1", "", "", nil); res.StatusCode != 200 || !strings.Contains(text, "<html") ||
		!strings.Contains(res.Header.Get("Content-Security-Policy"), "script-src 'self'") {
		t.Errorf("page: %d %v", res.StatusCode, res.Header)
	}
	if res, _ := do(t, http.MethodGet, url+"/rooms/assets/viewer.js", "", "", nil); res.StatusCode != 200 {
		t.Errorf("asset: %d", res.StatusCode)
	}
}

func TestPatch(t *testing.T) {
	_, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/1?user=a")
	defer flow(pub, 1, 1)()
	v := viewer(t)
	v.enter(url + "/whep/1/a")
	wait(t, "picture", func() bool { return len(v.packets(video)) > 0 })

	local := pub.pc.LocalDescription().SDP
	frag := fragmentOf(local)
	tag := pub.header.Get("ETag")
	for _, c := range []struct {
		name, kind, body, match string
		status                  int
	}{
		{"no If-Match", typeFrag, frag, "", 428},
		{"old ETag", typeFrag, frag, `"old"`, 412},
		{"wrong type", typeSDP, frag, tag, 415},
		{"garbage", typeFrag, "garbage", tag, 400},
		{"half credentials", typeFrag, "a=ice-ufrag:abcd\r\n", tag, 400},
		{"other credentials", typeFrag, "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n", tag, 422},
		{"trickle", typeFrag, frag, tag, 204},
		{"trickle of .local", typeFrag, "a=candidate:1 1 udp 1 abc.local 1 typ host\r\na=candidate:nonsense\r\n", tag, 204},
		{"end", typeFrag, "a=end-of-candidates\r\n", tag, 204},
	} {
		header := http.Header{}
		if c.match != "" {
			header.Set("If-Match", c.match)
		}
		if res, text := do(t, http.MethodPatch, pub.where, c.kind, c.body, header); res.StatusCode != c.status {
			t.Errorf("%s: %d %s", c.name, res.StatusCode, text)
		}
	}

	// ICE restart: new credentials both ways, the media goes on.
	offer, err := pub.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	before := pub.pc.RemoteDescription().SDP
	text := pub.local(offer)
	res, reply := do(t, http.MethodPatch, pub.where, typeFrag, fragmentOf(text), http.Header{"If-Match": {"*"}})
	f, p := parseFragment(reply)
	if res.StatusCode != 200 || p != nil || f.ufrag == "" || len(f.candidates) == 0 || res.Header.Get("ETag") == tag {
		t.Fatalf("restart: %d %v %v\n%s", res.StatusCode, res.Header, p, reply)
	}
	answer := withCredentials(before, f.ufrag, f.pwd)
	for _, c := range f.candidates {
		answer += "a=" + c + "\r\n"
	}
	if err := pub.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the new pair", func() bool { return pub.pc.ICEConnectionState() == webrtc.ICEConnectionStateConnected })
	n := len(v.packets(video))
	wait(t, "picture after the restart", func() bool { return len(v.packets(video)) > n+20 })
	if res, _ := do(t, http.MethodPatch, pub.where, typeFrag, "a=end-of-candidates\r\n", http.Header{"If-Match": {tag}}); res.StatusCode != 412 {
		t.Errorf("the old ETag still holds: %d", res.StatusCode)
	}
}

func TestClosedServerSaysSo(t *testing.T) {
	s := New(Config{Open: true})
	if _, _, err := s.enter(t.Context(), entry{room: "1", user: "a", offer: offerOf(t, true)}); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("error is %v", err)
	}
	if err := New(Config{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "open") {
		t.Errorf("neither open nor authorized: %v", err)
	}
	if err := New(Config{Open: true, UDPListen: "256.0.0.1:0"}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "256.0.0.1") {
		t.Errorf("bad address: %v", err)
	}
}
