package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"backbone/gateway/config"
	"backbone/gateway/control"
	"backbone/gateway/control/dashboard"
)

// openDashboard makes the dashboard as the configuration says who may see it.
func openDashboard(cfg config.Control, s *control.Service, log *slog.Logger) (*dashboard.Dashboard, error) {
	o := dashboard.Options{Service: s, Loopback: dashboard.Role(cfg.Loopback), Hosts: cfg.Hosts, Listen: cfg.Listen, Log: log}
	for _, u := range cfg.Users {
		hash, err := u.Password.Reveal()
		if err != nil {
			return nil, fmt.Errorf("control.user %s: %w", u.Name, err)
		}
		o.Users = append(o.Users, dashboard.User{Name: u.Name, Hash: hash, Role: dashboard.Role(u.Role)})
	}
	return dashboard.New(o)
}

// listenDashboard listens where dashboard, health and metrics are served, with TLS when there is a certificate.
func listenDashboard(cfg config.Control, listen func(network, address string) (net.Listener, error)) (net.Listener, error) {
	l, err := listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("control.listen: %w", err)
	}
	if cfg.Cert == "" {
		return l, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control.cert: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}), nil
}
