package room

import (
	"net/http"
	"strings"

	"github.com/pion/sdp/v3"
)

// offer is what an SDP offer brings.
type offer struct {
	audio, video bool
	ufrag, pwd   string
}

// checkOffer reads an offer: at most one audio and one video section in one transport, going
// the way that this end needs (RFC 9725 section 4.2).
func checkOffer(text string, anchor bool) (offer, *Problem) {
	var o offer
	bad := func(detail string) (offer, *Problem) {
		return offer{}, problem(http.StatusBadRequest, "bad_sdp", "the offer cannot be read", "%s", detail)
	}
	cannot := func(detail string) (offer, *Problem) {
		return offer{}, problem(http.StatusUnprocessableEntity, "unusable_offer", "the offer cannot be used here", "%s", detail)
	}
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil || !strings.HasPrefix(text, "v=0") {
		return bad("this is no SDP: send the local description of a peer connection")
	}
	ways := []string{"recvonly", "sendrecv"}
	if anchor {
		ways = []string{"sendonly", "sendrecv"}
	}
	candidates := countAttributes(desc.Attributes, "candidate")
	for _, m := range desc.MediaDescriptions {
		candidates += countAttributes(m.Attributes, "candidate")
	}
	if candidates > 2*maxCandidates {
		return bad("it has too many candidates")
	}
	fingerprint := hasAttribute(desc.Attributes, "fingerprint")
	for _, m := range desc.MediaDescriptions {
		if m.MediaName.Port.Value == 0 && !hasAttribute(m.Attributes, "bundle-only") {
			continue
		}
		var seen *bool
		switch m.MediaName.Media {
		case "audio":
			seen = &o.audio
		case "video":
			seen = &o.video
		default:
			return cannot("a section is neither audio nor video; offer no data channel")
		}
		if *seen {
			return cannot("there are two sections of the same kind; offer one audio and one video section")
		}
		*seen = true
		if _, ok := m.Attribute("mid"); !ok {
			return bad("a media section has no a=mid")
		}
		right := false
		for _, way := range ways {
			right = right || hasAttribute(m.Attributes, way)
		}
		// Without a word, a section goes both ways (RFC 8866 section 6.7).
		if !right && (hasAttribute(m.Attributes, "sendonly") || hasAttribute(m.Attributes, "recvonly") || hasAttribute(m.Attributes, "inactive")) {
			return cannot("a section goes the wrong way; use " + ways[0])
		}
		fingerprint = fingerprint || hasAttribute(m.Attributes, "fingerprint")
		if o.ufrag == "" {
			o.ufrag, _ = m.Attribute("ice-ufrag")
			o.pwd, _ = m.Attribute("ice-pwd")
		}
	}
	if o.ufrag == "" {
		o.ufrag, _ = desc.Attribute("ice-ufrag")
		o.pwd, _ = desc.Attribute("ice-pwd")
	}
	switch {
	case !o.audio && !o.video:
		return cannot("it has no audio and no video section")
	case !fingerprint || o.ufrag == "" || o.pwd == "":
		return bad("it has no DTLS fingerprint or no ICE credentials")
	}
	return o, nil
}

func hasAttribute(all []sdp.Attribute, key string) bool { return countAttributes(all, key) > 0 }

func countAttributes(all []sdp.Attribute, key string) (n int) {
	for _, a := range all {
		if a.Key == key {
			n++
		}
	}
	return n
}

// refusedSection says whether an answer turns down a section of the offer: no codec in common.
func refusedSection(answer string) bool {
	var desc sdp.SessionDescription
	if desc.UnmarshalString(answer) != nil {
		return true
	}
	for _, m := range desc.MediaDescriptions {
		if m.MediaName.Port.Value == 0 {
			return true
		}
	}
	return false
}

// withCredentials gives an offer again under other ICE credentials and without its candidates.
func withCredentials(text, ufrag, pwd string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		switch line = strings.TrimRight(line, "\r\n"); {
		case line == "", strings.HasPrefix(line, "a=candidate:"), strings.HasPrefix(line, "a=end-of-candidates"):
			continue
		case strings.HasPrefix(line, "a=ice-ufrag:"):
			line = "a=ice-ufrag:" + ufrag
		case strings.HasPrefix(line, "a=ice-pwd:"):
			line = "a=ice-pwd:" + pwd
		}
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	return b.String()
}
