package store

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// applicationID is "anch" in the file's header (https://www.sqlite.org/fileformat2.html#application_id).
const applicationID = 0x616e6368

// checkTime bounds the look at a file when it is opened.
const checkTime = 20 * time.Second

// database is one open SQLite file with one connection. Its lock is exclusive: no
// shared-memory file is needed, and no other program can write behind its back.
type database struct {
	pool *sql.DB
	conn *sql.Conn
}

// dsn names a file for the driver.
func dsn(vfs, path, mode string) string {
	q := url.Values{"_busy_timeout": {"2000"}, "_synchronous": {"FULL"}, "_locking_mode": {"EXCLUSIVE"}}
	if vfs != "" {
		q.Set("vfs", vfs)
	}
	if mode != "" {
		q.Set("mode", mode)
	}
	if mode == "ro" {
		q.Set("immutable", "1")
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func connect(ctx context.Context, vfs, path, mode string) (*database, error) {
	pool, err := sql.Open("sqlite3", dsn(vfs, path, mode))
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	d := &database{pool, conn}
	pragmas := []string{"temp_store=MEMORY", "trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"}
	if mode == "" {
		// WAL last: with the exclusive lock already asked for it works without shared memory.
		pragmas = append(pragmas, "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=200", "journal_size_limit=1048576")
	}
	for _, p := range pragmas {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+p); err != nil {
			return nil, errors.Join(fmt.Errorf("set %s: %w", p, err), d.close())
		}
	}
	return d, nil
}

func (d *database) close() error { return errors.Join(d.conn.Close(), d.pool.Close()) }

// contents is all that a database holds.
type contents struct {
	values map[string]string
	seq    int64
}

// sum is the seal of the contents: the count, then keys and values in order, each with
// its length.
func (c contents) sum() []byte {
	h := sha256.New()
	word := func(s string) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	word("anchord store")
	word(strconv.FormatInt(c.seq, 10))
	for _, k := range slices.Sorted(maps.Keys(c.values)) {
		word(k)
		word(c.values[k])
	}
	return h.Sum(nil)
}

// migration is one numbered file.
type migration struct {
	number int
	text   string
}

func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []migration
	for i, name := range names {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(name, "schema/"), ".sql"))
		if err != nil || n != i+1 {
			return nil, fmt.Errorf("schema file %s: want number %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{n, string(text)})
	}
	return all, nil
}

// execer is a connection or a transaction.
type execer interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}

// migrate brings the tables from one number to the last, in the caller's transaction.
func migrate(ctx context.Context, tx execer, all []migration, from int) error {
	for _, m := range all[from:] {
		if _, err := tx.ExecContext(ctx, m.text); err != nil {
			return fmt.Errorf("schema %d: %w", m.number, err)
		}
	}
	_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d; PRAGMA application_id=%d", len(all), applicationID))
	return err
}

// objects lists tables, indexes, views and triggers with their text.
func objects(ctx context.Context, x execer) ([]string, error) {
	rows, err := x.QueryContext(ctx, "SELECT type || ' ' || name || ' ' || coalesce(sql,'') FROM sqlite_schema ORDER BY 1 LIMIT 100")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// expected is what objects gives for a file of schema n.
func expected(ctx context.Context, all []migration, n int) ([]string, error) {
	d, err := connect(ctx, "", ":memory:", "memory")
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, d.conn, all[:n], 0); err != nil {
		return nil, errors.Join(err, d.close())
	}
	out, err := objects(ctx, d.conn)
	return out, errors.Join(err, d.close())
}

