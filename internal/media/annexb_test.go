package media

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func nals(b []byte) (out [][]byte) {
	for n, rest := NextNAL(b); len(n) > 0; n, rest = NextNAL(rest) {
		out = append(out, n)
	}
	return out
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestNextNAL(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"000001", nil},
		{"00000001", nil},
		{"6742", nil},
		{"0000016742", []string{"6742"}},
		{"ff000000016742000001680000000165ffee0000", []string{"6742", "68", "65ffee"}},
		{"00000100000165", []string{"65"}},
		{"0000000000000167", []string{"67"}},
		{"0000016700000300", []string{"67000003"}},
	} {
		got := nals(unhex(c.in))
		if len(got) != len(c.want) {
			t.Errorf("%s: %x", c.in, got)
			continue
		}
		for i := range got {
			if hex.EncodeToString(got[i]) != c.want[i] {
				t.Errorf("%s: %x", c.in, got)
			}
		}
	}
}

func TestParameterSets(t *testing.T) {
	var s ParameterSets
	if _, key, ok := s.Append(nil, unhex("0000000165aa")); !key || ok {
		t.Error("a key picture without parameter sets passed")
	}
	if out, key, ok := s.Append(nil, unhex("0000000167420000000168ce")); key || ok || !s.Complete() {
		t.Errorf("parameter sets alone: %x %v %v", out, key, ok)
	}
	if out, key, ok := s.Append([]byte{9}, unhex("0000000165aa")); !key || !ok || hex.EncodeToString(out) != "0900000001674200000001"+"68ce0000000165aa" {
		t.Errorf("not put in front: %x", out)
	}
	au := unhex("0000000167430000000168cf0000000165aa")
	if out, key, ok := s.Append(nil, au); !key || !ok || !bytes.Equal(out, au) || hex.EncodeToString(s.SPS()) != "6743" {
		t.Errorf("put in front twice: %x", out)
	}
	if out, key, ok := s.Append(nil, unhex("0000000141aa")); key || !ok || len(out) != 6 {
		t.Errorf("slice: %x", out)
	}
	for in, want := range map[string][3]bool{ // key, whole, usable
		"0000000165aa":                       {true, false, true}, // the sets are known by now
		hex.EncodeToString(au):               {true, true, true},
		"0000000141aa":                       {false, true, true},
		"0000000167420000000168ce":           {false, true, false},
		"":                                   {false, true, false},
		"00000001674300000001650000000168cf": {true, false, true}, // its own PPS comes too late
	} {
		if key, whole, usable := s.Look(unhex(in)); [3]bool{key, whole, usable} != want {
			t.Errorf("look at %s: %v %v %v", in, key, whole, usable)
		}
	}
	if !IsKey(au) || IsKey(unhex("0000000141aa")) || IsKey(nil) {
		t.Error("IsKey")
	}
}

func TestParseSPS(t *testing.T) {
	// High profile, the second with cropping from 1088 lines.
	for _, c := range []struct {
		hex   string
		size  Size
		level uint8
	}{
		{"6764001fac2ca4014016ec0440000003004000000c83c60c9e", Size{1280, 720}, 31},
		{"67640028acd940780227e5c044000003000400000300f03c60c658", Size{1920, 1080}, 40},
	} {
		s, err := ParseSPS(unhex(c.hex))
		if err != nil || s.Size != c.size || s.Level != c.level {
			t.Errorf("%s: %+v %v", c.hex, s, err)
		}
	}
	for _, bad := range []string{"", "67", "6842c01f", "6742c01f", "6742c01fffffffffffffff"} {
		if s, err := ParseSPS(unhex(bad)); err == nil {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}

func FuzzNextNAL(f *testing.F) {
	f.Add(unhex("ff000000016742000001680000000165ffee0000"))
	f.Add([]byte{0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s ParameterSets
		total := 0
		for _, n := range nals(b) {
			if bytes.Contains(n, []byte{0, 0, 1}) || n[len(n)-1] == 0 {
				t.Fatalf("%x in %x", n, b)
			}
			total += len(n)
		}
		if total > len(b) {
			t.Fatal("made bytes up")
		}
		out, key, ok := s.Append(nil, b)
		if ok && key && (!IsKey(out) || !s.Complete()) {
			t.Fatalf("a usable key picture lacks something: %x", out)
		}
		if ok && !bytes.HasSuffix(out, b) {
			t.Fatal("the picture was changed")
		}
	})
}

func FuzzParseSPS(f *testing.F) {
	f.Add(unhex("67640028acd940780227e5c044000003000400000300f03c60c658"))
	f.Add(unhex("6742c01f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSPS(b)
		if err == nil && (s.Size.W <= 0 || s.Size.H <= 0 || s.Size.W > 16384) {
			t.Fatalf("%+v", s)
		}
	})
}
