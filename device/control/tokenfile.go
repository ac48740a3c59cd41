package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"anchord/internal/secret"
)

// leastToken is how many characters a token that opens this box must have.
const leastToken = 32

// FirstToken gives the token in the file, which it makes, with mode 0600, if there is
// none. A file of another user's is refused: he would know what opens this box.
func FirstToken(path string) (secret.Value, error) {
	t, err := secret.ReadOwn(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return newToken(path)
	case err != nil:
		return secret.Value{}, fmt.Errorf("[control.http] token_file: %w; without the file a new token is made at the next start", err)
	case t.Len() < leastToken:
		return secret.Value{}, fmt.Errorf("[control.http] token_file %s holds less than %d characters: remove it, a new one is made at the next start", path, leastToken)
	}
	return t, nil
}

// newToken writes the whole file or nothing, whenever the power goes.
func newToken(path string) (secret.Value, error) {
	dir := filepath.Dir(path)
	if err := makeFolder(dir); err != nil {
		return secret.Value{}, fmt.Errorf("make the token file's folder: %w; or choose another in [control.http] token_file", err)
	}
	f, err := os.CreateTemp(dir, ".token-*") // mode 0600
	if err != nil {
		return secret.Value{}, fmt.Errorf("make the token file: %w: choose a folder that this user may write to in [control.http] token_file", err)
	}
	defer os.Remove(f.Name()) // it has its real name by then, or is to go
	t := secret.New(randomToken())
	_, err = f.WriteString(t.Reveal() + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("write the token file: %w", err)
	}
	return t, nil
}

// makeFolder makes a folder in which the daemon puts what others look for.
func makeFolder(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: let systemd make it (RuntimeDirectory=), or make it and give it to this user", err)
	}
	return err
}
