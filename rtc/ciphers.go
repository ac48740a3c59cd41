package rtc

import (
	"github.com/pion/dtls/v3"
	"golang.org/x/sys/cpu"
)

// Ciphers gives the SRTP protection profiles, cheapest for this processor first. All
// stay in the list: the other side has its own wishes. AES-GCM wins by far where the
// processor has AES and carry-less multiplication; else SHA-1, which Go has assembler
// for everywhere, is cheaper than GHASH in portable code. 256 bits buy nothing where
// DTLS agreed on the keys with 128.
func Ciphers() []dtls.SRTPProtectionProfile {
	return cipherOrder(cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL)
}

func cipherOrder(fastGCM bool) []dtls.SRTPProtectionProfile {
	if fastGCM {
		return []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80}
	}
	return []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM}
}
