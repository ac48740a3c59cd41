package rtc

import (
	"slices"
	"testing"

	"github.com/pion/dtls/v3"
)

func TestCipherOrder(t *testing.T) {
	if p := cipherOrder(true); p[0] != dtls.SRTP_AEAD_AES_128_GCM {
		t.Errorf("with AES instructions %v comes first", p[0])
	}
	if p := cipherOrder(false); p[0] != dtls.SRTP_AES128_CM_HMAC_SHA1_80 {
		t.Errorf("without AES instructions %v comes first", p[0])
	}
	for _, p := range [][]dtls.SRTPProtectionProfile{Ciphers(), cipherOrder(true), cipherOrder(false)} {
		for _, want := range cipherOrder(true) {
			if len(p) != 3 || !slices.Contains(p, want) {
				t.Errorf("%v: %v is missing", p, want)
			}
		}
	}
}
