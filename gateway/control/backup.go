package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"backbone/queue"
)

// Reinstated is the answer to an entry of a backup: false when it was waiting in the queue all the while.
type Reinstated struct {
	Restored bool `json:"restored"`
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
