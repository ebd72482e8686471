package mixer

// scan is written a text and tells how it may travel: as it is, when it is CRLF lines of at most 998 octets of printable
// ASCII (RFC 2045 2.7) that no relay changes. It keeps nothing of the text, however long that is.
type scan struct {
	eight bool // an octet that is not ASCII
	odd   bool // something that a relay may change or refuse
	bare  bool // CR or LF alone
	ended bool // the last line has its end
	cr    bool // the last octet was CR
	n     int  // octets of the line so far
	from  int  // of those, how many it has in common with "From "
	last  byte
}

const mboxFrom = "From "

func (l *scan) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i++ {
		if from := i; !l.cr && l.n >= len(mboxFrom) { // most of a text: words within a line
			for i < len(b) && b[i] > ' ' && b[i] < 0x7f {
				i++
			}
			if i > from {
				l.n, l.last = l.n+i-from, b[i-1]
			}
			if i == len(b) {
				break
			}
		}
		c := b[i]
		switch {
		case c == '\n' && l.cr:
			l.end()
			l.cr, l.ended = false, true
			continue
		case l.cr || c == '\n':
			l.bare = true
		}
		if l.cr = c == '\r'; l.cr {
			continue
		}
		if l.n < len(mboxFrom) && l.from == l.n && c == mboxFrom[l.n] {
			l.from++
		}
		l.n++
		l.last, l.ended = c, false
		if c >= 0x7f || (c < ' ' && c != '\t' && c != '\f') {
			l.odd = true
			l.eight = l.eight || c >= 0x80
		}
	}
	return len(b), nil
}

// end looks at a whole line.
func (l *scan) end() {
	if l.n > 998 || l.from == len(mboxFrom) || (l.n > 0 && (l.last == ' ' || l.last == '\t')) {
		l.odd = true
	}
	l.n, l.from = 0, 0
}

// done looks at what follows the last line end.
func (l *scan) done() {
	if l.cr {
		l.bare = true
	}
	l.end()
}

// plain tells that the text needs no encoding.
func (l *scan) plain() bool { return !l.odd && !l.bare && !l.eight }
