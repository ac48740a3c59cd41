package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"anchord/internal/secret"
	"anchord/internal/trtc"
)

// maxTokens bounds the tokens made by command.
const maxTokens = 64

// leastLife is the shortest time that a token can be made for.
const leastLife = time.Minute

// firstName is the name of the token in the file.
const firstName = "first"

// TokenPrefix begins the store's keys of tokens; their name follows.
const TokenPrefix = "token."

// Tokens knows who may come in by HTTP: the first token, which is in a file, and those that
// token create made. Of these only the SHA-256 is kept: whoever reads the store cannot come
// in with it. A slow hash, as passwords need, would gain nothing, because nobody can try
// all of 256 random bits, and would cost each request its time. The zero Tokens knows
// none. Its methods may be called from any goroutine.
type Tokens struct {
	mu    sync.Mutex // of changes, also while they are stored
	store tokenStore // nil: nothing can be kept
	list  atomic.Pointer[[]*holder]
}

// tokenStore is the part of the store that tokens need.
type tokenStore interface {
	Save(values map[string]string) error
	Delete(keys ...string) error
}

// holder is who has one of them. What is not said to change does not.
type holder struct {
	name  string
	level Level
	hash  [sha256.Size]byte
	made  time.Time // zero for the first
	ends  time.Time // zero: never

	used    atomic.Int64 // Unix seconds, in memory only; 0: not since the start
	revoked atomic.Bool
	mu      sync.Mutex
	using   map[*context.CancelCauseFunc]bool // requests under way
}

// Errors that end a request under way.
var (
	errRevoked = errors.New("the token was revoked")
	errExpired = errors.New("the token expired")
)

func (t *Tokens) all() []*holder {
	if p := t.list.Load(); p != nil {
		return *p
	}
	return nil
}

// First makes text the first token, which allows everything; none if it is empty.
func (t *Tokens) First(text secret.Value) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(firstName)
	if !text.IsZero() {
		t.set(append([]*holder{{name: firstName, level: Admin, hash: sha256.Sum256([]byte(text.Reveal()))}}, t.all()...))
	}
}

// set replaces the list; those who read it have no lock.
func (t *Tokens) set(list []*holder) { t.list.Store(&list) }

func (t *Tokens) remove(name string) {
	var list []*holder
	for _, k := range t.all() {
		if k.name != name {
			list = append(list, k)
		} else {
			k.end()
		}
	}
	t.set(list)
}

func (t *Tokens) named(name string) *holder {
	for _, k := range t.all() {
		if k.name == name {
			return k
		}
	}
	return nil
}

// now is the clock's time, but not before a token was made: a box without a battery
// starts in the past, where no token has expired yet.
func (t *Tokens) now() time.Time {
	now := time.Now()
	for _, k := range t.all() {
		if k.made.After(now) {
			now = k.made
		}
	}
	return now
}

// find gives the token with this text, nil if there is none. How long it takes
// depends on how many tokens there are and on nothing in them: all are looked at, and what
// is compared are hashes, so that a right beginning changes nothing.
func (t *Tokens) find(text string) *holder {
	sum := sha256.Sum256([]byte(text))
	var found *holder
	for _, k := range t.all() {
		if subtle.ConstantTimeCompare(sum[:], k.hash[:]) == 1 {
			found = k
		}
	}
	if found == nil || found.revoked.Load() || found.expired(t.now()) {
		return nil
	}
	return found
}

func (k *holder) expired(now time.Time) bool { return !k.ends.IsZero() && !now.Before(k.ends) }

// Authenticate implements Authenticator. That the token was used is noted in memory;
// nothing is written for a request.
func (t *Tokens) Authenticate(text string) (name string, level Level, ok bool) {
	k := t.find(text)
	if k == nil {
		return "", 0, false
	}
	k.used.Store(time.Now().Unix())
	return k.name, k.level, true
}

// While gives a context that ends when the token is revoked or expires, for requests that
// last. It has ended already if nobody holds the token. The caller calls done.
func (t *Tokens) While(ctx context.Context, text string) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	k := t.find(text)
	if k == nil || !k.use(&cancel) {
		cancel(errRevoked)
		return ctx, func() {}
	}
	stop := func() {}
	if !k.ends.IsZero() {
		ctx, stop = context.WithDeadlineCause(ctx, k.ends, errExpired)
	}
	return ctx, func() {
		stop()
		k.mu.Lock()
		delete(k.using, &cancel)
		k.mu.Unlock()
		cancel(context.Canceled)
	}
}

// use notes a request; false if the token was revoked in the meantime.
func (k *holder) use(cancel *context.CancelCauseFunc) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.revoked.Load() {
		return false
	}
	if k.using == nil {
		k.using = map[*context.CancelCauseFunc]bool{}
	}
	k.using[cancel] = true
	return true
}

// end refuses the token from now on and ends the requests that it let in.
func (k *holder) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revoked.Store(true)
	for cancel := range k.using {
		(*cancel)(errRevoked)
	}
}

// Restore takes over the tokens among the values of a store, in which changes are kept from
// now on. It is called once, before there are requests. A token whose record cannot be read
// lets nobody in and can be revoked.
func (t *Tokens) Restore(values map[string]string, s tokenStore) (bad []error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store = s
	list := t.all()
	for _, key := range slices.Sorted(maps.Keys(values)) {
		name, ok := strings.CutPrefix(key, TokenPrefix)
		if !ok {
			continue
		}
		k, err := readRecord(name, values[key])
		if err != nil {
			bad = append(bad, fmt.Errorf("token %s is refused: %w: revoke it and create another", short(name), err))
			k = &holder{name: name}
			rand.Read(k.hash[:])
			k.revoked.Store(true)
		}
		list = append(list, k)
	}
	slices.SortStableFunc(list, func(a, b *holder) int { return a.made.Compare(b.made) })
	t.set(list)
	return bad
}

