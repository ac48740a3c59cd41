package control

import (
	"context"
	"time"
)

// longestLife is the longest time that a token can be made for, if it ends at all.
const longestLife = 3650 * 24 * time.Hour

// tokens gives the commands about tokens.
func tokens(t *Tokens) Table {
	return Table{
		{Name: "token create", Help: "Let somebody in by HTTP. The answer holds the token's text, which is nowhere afterwards: only its hash is stored.", Level: Admin,
			Example: "token create name=dashboard level=read expires=90d",
			Args: []Arg{{Name: "name", Kind: Word, Help: "whose it is: up to 32 letters, digits, _ and -, unique"},
				{Name: "level", Kind: Enum, Of: levels[Read:], Help: "read looks, operate uses the box, admin decides who may"},
				{Name: "expires", Kind: Duration, Min: int(leastLife / time.Second), Max: int(longestLife / time.Second), Optional: true, Help: "how long it is good; for ever if not given"}},
			Run: func(_ context.Context, a Args) (Fields, error) {
				level, err := ParseLevel(a.Word("level"))
				if err != nil {
					return nil, err // cannot happen: the argument was checked
				}
				k, err := t.Create(a.Word("name"), level, a.Duration("expires"))
				if err != nil {
					return nil, err
				}
				return Fields{{"name", k.Name}, {"level", k.Level.String()}, {"expires", when(k.Ends, "never")}, {"token", k.Text.Reveal()}}, nil
			}},
		{Name: "token list", Help: "Who may come in by HTTP. When a token was used is known since the start of the daemon only.", Level: Admin, Example: "token list",
			Run: func(context.Context, Args) (Fields, error) {
				list := []Fields{}
				for _, k := range t.List() {
					list = append(list, Fields{{"name", k.Name}, {"level", k.Level.String()}, {"state", k.state()},
						{"created", when(k.Made, "with the file")}, {"expires", when(k.Ends, "never")}, {"used", when(k.Used, "never")}})
				}
				return Fields{{"token", list}}, nil
			}},
		{Name: "token revoke", Help: "Let somebody in no more, from now on: also his requests under way and his event streams end.", Level: Admin, Example: "token revoke dashboard",
			Args: []Arg{{Name: "name", Kind: Word, Help: "whose it is", Suggest: t.names}},
			Run: func(_ context.Context, a Args) (Fields, error) {
				return nil, t.Revoke(a.Word("name"))
			}},
	}
}

func (k *Token) state() string {
	switch {
	case k.Revoked:
		return "refused, still stored"
	case k.Expired:
		return "expired"
	}
	return "good"
}

// when writes a time, or the word for none.
func when(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}
