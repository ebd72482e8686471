package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"backbone/queue"
)

// ErrNoDaemon says that nothing listens on the control socket.
var ErrNoDaemon = errors.New("no daemon answers")

// Client calls the API.
type Client struct {
	http *http.Client
	name string
}

// Dial returns a client of the daemon whose control socket is at path. It does not connect yet.
func Dial(path string) *Client {
	return &Client{name: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
}

// Local returns a client of a service in this process, for `--offline`. stop ends the serving.
func Local(s *Service) (c *Client, stop func() error) {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("local control ended", "err", err)
		}
	}()
	client := &Client{name: "the queue's files", http: &http.Client{Transport: &http.Transport{DialContext: l.dial}}}
	return client, func() error {
		err := srv.Close()
		<-served
		return err
	}
}

// pipeListener joins the client and the server of one process without a socket.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.done:
	case <-ctx.Done():
	}
	return nil, errors.Join(net.ErrClosed, near.Close(), far.Close())
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (c *Client) do(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Response, error) {
	u := "http://backbone" + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return nil, fmt.Errorf("%w on %s: %w", ErrNoDaemon, c.name, op.Err)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		var e Error
		if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e); err != nil || e.Text == "" {
			return nil, &Error{resp.StatusCode, "the daemon answered " + resp.Status}
		}
		e.Status = resp.StatusCode
		return nil, &e
	}
	return resp, nil
}

// Get fetches path into v.
func (c *Client) Get(ctx context.Context, path string, q url.Values, v any) error {
	resp, err := c.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// Post sends req and fetches the answer into v.
func (c *Client) Post(ctx context.Context, path string, req, v any) error {
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodPost, path, nil, bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// Upload sends a body and fetches the answer into v.
func (c *Client) Upload(ctx context.Context, path string, q url.Values, body io.Reader, v any) error {
	resp, err := c.do(ctx, http.MethodPost, path, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// Partly is the error beside an answer that lacks something.
type Partly []string

func (p Partly) Error() string { return strings.Join(p, "; ") }

// Text copies what path answers to w. A Partly says what it lacks.
func (c *Client) Text(ctx context.Context, path string, q url.Values, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(w, resp.Body); err == nil && len(resp.Trailer[missingTrailer]) > 0 {
		err = Partly(resp.Trailer[missingTrailer])
	}
	return err
}

// QueueLines copies the entries that f selects, at most limit of them (0: all), to w as the API writes them: one JSON object
// a line. It tells whether there were any.
func (c *Client) QueueLines(ctx context.Context, f queue.Filter, limit int, w io.Writer) (some bool, err error) {
	q := filterTo(f)
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/queue/lines", q, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(w, resp.Body)
	return n > 0, err
}

// Queue pages through the entries that f selects, at most limit of them (0: all).
func (c *Client) Queue(ctx context.Context, f queue.Filter, limit int, each func(queue.Item) error) error {
	q := filterTo(f)
	for n := 0; ; {
		size := 1000
		if limit > 0 {
			size = min(size, limit-n)
		}
		q.Set("limit", strconv.Itoa(size))
		var p Page[queue.Item]
		if err := c.Get(ctx, "/v1/queue", q, &p); err != nil {
			return err
		}
		for _, it := range p.Items {
			if err := each(it); err != nil {
				return err
			}
			n++
		}
		if p.Next == "" || (limit > 0 && n >= limit) {
			return nil
		}
		q.Set("after", p.Next)
	}
}

// IsNotFound tells the answer for something that is not there.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Path joins path elements that may hold any character.
func Path(elem ...string) string {
	for i := range elem {
		elem[i] = url.PathEscape(elem[i])
	}
	return "/" + strings.Join(elem, "/")
}
