package control

import "testing"

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		word string
		l    Level
	}{{"read", Read}, {"operate", Operate}, {"admin", Admin}} {
		if l, err := ParseLevel(c.word); err != nil || l != c.l || l.String() != c.word {
			t.Errorf("%s: %v, %v", c.word, l, err)
		}
	}
	for _, word := range []string{"", "root", "Read", "none"} {
		if l, err := ParseLevel(word); err == nil || l != 0 {
			t.Errorf("%q: %v, %v", word, l, err)
		}
	}
	for have := Level(-1); have <= Admin+1; have++ {
		for need := Level(-1); need <= Admin+1; need++ {
			want := have >= Read && have <= Admin && need >= Read && need <= have
			if have.Allows(need) != want {
				t.Errorf("%v (%d) for %v (%d): %v", have, have, need, need, !want)
			}
		}
	}
}
