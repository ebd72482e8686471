package boltqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"backbone/queue/boltqueue/disk"
)

// The log is a row of segments, files of fixed size that are written once from front to back. A record in it is
//
//	0  magic "BBQ1"
//	4  CRC-32C of octets 8.. of the header and of the description
//	8  number of the segment, 12 offset of the record in it: what an earlier life of the file left is never taken for ours
//	16 length of the description, 20 of the payload, 24 CRC-32C of the payload
//	28 offset up to which this segment was durable when the record was written
//
// all little-endian, followed by the description (a change), the payload (bodies, one after the other) and zeros up to
// a multiple of 8. The first record of a segment has no description and no payload.
const (
	recordMagic  = "BBQ1"
	recordHeader = 32
	recordAlign  = 8
	// maxDescription bounds what a damaged length can make us read.
	maxDescription = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// segments is the log's writing end. It is not safe for concurrent use; sync may run beside append.
type segments struct {
	fs   disk.FS
	dir  string
	size int64 // of a new segment

	cur     disk.File // nil before the first append
	num     uint32
	off     int64 // where the next record goes
	end     int64 // of the allocated space
	durable uint32
	sizes   map[uint32]int64 // of all segments
	spare   int64            // size of the file to be used again, 0: there is none
	full    []disk.File      // earlier current segments, durable, to be closed by whoever syncs
	buf     []byte
}

const spareName = "spare"

func segmentName(n uint32) string { return fmt.Sprintf("%08X.seg", n) }

// segmentNumber reads a file name; ok is false for other files.
func segmentNumber(name string) (n uint32, ok bool) {
	hex, ok := strings.CutSuffix(name, ".seg")
	if !ok || len(hex) != 8 {
		return 0, false
	}
	v, err := strconv.ParseUint(hex, 16, 32)
	return uint32(v), err == nil
}

func (l *segments) path(n uint32) string { return filepath.Join(l.dir, segmentName(n)) }

func pad(n int64) int64 { return (n + recordAlign - 1) &^ (recordAlign - 1) }

// errNoRoom says that a new segment can't be allocated: nothing was written.
var errNoRoom = errors.New("no room for a new log segment")

// reserve makes sure that a record of n octets fits into the current segment, beginning a new one when it does not.
func (l *segments) reserve(n int64) error {
	if l.cur != nil && l.off+pad(n) <= l.end {
		return nil
	}
	next, size := l.num+1, max(l.size, recordHeader+pad(n))
	f, err := l.make(next, size)
	if err != nil {
		return err
	}
	if l.cur != nil {
		// What is in an older segment is durable before anything in a younger one: reading relies on it.
		if err := l.cur.Sync(); err != nil {
			return errors.Join(err, f.Close())
		}
		l.full = append(l.full, l.cur)
	}
	l.cur, l.num, l.off, l.end, l.durable = f, next, 0, size, 0
	l.write(nil, nil)
	if _, err := l.cur.WriteAt(l.buf, 0); err != nil {
		return err
	}
	l.off = recordHeader
	if err := l.cur.Sync(); err != nil {
		return err
	}
	l.durable = recordHeader
	return l.fs.SyncDir(l.dir)
}

// make creates the file of segment n, from the spare one when there is one: blocks that were written before make
// each sync cheaper than freshly allocated ones.
func (l *segments) make(n uint32, size int64) (disk.File, error) {
	name, spare := l.path(n), filepath.Join(l.dir, spareName)
	if l.spare > 0 {
		had := l.spare
		if err := l.fs.Rename(spare, name); err != nil {
			return nil, err
		}
		l.spare, l.sizes[n] = 0, max(had, size)
		f, err := l.fs.Open(name, true)
		if err != nil {
			return nil, err
		}
		if had < size {
			if err := l.allocate(f, size); err != nil {
				delete(l.sizes, n)
				return nil, errors.Join(err, f.Close(), l.fs.Remove(name))
			}
		}
		return f, nil
	}
	f, err := l.fs.Create(name)
	if err != nil {
		return nil, noRoom(err)
	}
	if err := l.allocate(f, size); err != nil {
		return nil, errors.Join(err, f.Close(), l.fs.Remove(name))
	}
	l.sizes[n] = size
	return f, nil
}

func (l *segments) allocate(f disk.File, size int64) error {
	if err := f.Allocate(size); err != nil {
		return noRoom(err)
	}
	return nil
}

// noRoom classifies the failure to begin a segment: what passes (space, descriptors, a filesystem that is read-only for
// now) is waited out; a disk that fails ends the process.
func noRoom(err error) error {
	if errors.Is(err, unix.EIO) {
		return err
	}
	return fmt.Errorf("%w: %w", errNoRoom, err)
}

// write puts a record's header and description into buf.
func (l *segments) write(description []byte, payload [][]byte) {
	b := append(l.buf[:0], make([]byte, recordHeader)...)
	b = append(b, description...)
	var crc uint32
	n := 0
	for _, p := range payload {
		crc = crc32.Update(crc, castagnoli, p)
		n += len(p)
	}
	copy(b, recordMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], l.num)
	le.PutUint32(b[12:], uint32(l.off))
	le.PutUint32(b[16:], uint32(len(description)))
	le.PutUint32(b[20:], uint32(n))
	le.PutUint32(b[24:], crc)
	le.PutUint32(b[28:], l.durable)
	le.PutUint32(b[4:], sum(b[8:]))
	l.buf = b
}

