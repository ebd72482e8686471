package translate

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// maxToken bounds one tag, comment or run of text of an HTML part. *Ours.*
const maxToken = 1 << 20

// maxQuote bounds how many "> " a nest of blockquotes can put before a line.
const maxQuote = 8

// htmlText reads HTML as plain text, UTF-8 in and out, with CRLF lines: paragraphs, lists, quotes, preformatted text
// and the targets of links survive, looks do not. It never builds a tree: memory is one token, whatever the nesting.
type htmlText struct {
	z     *html.Tokenizer
	out   bytes.Buffer
	err   error
	skip  atom.Atom // inside script, style, title: everything until its end tag
	pre   int
	quote int
	link  string // href of the open <a>
	label strings.Builder
	lines int  // line ends written since the last text; a great number at the beginning
	blank bool // a blank is due before the next word
}

func newHTMLText(r io.Reader) io.Reader {
	h := &htmlText{z: html.NewTokenizer(r), lines: 2}
	h.z.SetMaxBuf(maxToken)
	return h
}

func (h *htmlText) Read(p []byte) (int, error) {
	for h.out.Len() == 0 && h.err == nil {
		h.step()
	}
	if h.out.Len() > 0 {
		return h.out.Read(p)
	}
	return 0, h.err
}

func (h *htmlText) step() {
	switch h.z.Next() {
	case html.ErrorToken:
		h.err = h.z.Err()
		if errors.Is(h.err, html.ErrBufferExceeded) {
			h.err = syntax("an HTML token longer than %d octets", maxToken)
		}
		if errors.Is(h.err, io.EOF) && h.lines == 0 {
			h.newline(1)
		}
	case html.TextToken:
		if h.skip == 0 {
			h.words(string(h.z.Text()))
		}
	case html.StartTagToken, html.SelfClosingTagToken:
		h.open(h.z.Token())
	case html.EndTagToken:
		h.close(h.z.Token().DataAtom)
	}
}

func (h *htmlText) open(t html.Token) {
	if h.skip != 0 {
		return
	}
	switch t.DataAtom {
	case atom.Script, atom.Style, atom.Title, atom.Noscript, atom.Template:
		if t.Type == html.StartTagToken {
			h.skip = t.DataAtom
		}
	case atom.Br:
		h.out.WriteString("\r\n")
		h.lines, h.blank = h.lines+1, false
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Table, atom.Ul, atom.Ol, atom.Dl:
		h.newline(2)
	case atom.Div, atom.Tr, atom.Dt, atom.Dd, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Form, atom.Address:
		h.newline(1)
	case atom.Li:
		h.newline(1)
		h.write("- ")
	case atom.Td, atom.Th:
		if h.lines == 0 {
			h.write("  ")
		}
	case atom.Hr:
		h.newline(1)
		h.write(strings.Repeat("-", 40))
		h.newline(1)
	case atom.Pre:
		h.newline(1)
		h.pre++
	case atom.Blockquote:
		h.newline(1)
		h.quote++
	case atom.Img:
		if alt := strings.TrimSpace(attribute(t, "alt")); alt != "" {
			h.words("[" + alt + "]")
		}
	case atom.A:
		h.link = attribute(t, "href")
		h.label.Reset()
	}
}

func (h *htmlText) close(a atom.Atom) {
	if h.skip != 0 {
		if a == h.skip {
			h.skip = 0
		}
		return
	}
	switch a {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Table, atom.Ul, atom.Ol, atom.Dl:
		h.newline(2)
	case atom.Div, atom.Tr, atom.Li, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Form, atom.Address:
		h.newline(1)
	case atom.Pre:
		h.newline(1)
		h.pre = max(0, h.pre-1)
	case atom.Blockquote:
		h.newline(1)
		h.quote = max(0, h.quote-1)
	case atom.A:
		h.target()
	}
}

// target writes where a link goes, unless its text says so already.
func (h *htmlText) target() {
	link := h.link
	h.link = ""
	scheme, rest, _ := strings.Cut(link, ":")
	switch strings.ToLower(scheme) {
	case "http", "https", "ftp", "mailto":
	default:
		return
	}
	label := strings.TrimSuffix(strings.TrimSpace(h.label.String()), "/")
	rest = strings.TrimSuffix(strings.TrimPrefix(rest, "//"), "/")
	if label == "" || strings.Contains(label, rest) {
		return
	}
	h.blank = true
	h.words("<" + link + ">")
}

// words writes text with its blanks collapsed, or as it is inside <pre>.
func (h *htmlText) words(s string) {
	if h.link != "" && h.label.Len() < 4096 {
		h.label.WriteString(s)
	}
	if h.pre > 0 {
		for line := range strings.Lines(strings.ReplaceAll(s, "\r\n", "\n")) {
			text, end := strings.CutSuffix(line, "\n")
			if text != "" {
				h.write(text)
			}
			if end {
				h.newline(h.lines + 1)
			}
		}
		return
	}
	for len(s) > 0 {
		n := strings.IndexFunc(s, collapses)
		if n < 0 {
			n = len(s)
		}
		if n > 0 {
			h.write(s[:n])
			s = s[n:]
			continue
		}
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		h.blank = true
	}
}

// collapses tells HTML's white space; a no-break space is none.
func collapses(r rune) bool { return r != '\u00a0' && unicode.IsSpace(r) }

func (h *htmlText) write(s string) {
	switch {
	case h.lines > 0:
		for range min(h.quote, maxQuote) {
			h.out.WriteString("> ")
		}
	case h.blank:
		h.out.WriteByte(' ')
	}
	h.lines, h.blank = 0, false
	h.out.WriteString(s)
}

// newline makes sure that n line ends precede the next text; at the beginning of the text there is nothing to part.
func (h *htmlText) newline(n int) {
	for h.lines < n {
		h.out.WriteString("\r\n")
		h.lines++
	}
	h.blank = false
}

func attribute(t html.Token, key string) string {
	for _, a := range t.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}
