package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"backbone/queue"
)

// Reinstated is the answer to an entry of a backup: false when it was waiting in the queue all the while.
type Reinstated struct {
	Restored bool `json:"restored"`
}

// backupDirectory answers with the directory as it is now. It is written to a file first: a slow caller holds up nobody.
func (s *Service) backupDirectory(w http.ResponseWriter, _ *http.Request) {
	f, err := os.CreateTemp("", "backbone-directory")
	if err != nil {
		answer(w, nil, err)
		return
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a left-over temporary file is the system's to clean
	defer f.Close()
	err = s.Directory.Snapshot(f)
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		answer(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if _, err := io.Copy(w, f); err != nil {
		s.Log.Warn("the directory's snapshot was not fetched to its end", "err", err)
	}
}

// maxEntry bounds the line that describes an entry: thousands of recipients fit.
const maxEntry = 16 << 20

// reinstate takes one line of JSON, a queue.Item as `queue list --json` prints it, then its content.
func (s *Service) reinstate(w http.ResponseWriter, r *http.Request) {
	in := bufio.NewReaderSize(io.LimitReader(r.Body, maxSubmit), 64<<10)
	line, err := readLine(in, maxEntry)
	var it queue.Item
	if err == nil {
		err = json.Unmarshal(line, &it)
	}
	if err == nil && len(it.Envelope.Recipients) == 0 {
		err = fmt.Errorf("it has no recipients")
	}
	if err != nil {
		answer(w, nil, bad(fmt.Errorf("entry of a backup: %w", err)))
		return
	}
	done, err := s.Gateway.Reinstate(r.Context(), it, in, r.URL.Query().Get("by"), r.URL.Query().Get("reason"))
	answer(w, Reinstated{done}, err)
}

func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > limit:
			return nil, fmt.Errorf("a line of more than %d octets", limit)
		case err == nil:
			return line, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}