// inOneWrite is how much payload is copied behind its description to save a system call.
const inOneWrite = 64 << 10

// append writes a record for which reserve made room.
func (l *segments) append(description []byte, payload [][]byte) error {
	l.write(description, payload)
	at := l.off
	rest := payload
	for len(rest) > 0 && len(l.buf)+len(rest[0]) <= inOneWrite {
		l.buf = append(l.buf, rest[0]...)
		rest = rest[1:]
	}
	if _, err := l.cur.WriteAt(l.buf, at); err != nil {
		return err
	}
	at += int64(len(l.buf))
	for _, p := range rest {
		if _, err := l.cur.WriteAt(p, at); err != nil {
			return err
		}
		at += int64(len(p))
	}
	if cap(l.buf) > 4*inOneWrite {
		l.buf = nil
	}
	l.off = pad(at)
	return nil
}

// retire takes segment n, in which nothing is at home any more, out of the log.
func (l *segments) retire(n uint32) error {
	size := l.sizes[n]
	delete(l.sizes, n)
	if l.spare == 0 && size == l.size {
		l.spare = size
		return l.fs.Rename(l.path(n), filepath.Join(l.dir, spareName))
	}
	return l.fs.Remove(l.path(n))
}

// position is where the next record goes.
func (l *segments) position() position {
	if l.cur == nil {
		return position{l.num + 1, 0}
	}
	return position{l.num, l.off}
}

// octets is what all segments take.
func (l *segments) octets() int64 {
	n := l.spare
	for _, v := range l.sizes {
		n += v
	}
	return n
}

// entry is a record found in a segment.
type entry struct {
	off         int64
	description []byte
	payload     uint32 // offset
	payloadLen  uint32
	durable     uint32
}

func (e *entry) end() int64 { return pad(int64(e.payload) + int64(e.payloadLen)) }

var errNoRecord = errors.New("no record")

// readEntry reads and verifies the record at off. It fails with errNoRecord when there is none, whole and unharmed.
func readEntry(f io.ReaderAt, num uint32, off, size int64) (*entry, error) {
	var h [recordHeader]byte
	if off+recordHeader > size {
		return nil, errNoRecord
	}
	if _, err := f.ReadAt(h[:], off); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if string(h[:4]) != recordMagic || le.Uint32(h[8:]) != num || int64(le.Uint32(h[12:])) != off {
		return nil, errNoRecord
	}
	n, p := int64(le.Uint32(h[16:])), int64(le.Uint32(h[20:]))
	if n > maxDescription || off+recordHeader+n+p > size {
		return nil, errNoRecord
	}
	e := &entry{off: off, description: make([]byte, n), payload: uint32(off + recordHeader + n), payloadLen: uint32(p), durable: le.Uint32(h[28:])}
	if _, err := f.ReadAt(e.description, off+recordHeader); err != nil {
		return nil, err
	}
	if crc32.Update(sum(h[8:]), castagnoli, e.description) != le.Uint32(h[4:]) {
		return nil, errNoRecord
	}
	crc, err := sumOf(io.NewSectionReader(f, int64(e.payload), p))
	if err != nil {
		return nil, err
	}
	if crc != le.Uint32(h[24:]) {
		return nil, errNoRecord
	}
	return e, nil
}

func sumOf(r io.Reader) (uint32, error) {
	h := crc32.New(castagnoli)
	_, err := io.Copy(h, r)
	return h.Sum32(), err
}

// damage is a stretch of a segment that was durable once and can't be read any more.
type damage struct {
	Segment  uint32
	From, To int64
}

func (d damage) String() string {
	return fmt.Sprintf("log segment %s is damaged from offset %d to %d: what was recorded there is lost", segmentName(d.Segment), d.From, d.To)
}

// scan calls f for each record of a segment from offset from on. Where a record should be and is not, the segment ends,
// unless a later record proves that the place had been durable: then it is damage, and scan goes on behind it.
func scan(file disk.File, num uint32, from int64, f func(*entry) error) (bad []damage, err error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	off := from
	for {
		e, err := readEntry(file, num, off, size)
		if errors.Is(err, errNoRecord) {
			if e, err = proof(file, num, off, size); err != nil || e == nil {
				return bad, err
			}
			bad = append(bad, damage{num, off, e.off})
		}
		if err != nil {
			return bad, err
		}
		if len(e.description) > 0 {
			if err := f(e); err != nil {
				return bad, err
			}
		}
		off = e.end()
	}
}

// proof looks for a record behind off that was written when off was durable already.
func proof(file disk.File, num uint32, off, size int64) (*entry, error) {
	const window = 1 << 20
	buf := make([]byte, window+recordHeader)
	for at := off + recordAlign; at < size; at += window {
		n, err := file.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && err != io.EOF {
			return nil, err
		}
		for i := 0; i+recordHeader <= n && i < window; i += recordAlign {
			h := buf[i:]
			if string(h[:4]) != recordMagic || binary.LittleEndian.Uint32(h[8:]) != num || int64(binary.LittleEndian.Uint32(h[28:])) <= off {
				continue
			}
			e, err := readEntry(file, num, at+int64(i), size)
			if err == nil {
				return e, nil
			}
			if !errors.Is(err, errNoRecord) {
				return nil, err
			}
		}
	}
	return nil, nil
}
