package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"backbone/gateway/mail"
)

// stsPolicy is what a domain says of its mail exchangers (RFC 8461 3.2).
type stsPolicy struct {
	id      string // of the TXT record that announced it
	enforce bool
	mx      []string
	until   time.Time
}

// stsPolicies fetches and remembers policies, in memory: what was known before a restart has to be learned again.
type stsPolicies struct {
	resolver *net.Resolver
	roots    *x509.CertPool // nil: the system's
	port     string         // of policy hosts
	log      *slog.Logger

	mu     sync.Mutex
	known  map[string]*stsPolicy
	failed map[string]time.Time // when to try again
	swept  time.Time
}

const (
	// maxPolicy bounds a policy's octets (RFC 8461 3.3: 64 KB is suggested), maxPolicies how many are kept.
	maxPolicy   = 64 << 10
	maxPolicies = 10_000
	// policyTime bounds the fetching of one, and policyRetry is the pause after a failure: the message waits meanwhile.
	policyTime  = 10 * time.Second
	policyRetry = 5 * time.Minute
	// maxPolicyAge is the longest max_age (RFC 8461 3.2).
	maxPolicyAge = 31_557_600
)

func newSTSPolicies(resolver *net.Resolver, log *slog.Logger) *stsPolicies {
	return &stsPolicies{resolver: resolver, port: "443", log: log, known: map[string]*stsPolicy{}, failed: map[string]time.Time{}}
}

// of is the policy to enforce towards domain; nil when there is none. As long as one is remembered, name servers and policy hosts that
// do not answer, or deny it, do not make it go away (RFC 8461 5.1).
func (s *stsPolicies) of(ctx context.Context, domain string) *stsPolicy {
	domain = strings.ToLower(domain)
	now := time.Now()
	s.mu.Lock()
	p, pause := s.known[domain], s.failed[domain]
	s.mu.Unlock()
	if p != nil && !p.until.After(now) {
		p = nil
	}
	asking, cancel := context.WithTimeout(ctx, policyTime)
	txts, err := s.resolver.LookupTXT(asking, "_mta-sts."+domain+".")
	cancel()
	if id := policyID(txts); err == nil && id != "" && (p == nil || p.id != id) && !pause.After(now) {
		fetched, err := s.fetch(ctx, domain)
		if err == nil {
			p = fetched
			p.id = id
		} else {
			s.log.Warn("MTA-STS policy not fetched", "dest", domain, "err", err)
		}
		s.remember(domain, p, err, now)
	}
	if p == nil || !p.enforce {
		return nil
	}
	return p
}

func (s *stsPolicies) remember(domain string, p *stsPolicy, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known)+len(s.failed) >= maxPolicies && now.Sub(s.swept) >= time.Minute {
		s.swept = now
		for d, p := range s.known {
			if !p.until.After(now) {
				delete(s.known, d)
			}
		}
		clear(s.failed)
	}
	switch {
	case err != nil && len(s.failed) < maxPolicies:
		s.failed[domain] = now.Add(policyRetry)
	case err == nil && len(s.known) < maxPolicies:
		s.known[domain] = p
	}
}

// policyID reads the TXT records of _mta-sts (RFC 8461 3.1): "" unless exactly one is a policy's.
func policyID(txts []string) string {
	id, n := "", 0
	for _, t := range txts {
		version, rest, _ := strings.Cut(t, ";")
		if strings.TrimSpace(version) != "v=STSv1" {
			continue
		}
		n++
		for _, f := range strings.Split(rest, ";") {
			if k, v, _ := strings.Cut(strings.TrimSpace(f), "="); k == "id" {
				id = v
			}
		}
	}
	if n != 1 || len(id) > 32 {
		return ""
	}
	return id
}

// fetch asks the policy host, whose certificate must be for its name; redirects are not followed (RFC 8461 3.3).
func (s *stsPolicies) fetch(ctx context.Context, domain string) (*stsPolicy, error) {
	ctx, cancel := context.WithTimeout(ctx, policyTime)
	defer cancel()
	dialer := &net.Dialer{Resolver: s.resolver}
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, net.JoinHostPort("mta-sts."+domain+".", s.port))
			}},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+domain+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the policy host answers %d", res.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return nil, errors.New("the policy is no text/plain")
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxPolicy+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPolicy {
		return nil, fmt.Errorf("the policy has more than %d octets", maxPolicy)
	}
	return parsePolicy(string(text), time.Now())
}

// parsePolicy reads a policy (RFC 8461 3.2).
func parsePolicy(text string, now time.Time) (*stsPolicy, error) {
	p := &stsPolicy{}
	seen := map[string]string{}
	for line := range strings.Lines(text) {
		key, v, ok := strings.Cut(strings.TrimSpace(line), ":")
		key, v = strings.TrimSpace(key), strings.TrimSpace(v)
		_, again := seen[key]
		switch {
		case !ok:
		case key == "mx":
			p.mx = append(p.mx, strings.ToLower(v))
		case !again: // the first one counts
			seen[key] = v
		}
	}
	age, err := strconv.ParseInt(seen["max_age"], 10, 64)
	mode := seen["mode"]
	switch {
	case seen["version"] != "STSv1":
		return nil, errors.New("the policy is of another version")
	case err != nil || age < 0:
		return nil, errors.New("the policy has no max_age")
	case !slices.Contains([]string{"enforce", "testing", "none"}, mode):
		return nil, errors.New("the policy has no mode")
	case mode != "none" && len(p.mx) == 0:
		return nil, errors.New("the policy names no mail exchanger")
	}
	p.enforce = mode == "enforce"
	p.until = now.Add(time.Duration(min(age, maxPolicyAge)) * time.Second)
	return p, nil
}

// names tells that the policy has the exchanger host (RFC 8461 4.1): "*." stands for one label.
func (p *stsPolicy) names(host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(p.mx, func(pattern string) bool {
		rest, wild := strings.CutPrefix(pattern, "*.")
		return pattern == host || wild && parent != "" && rest == parent
	})
}

// allowed are the targets that the policy of the next hop's domain names; strict tells that there is one, and TLS must prove their names.
func (c *Connector) allowed(ctx context.Context, hop string, all []target) (out []target, strict bool, f *mail.Failure) {
	if c.sts == nil || len(c.smart) > 0 || strings.HasPrefix(hop, "[") {
		return all, false, nil
	}
	p := c.sts.of(ctx, hop)
	if p == nil {
		return all, false, nil
	}
	for _, t := range all {
		if p.names(t.host) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		f = linkFailure(hop, "has no mail exchanger that its MTA-STS policy names", nil)
		f.Enhanced = "4.7.5"
	}
	return out, true, f
}
