package mta

import (
	"bufio"
	"io"
	"regexp"
	"strings"
)

// Syncs is what a record of strace shows.
type Syncs struct {
	Calls   int // fsync, fdatasync, sync, syncfs, msync, sync_file_range that came back
	Replies int // 250 answers that say that a message was taken
	// Bare counts replies before which, since the reply before, no sync call had come back. It means something when the
	// messages came one after another.
	Bare int
}

var (
	syncCall = regexp.MustCompile(`^(\d+ +)?(<\.\.\. )?(fsync|fdatasync|sync|syncfs|msync|sync_file_range)[( ].*= 0( |$)`)
	// Postfix and this gateway say "queued as ID", Exim "OK id=ID", OpenSMTPD "ID Message accepted for delivery".
	taken = regexp.MustCompile(`(write|sendto)\(\d+, "250[ -][^"]*(queued as|id=|Message acc)`)
)

// ReadTrace reads what strace -f wrote.
func ReadTrace(r io.Reader) (Syncs, error) {
	var s Syncs
	since := 0
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		switch line := sc.Text(); {
		case syncCall.MatchString(line):
			s.Calls++
			since++
		case strings.Contains(line, `"250`) && taken.MatchString(line):
			s.Replies++
			if since == 0 {
				s.Bare++
			}
			since = 0
		}
	}
	return s, sc.Err()
}
