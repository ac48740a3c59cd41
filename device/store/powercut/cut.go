package powercut

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Survivors says what of that which was not synced a cut leaves. All of them are what real
// disks do.
type Survivors int

// The policies.
const (
	All  Survivors = iota // everything written so far: the process died, the machine did not
	None                  // only what was synced
	Some                  // a part of the rest, in any order, writes torn at sectors of 512 bytes
)

const sector = 512

// inode is a file's content and what of it is not synced.
type inode struct {
	now, synced []byte
	pending     []Op
	withDir     bool // its first sync brings the directory along
}

// change is one of a directory that is not synced.
type change struct {
	name string
	node *inode // nil: removed
	gone string // the old name, when it was renamed
}

// Image is the disk while operations are replayed.
type Image struct {
	now, synced map[string]*inode
	pending     []change
}

// NewImage is an empty disk.
func NewImage() *Image { return &Image{now: map[string]*inode{}, synced: map[string]*inode{}} }

// Apply does one recorded operation.
func (m *Image) Apply(op Op) {
	node := m.now[op.Path]
	switch op.Kind {
	case Create:
		if node != nil {
			node.apply(Op{Kind: Truncate})
			return
		}
		node = &inode{withDir: op.Off == 1}
		m.change(change{name: op.Path, node: node})
	case Write, Truncate:
		if node == nil { // SQLite opened a file that the log does not know
			node = &inode{}
			m.change(change{name: op.Path, node: node})
		}
		node.apply(op)
	case Sync:
		if node == nil {
			return
		}
		node.synced, node.pending = slices.Clone(node.now), nil
		if node.withDir {
			node.withDir = false
			m.syncDir()
		}
	case SyncDir:
		m.syncDir()
	case Rename:
		m.change(change{name: op.To, node: node, gone: op.Path})
	case Remove:
		m.change(change{name: op.Path})
		if op.Off == 1 {
			m.syncDir()
		}
	}
}

func (m *Image) syncDir() { m.synced, m.pending = maps.Clone(m.now), nil }

func (m *Image) change(c change) {
	c.apply(m.now)
	m.pending = append(m.pending, c)
}

func (c change) apply(dir map[string]*inode) {
	if c.gone != "" {
		delete(dir, c.gone)
	}
	if c.node == nil {
		delete(dir, c.name)
		return
	}
	dir[c.name] = c.node
}

func (n *inode) apply(op Op) {
	n.now = patch(n.now, op)
	n.pending = append(n.pending, op)
}

func patch(b []byte, op Op) []byte {
	if op.Kind == Truncate {
		if int64(len(b)) > op.Off {
			return slices.Clone(b[:op.Off])
		}
		return b
	}
	end := op.Off + int64(len(op.Data))
	if int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[op.Off:], op.Data)
	return b
}

// LayOut writes into dir what a cut now leaves, names without their old directory.
func (m *Image) LayOut(dir string, s Survivors, r *rand.Rand) error {
	names := maps.Clone(m.synced)
	if s == All {
		names = m.now
	}
	if s == Some {
		for _, c := range m.pending {
			if r.IntN(2) == 0 {
				c.apply(names)
			}
		}
	}
	for name, node := range names {
		data := node.synced
		switch s {
		case All:
			data = node.now
		case Some:
			data = slices.Clone(data)
			for _, op := range node.pending {
				data = node.some(data, op, r)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// some applies op, leaves it out, or applies some of its sectors.
func (n *inode) some(b []byte, op Op, r *rand.Rand) []byte {
	switch r.IntN(3) {
	case 0:
		return b
	case 1:
		return patch(b, op)
	}
	if op.Kind == Truncate {
		return b
	}
	for at := 0; at < len(op.Data); {
		next := min(len(op.Data), at+sector-int(op.Off+int64(at))%sector)
		if r.IntN(2) == 0 {
			b = patch(b, Op{Kind: Write, Off: op.Off + int64(at), Data: op.Data[at:next]})
		}
		at = next
	}
	return b
}
