package boltqueue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// sampleIndex is a small bbolt file with deep trees, large values and buckets in buckets.
func sampleIndex(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(fastDir(t), "sample.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("many"))
			if err != nil {
				return err
			}
			for i := range 600 {
				if err := b.Put(fmt.Appendf(nil, "%020d", i*3+round), make([]byte, 20+i%7)); err != nil {
					return err
				}
			}
			if err := b.Delete(fmt.Appendf(nil, "%020d", 30)); err != nil {
				return err
			}
			if err := b.Put([]byte("large"), make([]byte, 20000)); err != nil {
				return err
			}
			in, err := b.CreateBucketIfNotExists([]byte("zz inline"))
			if err != nil {
				return err
			}
			if err := in.Put([]byte("k"), []byte("v")); err != nil {
				return err
			}
			_, err = tx.CreateBucketIfNotExists([]byte("empty"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// useIndex opens a file that passed verifyPages, writes to it and reads all of it: bbolt must not panic on it. One damaged
// head of two is no harm: bbolt goes by the other, and writes it again.
func useIndex(path string) (err error) {
	db, err := openBolt(path, &Options{lockWait: time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for range 2 {
		err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("written"))
			if err != nil {
				return err
			}
			return b.Put([]byte("k"), []byte("v"))
		})
		if err != nil {
			return err
		}
	}
	return db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	})
}

func TestSoundIndexPasses(t *testing.T) {
	path := filepath.Join(fastDir(t), "index.db")
	if err := verifyPages(path); err != nil {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verifyPages(path); err != nil {
		t.Errorf("empty: %v", err)
	}
	if err := os.WriteFile(path, sampleIndex(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verifyPages(path); err != nil {
		t.Errorf("sound: %v", err)
	}
	if err := useIndex(path); err != nil {
		t.Errorf("sound, by bbolt: %v", err)
	}
}

// TestSpoiledIndexIsAnErrorOrHarmless writes over random places of an index. Either verifyPages says so, or bbolt can
// live with it.
func TestSpoiledIndexIsAnErrorOrHarmless(t *testing.T) {
	whole := sampleIndex(t)
	path := filepath.Join(fastDir(t), "index.db")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	found := 0
	for range 150 {
		b := append([]byte(nil), whole...)
		switch r.IntN(4) {
		case 0: // a page's head
			page := r.IntN(len(b)/4096) * 4096
			b[page+r.IntN(16)] ^= byte(1 + r.IntN(255))
		case 1: // the elements at its beginning
			page := r.IntN(len(b)/4096) * 4096
			b[page+16+r.IntN(200)] ^= byte(1 + r.IntN(255))
		case 2: // a sector
			at := r.IntN(len(b)/512) * 512
			for i := range 512 {
				b[at+i] = byte(r.Uint32())
			}
		case 3:
			b = b[:r.IntN(len(b))]
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if verifyPages(path) != nil {
			found++
			continue
		}
		if err := useIndex(path); err != nil {
			t.Fatalf("a spoiled file passed, and bbolt says %v", err)
		}
	}
	if found < 15 {
		t.Errorf("only %d of 150 spoiled files were noticed", found)
	}
}
