package tracking

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"backbone/gateway/mail"
)

// WriteExchange writes the events that f selects as Exchange's tracking log had them: TAB-separated fields with
// Exchange's event numbers (KB Q173280, Q173364), a further line for each recipient. Events that Exchange had no number
// for are left out. connectorType tells a connector's kind ("smtp", "msmail", "site", "x400"), which the numbers depend
// on; nil counts every connector as X.400. The date's layout, 2006.01.02 15:04:05, is not in the KB: ours.
func (l *Log) WriteExchange(ctx context.Context, w io.Writer, f Filter, connectorType func(connector string) string) error {
	if connectorType == nil {
		connectorType = func(string) string { return "x400" }
	}
	bw := bufio.NewWriter(w)
	err := l.every(ctx, f, func(e Event) error {
		n, ok := exchangeNumber(&e, connectorType(e.Connector))
		if !ok {
			return nil
		}
		return writeExchange(bw, &e, n)
	})
	partly, isPartly := errors.AsType[*Partly](err)
	if err == nil || isPartly {
		err = bw.Flush()
	}
	switch {
	case err != nil:
		return fmt.Errorf("tracking export: %w", err)
	case isPartly:
		return partly
	}
	return nil
}

// every calls fn for the events that f selects, with an archive those of all gateways.
func (l *Log) every(ctx context.Context, f Filter, fn func(Event) error) error {
	if l.o.Archive == nil {
		return l.selected(ctx, f, place{}, func(e Event, _ place) error { return fn(e) })
	}
	var partly error
	for at := Cursor(""); ; {
		es, next, err := l.Search(ctx, f, at, everyPage)
		if _, is := errors.AsType[*Partly](err); is {
			partly = err
		} else if err != nil {
			return err
		}
		for _, e := range es {
			if err := fn(e); err != nil {
				return err
			}
		}
		if next == "" {
			return partly
		}
		at = next
	}
}

const everyPage = 1000

func writeExchange(w *bufio.Writer, e *Event, number int) error {
	remote, subject := e.MessageID, ""
	report := e.Kind == mail.KindReport || e.Type == Report || e.Type == ReportAbsorbed || e.Type == ReportDiscarded
	if report {
		subject = e.About
	}
	fields := []string{
		e.ID, strconv.Itoa(number), e.Time.UTC().Format("2006.01.02 15:04:05"), e.Connector, partner(e), remote, e.Originator,
		strconv.Itoa(int(e.Priority)), strconv.FormatInt(e.Size, 10), "0", "1", subject, strconv.Itoa(len(e.Recipients)),
	}
	for i, s := range fields {
		fields[i] = oneField(s)
	}
	if _, err := w.WriteString(strings.Join(fields, "\t") + "\r\n"); err != nil {
		return err
	}
	status := ""
	if report {
		status = "0"
		if e.Type == ReportAbsorbed || e.Type == ReportDiscarded {
			status = "1"
		}
	}
	for _, r := range e.Recipients {
		if _, err := w.WriteString(oneField(r) + "\t" + status + "\r\n"); err != nil {
			return err
		}
	}
	return nil
}

// partner is the next hop of a queue destination, or who handed the message over.
func partner(e *Event) string {
	if _, host, ok := strings.Cut(e.Dest, ":"); ok {
		return host
	}
	if e.Type == Received {
		return e.Peer
	}
	return e.Dest
}

func oneField(s string) string { return Plain(strings.Map(tabless, s)) }

func tabless(r rune) rune {
	if r == '\t' || r == '\r' || r == '\n' {
		return ' '
	}
	return r
}

// exchangeNumber is the event's number: KB Q173364's, by the kind of connector. What passes a link between our gateways
// counts as backbone traffic, what passes a post office as gateway traffic.
func exchangeNumber(e *Event, connector string) (number int, ok bool) {
	pick := func(smtp, msmail, site, other int) (int, bool) {
		switch connector {
		case "smtp":
			return smtp, smtp >= 0
		case "msmail":
			return msmail, msmail >= 0
		case "site":
			return site, site >= 0
		}
		return other, other >= 0
	}
	report, probe := e.Kind == mail.KindReport, e.Kind == mail.KindProbe
	switch e.Type {
	case Received:
		switch {
		case probe:
			return 1, true
		case report:
			return pick(1015, 1005, 2, 2)
		case connector == "control":
			return 4, true
		}
		return pick(1012, 1004, 1001, 0)
	case Queued:
		return pick(1010, -1, -1, -1)
	case Delivered, Relayed:
		switch {
		case probe:
			return 6, true
		case report:
			return pick(1016, 1006, 8, 8)
		}
		return pick(1011, 1003, 1002, 7)
	case Rerouted:
		return pick(1014, 29, 29, 29)
	case Report:
		return pick(1017, 1007, 34, 34)
	case ReportAbsorbed:
		return pick(1018, 33, 33, 33)
	case ReportDiscarded:
		return 43, true
	case Deleted:
		switch {
		case probe:
			return 51, true
		case report:
			return 52, true
		}
		return 50, true
	}
	return 0, false
}
