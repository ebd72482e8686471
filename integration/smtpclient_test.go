package integration

import (
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"time"
)

// sendSMTP hands one message over and returns nil only when the end of its data was answered with 250. The bare client
// is on purpose: no library decides what counts as acknowledged.
func sendSMTP(addr, subject, body, to string) (err error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	c := textproto.NewConn(conn)
	if _, _, err := c.ReadResponse(220); err != nil {
		return err
	}
	for _, step := range []struct {
		line string
		want int
	}{
		{"EHLO client.elsewhere.example", 250}, {"MAIL FROM:<kim@elsewhere.example>", 250}, {"RCPT TO:<" + to + ">", 250}, {"DATA", 354},
		{fmt.Sprintf("From: kim@elsewhere.example\r\nTo: %s\r\nSubject: %s\r\n\r\n%s.", to, subject, body), 250},
	} {
		if err := c.PrintfLine("%s", step.line); err != nil {
			return err
		}
		if _, _, err := c.ReadResponse(step.want); err != nil {
			return fmt.Errorf("%.20s: %w", step.line, err)
		}
	}
	return nil
}
