package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// servedCertificate is a server's certificate, read again when its files change.
type servedCertificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu   sync.Mutex
	now  *tls.Certificate
	seen [2]time.Time // when the files were last changed
}

func loadCertificate(certFile, keyFile string) (*servedCertificate, error) {
	c := &servedCertificate{certFile: certFile, keyFile: keyFile}
	c.seen = c.changed()
	return c, c.reload()
}

func (c *servedCertificate) changed() (out [2]time.Time) {
	for i, file := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(file); err == nil {
			out[i] = info.ModTime()
		}
	}
	return out
}

// reload reads the files; what was there before holds where they do not fit.
func (c *servedCertificate) reload() error {
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	c.now = &cert
	return nil
}

// Reload reads the files now.
func (c *servedCertificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = c.changed()
	return c.reload()
}

// get returns the certificate for a connection, and looks at its files first: who renews
// certificates often cannot send a signal.
func (c *servedCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.changed(); now != c.seen {
		c.seen = now
		if err := c.reload(); err != nil && c.log != nil {
			c.log.Error("the new certificate is not used", "cause", err)
		} else if c.log != nil {
			c.log.Info("certificate reloaded")
		}
	}
	if c.now == nil {
		return nil, errors.New("no certificate")
	}
	return c.now, nil
}