// record gives what the store keeps: level, hash, when it was made and when it ends.
func (k *holder) record() string {
	ends := "never"
	if !k.ends.IsZero() {
		ends = k.ends.UTC().Format(time.RFC3339)
	}
	return strings.Join([]string{k.level.String(), hex.EncodeToString(k.hash[:]), k.made.UTC().Format(time.RFC3339), ends}, " ")
}

func readRecord(name, text string) (*holder, error) {
	if err := checkTokenName(name); err != nil {
		return nil, err
	}
	f := strings.Split(text, " ")
	if len(f) != 4 {
		return nil, errors.New("its record has not four words")
	}
	k := &holder{name: name}
	var err error
	if k.level, err = ParseLevel(f[0]); err != nil {
		return nil, err
	}
	hash, err := hex.DecodeString(f[1])
	if err != nil || copy(k.hash[:], hash) != len(k.hash) || len(hash) != len(k.hash) {
		return nil, errors.New("its record has no hash")
	}
	if k.made, err = time.Parse(time.RFC3339, f[2]); err != nil {
		return nil, errors.New("its record does not say when it was made")
	}
	if f[3] == "never" {
		return k, nil
	}
	if k.ends, err = time.Parse(time.RFC3339, f[3]); err != nil {
		return nil, errors.New("its record does not say when it ends")
	}
	return k, nil
}

func checkTokenName(name string) error {
	if name == firstName {
		return Errorf(CodeArgument, "%s is the token in the file; choose another name", firstName)
	}
	if trtc.CheckUser(name) != nil {
		return Errorf(CodeArgument, "name %s: allowed: 1 to 32 letters, digits, _ and -", short(name))
	}
	return nil
}

// Create makes a token. Its text is given here, once, and is nowhere afterwards. It is
// stored when Create returns. It is good for as long as lasts, at least a minute; 0 is for
// ever.
func (t *Tokens) Create(name string, level Level, lasts time.Duration) (Token, error) {
	var none Token
	if err := checkTokenName(name); err != nil {
		return none, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, k := range t.all() {
		if k.name != firstName {
			n++
		}
	}
	switch {
	case t.store == nil:
		return none, Errorf(CodeState, "there is nowhere to keep a token: set [store] path and restart; the first token, in the file that [control.http] token_file names, works without")
	case t.named(name) != nil:
		return none, Errorf(CodeState, "there is a token %s already: token revoke %s, or choose another name", name, name)
	case n >= maxTokens:
		return none, Errorf(CodeState, "there are %d tokens, the most that can be: revoke one that is not used; token list shows them", maxTokens)
	case lasts != 0 && lasts < leastLife:
		return none, Errorf(CodeArgument, "expires: a token lasts a minute or longer")
	}
	text := randomToken()
	k := &holder{name: name, level: level, hash: sha256.Sum256([]byte(text)), made: time.Now().Truncate(time.Second)}
	if lasts != 0 {
		k.ends = t.now().Add(lasts).Truncate(time.Second)
	}
	if err := t.store.Save(map[string]string{TokenPrefix + name: k.record()}); err != nil {
		return none, Errorf(CodeState, "no token was made, because it cannot be stored: %v", err)
	}
	t.set(append(slices.Clone(t.all()), k))
	made := k.shown(t.now())
	made.Text = secret.New(text)
	return made, nil
}

// randomToken gives 256 bits as text.
func randomToken() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Revoke refuses a token from now on, also in requests that it let in before. If that
// cannot be stored it is refused until the next start only, and the error says so.
func (t *Tokens) Revoke(name string) error {
	if name == firstName {
		return Errorf(CodeState, "the first token is in a file: remove the file that [control.http] token_file names and restart, then there is another")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.named(name)
	if k == nil {
		return Errorf(CodeNotFound, "there is no token %s; token list shows them", short(name))
	}
	k.end()
	if err := t.store.Delete(TokenPrefix + name); err != nil {
		return Errorf(CodeState, "token %s is refused from now on, but would be good again after a restart, because that cannot be stored: %v; revoke it again", name, err)
	}
	t.remove(name)
	return nil
}

// Token is what may be known of a token.
type Token struct {
	Name    string
	Level   Level
	Made    time.Time // zero for the first
	Ends    time.Time // zero: never
	Used    time.Time // zero: not since the start
	Expired bool
	Revoked bool         // but still stored
	Text    secret.Value // from Create only
}

// List gives all tokens, in the order in which they were made.
func (t *Tokens) List() []Token {
	now := t.now()
	var out []Token
	for _, k := range t.all() {
		out = append(out, k.shown(now))
	}
	return out
}

func (k *holder) shown(now time.Time) Token {
	s := Token{Name: k.name, Level: k.level, Made: k.made, Ends: k.ends, Expired: k.expired(now), Revoked: k.revoked.Load()}
	if u := k.used.Load(); u != 0 {
		s.Used = time.Unix(u, 0)
	}
	return s
}

// names suggests tokens that can be revoked.
func (t *Tokens) names(context.Context) []string {
	var out []string
	for _, k := range t.all() {
		if k.name != firstName {
			out = append(out, k.name)
		}
	}
	return out
}
