package shadowpo

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// claims is the journal of tokens: one line per claim, durable before the file is renamed. The latest line of a name
// is the one that counts. When nothing is claimed the journal says nothing of use and is emptied.
type claims struct {
	f     file
	size  int64
	known map[string]claimed // by NAME.MSG, as it was at start
}

// claimed is what the journal knows of a claim.
type claimed struct{ token, sideHash string }

const claimsFile = "CLAIMS"

// keepClaims is what the journal may grow to before it is emptied.
const keepClaims = 64 << 10

func openClaims(state folder) (*claims, error) {
	f, err := state.Append(claimsFile)
	if err != nil {
		return nil, err
	}
	c := &claims{f: f, known: map[string]claimed{}}
	lines, good, err := readJournal(f)
	if err == nil {
		err = f.Truncate(good) // a line torn by a crash: its file was never renamed
	}
	if err == nil {
		err = errors.Join(f.Sync(), state.Sync())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	c.size = good
	for _, l := range lines {
		token, rest, _ := strings.Cut(l, " ")
		sideHash, name, _ := strings.Cut(rest, " ")
		if name, err := strconv.Unquote(name); err == nil {
			c.known[name] = claimed{token, strings.Trim(sideHash, "-")}
		}
	}
	return c, nil
}

func (c *claims) add(list []*claim) error {
	if len(list) == 0 {
		return nil
	}
	var b strings.Builder
	for _, cl := range list {
		b.WriteString(journalLine(cl.token + " " + cmp.Or(cl.sideHash, "-") + " " + strconv.Quote(cl.name)))
	}
	n, err := io.WriteString(c.f, b.String())
	c.size += int64(n)
	if err != nil {
		return err
	}
	return c.f.Sync()
}

// reset empties the journal, once it is worth the while. Call it when nothing is claimed and the folder says so
// durably.
func (c *claims) reset() error {
	if c.size < keepClaims {
		return nil
	}
	if err := c.f.Truncate(0); err != nil {
		return err
	}
	c.size = 0
	return c.f.Sync()
}

func (c *claims) close() error { return c.f.Close() }

// A journal is lines of text, each ending in the CRC-32 of what stands before it. A line that was torn, or that the
// disk spoiled, is not read as something else.

func journalLine(text string) string {
	return fmt.Sprintf("%s %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

func parseJournalLine(line string) (string, bool) {
	i := len(line) - 9
	if i < 1 || line[i] != ' ' {
		return "", false
	}
	sum, err := strconv.ParseUint(line[i+1:], 16, 32)
	return line[:i], err == nil && uint32(sum) == crc32.ChecksumIEEE([]byte(line[:i]))
}

// readJournal returns the good lines and how many octets end with the last whole one.
func readJournal(f file) (lines []string, good int64, err error) {
	i, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	b := make([]byte, i.Size())
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, 0, fmt.Errorf("journal: %w", err)
	}
	for text := string(b); ; {
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return lines, good, nil
		}
		if l, ok := parseJournalLine(line); ok {
			lines = append(lines, l)
			good = int64(len(b) - len(rest))
		}
		text = rest
	}
}
