package tracking

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"backbone/gateway/mail"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BACKBONE_TRACKING_CHILD"); dir != "" {
		appendUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	return openAt(t, t.TempDir(), o)
}

func openAt(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func put(t testing.TB, l *Log, es ...Event) {
	t.Helper()
	for _, e := range es {
		if err := l.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// trace is empty when nothing has the key.
func trace(t testing.TB, l *Log, key string) []Event {
	t.Helper()
	es, err := l.Trace(context.Background(), key)
	if err != nil && !errors.Is(err, ErrNotFound) || err == nil && len(es) == 0 {
		t.Fatal(err)
	}
	return es
}

func all(t testing.TB, l *Log) []Event {
	t.Helper()
	es, _, err := l.Search(context.Background(), Filter{}, "", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func types(es []Event) (out []Type) {
	for _, e := range es {
		out = append(out, e.Type)
	}
	return out
}

func TestAnEventComesBackAsItWasWritten(t *testing.T) {
	l := open(t, Options{Subjects: true})
	want := Event{
		Time: time.Date(2025, 3, 4, 5, 6, 7, 8, time.UTC), Type: Received, Site: "SITEA", ID: "SITEA-1", MessageID: "a@b", Item: "7Q", About: "SITEA-0",
		Kind: mail.KindMessage, Priority: mail.Urgent, Connector: "po1", Dest: "po1:NORTHWIND/PO1", Peer: "220 <b>&\x1b[31m", Originator: "MS:NORTHWIND/PO1/A",
		Recipients: []string{"SMTP:u@example.com"}, Subject: "a \"quoted\"\nsubject", SubjectHash: SubjectHash("a \"quoted\"\nsubject"), Size: 42, Attempt: 3, Took: time.Second,
		Next: time.Date(2025, 3, 4, 6, 0, 0, 0, time.UTC), Class: mail.Transient, Text: "text", By: "kim", Source: "NORTHWIND.PO1/submit/MMFF1.MSG#2", SourceSHA256: "ab",
		Notes: []mail.Note{{Field: "CC", Action: mail.NoteLost, Detail: "d"}}, Route: []Candidate{{Connector: "x", Space: "SMTP:*", Match: "wildcard", Cost: 1, Lost: "cost"}},
	}
	put(t, l, want)
	got := all(t, l)
	if diff := cmp.Diff([]Event{want}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	b, err := os.ReadFile(filepath.Join(l.dir, time.Now().UTC().Format("20060102")+".log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(b), "\n") != 1 || strings.Contains(string(b), "\x1b") {
		t.Errorf("hostile text is not escaped, or the event is not one line: %q", b)
	}
}

func TestManyRecipientsBecomeSeveralLines(t *testing.T) {
	l := open(t, Options{})
	var rs []string
	for i := range 5000 {
		rs = append(rs, fmt.Sprintf("SMTP:u%d@example.com", i))
	}
	put(t, l, Event{Type: Received, ID: "M1", Recipients: rs})
	var got []string
	for _, e := range trace(t, l, "m1") {
		got = append(got, e.Recipients...)
	}
	if diff := cmp.Diff(rs, got); diff != "" {
		t.Error("recipients differ")
	}
}

func TestPrivateSubjectsAreKeptAsHashes(t *testing.T) {
	l := open(t, Options{})
	put(t, l, Event{Type: Received, ID: "M1", Subject: "Takeover plan"}, Event{Type: Received, ID: "M2", Subject: "RE: takeover plan "}, Event{Type: Received, ID: "M3", Subject: "Lunch"})
	for _, e := range all(t, l) {
		if e.Subject != "" || e.SubjectHash == "" {
			t.Errorf("subject %q, hash %q", e.Subject, e.SubjectHash)
		}
	}
	for _, q := range []string{"Takeover plan", SubjectHash("takeover plan")} {
		es, _, err := l.Search(context.Background(), Filter{Subject: q}, "", 10)
		if err != nil || len(es) != 2 {
			t.Errorf("search for %q finds %d, %v; want the message and its reply", q, len(es), err)
		}
	}
}

func TestFilesAreNamedByUTCDayAndOldOnesRemoved(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "notes.log")
	if err := os.WriteFile(other, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01
		l, err := Open(dir, Options{Keep: 3 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			put(t, l, Event{Type: Queued, ID: fmt.Sprintf("M%d", i)})
			<-time.After(24 * time.Hour)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	if diff := cmp.Diff([]string{"20000107.log", "20000108.log", "20000109.log", "20000110.log", "notes.log"}, files); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if idx, err := filepath.Glob(filepath.Join(dir, "*.idx")); err != nil || len(idx) != 4 {
		t.Errorf("index files %v, %v; want one for each of the 4", idx, err)
	}
}

func TestTheSizeBoundRemovesTheOldestFirst(t *testing.T) {
	const bound = 400_000
	l := open(t, Options{MaxBytes: bound})
	for i := range 4000 {
		put(t, l, Event{Type: Queued, ID: fmt.Sprintf("M%d", i), Text: strings.Repeat("x", 200)})
	}
	var total int64
	err := filepath.WalkDir(l.dir, func(_ string, d fs.DirEntry, err error) error {
		if st, serr := d.Info(); err == nil && serr == nil && !d.IsDir() {
			total += st.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if total > bound*5/4 || total < bound/2 {
		t.Errorf("%d octets kept, bound %d", total, bound)
	}
	if n := len(trace(t, l, "M3999")); n != 1 {
		t.Errorf("the newest event is gone")
	}
	if n := len(trace(t, l, "M0")); n != 0 {
		t.Errorf("the oldest event is still there")
	}
}

func TestATornLineSpoilsNoOther(t *testing.T) {
	dir := t.TempDir()
	l := openAt(t, dir, Options{})
	put(t, l, Event{Type: Queued, ID: "M1"}, Event{Type: Delivered, ID: "M1"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, time.Now().UTC().Format("20060102")+".log")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time":"2025-01-01T00:00:00Z","type":"failed","id":"M1","te`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, dir, Options{})
	if got := types(trace(t, l, "M1")); !cmp.Equal(got, []Type{Queued, Delivered}) {
		t.Errorf("before the next event: %v", got)
	}
	put(t, l, Event{Type: Report, ID: "M1"})
	if got := types(trace(t, l, "M1")); !cmp.Equal(got, []Type{Queued, Delivered, Report}) {
		t.Errorf("after the next event: %v", got)
	}
	if got := types(all(t, l)); !cmp.Equal(got, []Type{Queued, Delivered, Report}) {
		t.Errorf("search: %v", got)
	}
}

// A child process appends as fast as it can and tells what was acknowledged; it is killed in the middle.
func TestKillLosesNothingThatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "BACKBONE_TRACKING_CHILD="+dir, fmt.Sprintf("BACKBONE_TRACKING_ROUND=%d", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var acked []string
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			if acked = append(acked, sc.Text()); len(acked) == 400*(round+1) {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			t.Fatalf("child ended by itself: %v", err)
		}
		l := openAt(t, dir, Options{})
		have := map[string]bool{}
		for _, e := range all(t, l) {
			have[e.ID] = true
		}
		for _, id := range acked {
			if !have[id] {
				t.Fatalf("%s was acknowledged and is not in the log", id)
			}
		}
		if len(trace(t, l, acked[len(acked)-1])) != 1 {
			t.Error("the last one can't be traced")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func appendUntilKilled(dir string) {
	l, err := Open(dir, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("R%s-W%d-%d", os.Getenv("BACKBONE_TRACKING_ROUND"), w, i)
				if err := l.Append(context.Background(), Event{Type: Queued, ID: id}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestAppendGivesUpOnADiskThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A log without its writer is a disk that never answers.
		l := &Log{o: Options{Patience: 2 * time.Second}, in: make(chan *pending, 1), grown: make(chan struct{})}
		began := time.Now()
		for range 2 {
			if err := l.Append(context.Background(), Event{Type: Queued, ID: "M"}); !errors.Is(err, ErrBehind) {
				t.Errorf("error %v, want ErrBehind", err)
			}
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("took %s, want the patience of 2 s each", took)
		}
		if s := l.Stats(); s.Dropped != 1 {
			t.Errorf("dropped %d, want the one that found no room", s.Dropped)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := l.Append(ctx, Event{Type: Queued}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}

func TestAWriteErrorIsAnsweredAndTheLogGoesOn(t *testing.T) {
	l := open(t, Options{})
	put(t, l, Event{Type: Queued, ID: "M1"})
	// Make the folder unusable for a moment: the next day's file can't be made.
	dir := l.dir
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	l2 := openAt(t, dir, Options{})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := l2.Append(context.Background(), Event{Type: Queued, ID: "M2"}); err == nil || l2.Stats().Failed != 1 || l2.Stats().Error == nil {
		t.Errorf("append into nowhere: %v, stats %+v", err, l2.Stats())
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	put(t, l2, Event{Type: Queued, ID: "M3"})
	if s := l2.Stats(); s.Error != nil {
		t.Errorf("error %v stays after a good write", s.Error)
	}
}

func TestClosedLogRefusesAndIsStillReadable(t *testing.T) {
	l := open(t, Options{})
	put(t, l, Event{Type: Queued, ID: "M1"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(context.Background(), Event{Type: Queued}); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
	if n := len(trace(t, l, "M1")); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestConcurrentAppendsAndReads(t *testing.T) {
	l := open(t, Options{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 300 {
				id := fmt.Sprintf("W%d-%d", w, i)
				if err := l.Append(context.Background(), Event{Type: Queued, ID: id}); err != nil {
					t.Error(err)
					return
				}
				if i%50 == 0 {
					if es, err := l.Trace(context.Background(), id); err != nil || len(es) != 1 {
						t.Errorf("%s: %d events, %v", id, len(es), err)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := len(all(t, l)); n != 2400 {
		t.Errorf("%d events, want 2400", n)
	}
}

func TestEventsOfOneStepAreWrittenTogetherInTheirOrder(t *testing.T) {
	l := open(t, Options{Subjects: true})
	at := time.Now()
	err := l.Append(context.Background(), Event{Time: at, Type: Received, ID: "A"}, Event{Time: at, Type: Queued, ID: "A"}, Event{Time: at, Type: Delivered, ID: "A"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(context.Background()); err != nil {
		t.Errorf("no events: %v", err)
	}
	got, err := l.Trace(context.Background(), "A")
	if err != nil {
		t.Fatal(err)
	}
	var types []Type
	for _, e := range got {
		types = append(types, e.Type)
	}
	if diff := cmp.Diff([]Type{Received, Queued, Delivered}, types); diff != "" {
		t.Error(diff)
	}
	if n := l.Stats().Written; n != 3 {
		t.Errorf("%d written, want 3", n)
	}
}

// TestAReaderThatBeginsBehindATornLineSeesTheNext: found by cutting the power.
func TestAReaderThatBeginsBehindATornLineSeesTheNext(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, time.Now().UTC().Format("20060102")+".log")
	if err := os.WriteFile(path, []byte(`{"type":"failed","id":"M1","te`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := openAt(t, dir, Options{})
	at := l.Tail()
	put(t, l, Event{Type: Queued, ID: "M2"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for e, err := range l.Follow(ctx, at) {
		if err != nil || e.ID != "M2" {
			t.Errorf("%v, %v", e, err)
		}
		return
	}
	t.Error("nothing came")
}

func TestListenersHearWhatIsWrittenUntilTheyStop(t *testing.T) {
	l := open(t, Options{})
	var one, two []Type
	stop := l.Listen(func(e Event) { one = append(one, e.Type) })
	l.Listen(func(e Event) {
		two = append(two, e.Type)
		if e.Time.IsZero() {
			t.Error("an event without a time")
		}
	})
	put(t, l, Event{Type: Received, ID: "A"})
	stop()
	if err := l.Append(context.Background(), Event{Type: Queued, ID: "A"}, Event{Type: Delivered, ID: "A"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Type{Received}, one); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Type{Received, Queued, Delivered}, two); diff != "" {
		t.Error(diff)
	}
}
