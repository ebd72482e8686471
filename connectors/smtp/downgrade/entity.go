package downgrade

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
)

// Options say what the peer can't take.
type Options struct {
	SevenBit    bool // no octets above 127 in bodies
	ASCIIHeader bool // none in header fields
	// Drop names fields of the message's own header that are left out.
	Drop func(name string) bool
}

const (
	maxDepth    = 20     // multiparts and messages within one another that are looked into
	maxEntities = 10_000 // body parts that are re-encoded each as it needs
	maxField    = 64 << 10
)

// action is what has to be done to the body of one entity.
type action uint8

const (
	copyBody action = iota
	toQuoted
	toBase
	mendQuoted
	mendBase
	mendRaw
)

// fate is what surveying an entity has decided for rewriting it.
type fate struct {
	act   action
	eight bool // its body has octets above 127
}

// Convert writes the message that open gives, twice the same, in a form that the peer takes. It returns what was done,
// in a few words for a person.
func Convert(w io.Writer, open func() (io.Reader, error), o Options) (changes []string, err error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	survey := &walker{lines: newLines(r), o: o}
	if err := survey.message(0); err != nil {
		return nil, err
	}
	if r, err = open(); err != nil {
		return nil, err
	}
	rewrite := &walker{lines: newLines(r), o: o, out: w, fates: survey.fates}
	if err := rewrite.message(0); err != nil {
		return nil, err
	}
	return survey.changes(), nil
}

// walker goes through a message. Without out it only finds out what each entity needs; with out it does it.
type walker struct {
	lines *lines
	o     Options
	out   io.Writer
	fates []fate // of entities, in the order of their beginnings
	n     int    // entities begun
}

func (w *walker) changes() []string {
	words := []string{"", "8-bit or overlong text made quoted-printable", "octets made base64", "quoted-printable mended", "base64 mended", "parts mended that can't be encoded"}
	var seen [6]bool
	var out []string
	for _, f := range w.fates {
		if !seen[f.act] && words[f.act] != "" {
			out = append(out, words[f.act])
		}
		seen[f.act] = true
	}
	return out
}

// message walks over the whole of it.
func (w *walker) message(depth int) error {
	if err := w.entity(depth, true); err != nil {
		return err
	}
	if !errors.Is(w.lines.err, io.EOF) {
		return w.lines.err
	}
	return nil
}

// put writes when there is somewhere to write to.
func (w *walker) put(parts ...string) error {
	if w.out == nil {
		return nil
	}
	for _, p := range parts {
		if _, err := io.WriteString(w.out, p); err != nil {
			return err
		}
	}
	return nil
}

// entity walks over one header and body, up to a boundary of an open multipart or the end. root is the message itself.
func (w *walker) entity(depth int, root bool) error {
	index := w.n
	w.n++
	do := fate{act: mendRaw}
	switch {
	case index >= maxEntities:
	case w.out == nil:
		do.act = copyBody
		w.fates = append(w.fates, do)
	default:
		do = w.fates[index]
	}
	h := &header{w: w, root: root, fate: do}
	if err := h.read(); err != nil {
		return err
	}
	if h.broken { // a boundary or the end stands where the body should
		return nil
	}
	boundary, nested := h.container()
	switch {
	case boundary != "" && depth < maxDepth:
		return w.multipart(boundary, depth)
	case nested && depth < maxDepth:
		return w.entity(depth+1, true)
	}
	need, err := w.leaf(do.act)
	if w.out == nil && index < maxEntities {
		w.fates[index] = fate{h.choose(need, boundary != "" || nested), need.eight}
	}
	return err
}

// multipart walks over the parts of one. Preamble and epilogue are nobody's text: they are mended.
func (w *walker) multipart(boundary string, depth int) error {
	own := len(w.lines.boundaries)
	w.lines.boundaries = append(w.lines.boundaries, boundary)
	pop := func() { w.lines.boundaries = w.lines.boundaries[:own] }
	if _, err := w.leaf(mendRaw); err != nil {
		return err
	}
	for {
		p, ok := w.lines.next()
		if !ok {
			pop()
			return nil
		}
		i, closing, _ := w.lines.boundary(p)
		if i < own { // an outer multipart goes on: this one was never closed
			pop()
			w.lines.unread(p)
			return nil
		}
		if err := w.put(string(p.text), "\r\n"); err != nil {
			return err
		}
		if closing {
			pop()
			_, err := w.leaf(mendRaw)
			return err
		}
		if err := w.entity(depth+1, false); err != nil {
			return err
		}
	}
}

// need is what a leaf's body holds that may not go out.
type need struct{ eight, long, bare, nul bool }

// leaf walks over a body up to a boundary or the end, and does what act says. The line end before a boundary belongs to
// the boundary (RFC 2046 5.1.1), so each is held back until the next line is there.
func (w *walker) leaf(act action) (need, error) {
	var n need
	var pending lineEnd
	enc, column := w.encoder(act), 0
	for {
		p, ok := w.lines.next()
		_, _, hit := w.lines.boundary(p)
		n.bare = n.bare || pending == lf
		if pending != none && (!ok || !hit) {
			if err := enc.end(pending); err != nil {
				return n, err
			}
		}
		if !ok {
			return n, enc.close()
		}
		if hit {
			w.lines.unread(p)
			if err := enc.close(); err != nil || pending == none {
				return n, err
			}
			return n, w.put("\r\n")
		}
		pending = p.end
		high, nul := octets(p.text)
		n.eight, n.nul, n.bare = n.eight || high, n.nul || nul, n.bare || bytes.IndexByte(p.text, '\r') >= 0
		column += len(p.text)
		n.long = n.long || column > MaxLine
		if p.end != none {
			column = 0
		}
		if p.end != none && act != copyBody && act != toBase {
			p.text = bytes.TrimRight(p.text, "\r") // CR CR LF is one line end
		}
		if err := enc.text(p.text); err != nil {
			return n, err
		}
	}
}

func (w *walker) encoder(act action) encoder {
	if w.out == nil {
		return plain{io.Discard}
	}
	switch act {
	case toQuoted:
		return quoted{quotedprintable.NewWriter(w.out)}
	case toBase:
		return newBase(w.out)
	case mendQuoted:
		return &requoted{w: w.out}
	case mendBase:
		return rewrapped{&wrapped{w: w.out}}
	case mendRaw:
		return &mended{w: w.out, sevenBit: w.o.SevenBit}
	}
	return plain{w.out}
}

// mediaType reads a Content-Type as far as it can be read: the type, its boundary.
func mediaType(v string) (typ, boundary string) {
	typ, params, err := mime.ParseMediaType(v)
	if err != nil {
		typ, _, _ = strings.Cut(v, ";")
		typ = strings.ToLower(strings.TrimSpace(typ))
	}
	return typ, params["boundary"]
}