// examine checks the whole file and reads it. version 0 says that it is empty: new, or its
// making was cut short. Everything in it is checked before it is believed: pages, tables,
// and that the values are those that were sealed.
func (d *database) examine(ctx context.Context, all []migration) (c contents, version int, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var verdict string
	if err := d.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return c, 0, fmt.Errorf("check: %w", err)
	}
	if verdict != "ok" {
		return c, 0, fmt.Errorf("check: %.200q: %w", verdict, errCorrupt)
	}
	var app int
	if err := d.conn.QueryRowContext(ctx, "SELECT user_version, application_id FROM pragma_user_version, pragma_application_id").Scan(&version, &app); err != nil {
		return c, 0, fmt.Errorf("read version: %w", err)
	}
	have, err := objects(ctx, d.conn)
	switch {
	case err != nil:
		return c, 0, fmt.Errorf("read tables: %w", err)
	case len(have) == 0 && version == 0:
		return c, 0, nil
	case app != applicationID:
		return c, 0, fmt.Errorf("it belongs to another program: %w", errCorrupt)
	}
	// The seal's table is of every schema, so its number is believed only if both agree.
	var schema int
	var sum []byte
	if err := d.conn.QueryRowContext(ctx, "SELECT schema, seq, sum FROM seal WHERE id = 1").Scan(&schema, &c.seq, &sum); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = errCorrupt
		}
		return c, 0, fmt.Errorf("read seal: %w", err)
	}
	switch {
	case schema != version || version < 1:
		return c, 0, fmt.Errorf("schema %d in one place, %d in another: %w", version, schema, errCorrupt)
	case version > len(all):
		return c, version, fmt.Errorf("schema %d, this anchord knows %d: %w", version, len(all), ErrNewer)
	}
	want, err := expected(ctx, all, version)
	if err != nil {
		return c, 0, fmt.Errorf("make tables to compare with: %w", err)
	}
	if !slices.Equal(have, want) {
		return c, 0, fmt.Errorf("its tables are not those of schema %d: %w", version, errCorrupt)
	}
	if c.values, err = readAll(ctx, d.conn); err != nil {
		return c, 0, err
	}
	if c.seq < 0 || subtle.ConstantTimeCompare(sum, c.sum()) != 1 {
		return c, 0, fmt.Errorf("the values are not those that were sealed: %w", errCorrupt)
	}
	return c, version, nil
}

func readAll(ctx context.Context, x execer) (map[string]string, error) {
	rows, err := x.QueryContext(ctx, "SELECT key, value FROM setting")
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	defer rows.Close()
	values := map[string]string{}
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		if err := check(k, v); err != nil || len(values) >= maxKeys {
			return nil, fmt.Errorf("read settings: %w (%w)", errCorrupt, err)
		}
		values[k] = v
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return values, nil
}

// write brings the file from old to now in one transaction, with the tables first when
// they are older than this program. It is on the disk when write returns nil.
func (d *database) write(ctx context.Context, all []migration, version int, old, now contents) (err error) {
	tx, err := d.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// A failed commit leaves the transaction open in SQLite, though not in database/sql.
			if rerr := tx.Rollback(); errors.Is(rerr, sql.ErrTxDone) {
				_, _ = d.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // none open: nothing to do
			}
		}
	}()
	if version < len(all) {
		if err := migrate(ctx, tx, all, version); err != nil {
			return err
		}
	}
	for k := range old.values {
		if _, kept := now.values[k]; !kept {
			if _, err := tx.ExecContext(ctx, "DELETE FROM setting WHERE key = ?", k); err != nil {
				return err
			}
		}
	}
	for k, v := range now.values {
		if was, ok := old.values[k]; ok && was == v {
			continue
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO setting(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", k, v); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO seal(id, schema, seq, sum) VALUES(1, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET schema = excluded.schema, seq = excluded.seq, sum = excluded.sum",
		len(all), now.seq, now.sum()); err != nil {
		return err
	}
	return tx.Commit()
}

// copyTo writes a compact copy to a new file. It is not on the disk yet when it returns.
func (d *database) copyTo(ctx context.Context, name string) error {
	_, err := d.conn.ExecContext(ctx, "VACUUM INTO ?", name)
	return err
}
