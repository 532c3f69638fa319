package originserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// CheckFiles reads every file that cfg names, as New does, and returns all that is
// wrong, in a line each.
func CheckFiles(cfg Config) (faults []error) {
	add := func(err error) bool {
		if err != nil {
			faults = append(faults, err)
		}
		return err == nil
	}
	add(cfg.check())
	for _, o := range cfg.Origins {
		o.Serve.Logger = cfg.Logger
		h, err := serve.New(o.Serve)
		if err != nil && len(cfg.Origins) > 1 {
			err = fmt.Errorf("origin %q: %w", cmp.Or(o.Name, originname.Default), err)
		}
		if add(err) {
			h.Close()
		}
	}
	_, err := cfg.Tokens.First()
	add(err)
	_, err = cfg.TLS.Load()
	add(err)
	if cfg.AccessLog != "" && cfg.AccessLog != "-" {
		add(accesslog.Check(cfg.AccessLog))
	}
	if len(faults) == 0 {
		cfg.AccessLog, cfg.Inspect = "", "" // they would be opened
		// What is left is about the addresses of proxies.
		s, err := New(cfg)
		if add(err) {
			s.close()
		}
	}
	return faults
}

// CheckServices connects to each web service that cfg names, and asks it for nothing. say
// is called with a line for each that takes connections. cfg is one in which CheckFiles
// finds no fault.
func CheckServices(ctx context.Context, cfg Config, say func(found string)) (faults []error) {
	seen := make(map[serve.Config]bool)
	for _, o := range cfg.Origins {
		if o.Serve.To == "" || seen[o.Serve] {
			continue
		}
		seen[o.Serve] = true
		h, err := serve.New(o.Serve)
		if err == nil {
			err = h.Probe(ctx)
			h.Close()
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		say("the service " + o.Serve.To + " takes connections")
	}
	return faults
}

// CheckProxies asks each P whether it would take C, for each origin, and disturbs
// nobody who serves. say is called with a line for each step that went well. cfg is
// one in which CheckFiles finds no fault.
func CheckProxies(ctx context.Context, cfg Config, say func(found string)) (faults []error) {
	token, err := cfg.Tokens.First()
	if err != nil {
		return append(faults, err)
	}
	tls, err := cfg.TLS.Load()
	if err != nil {
		return append(faults, err)
	}
	via, err := cfg.via()
	if err != nil {
		return append(faults, err)
	}
	for _, addr := range cfg.Proxies {
		said := make(map[string]bool) // steps are the same for each origin
		for _, o := range cfg.Origins {
			name, err := originname.Parse(o.Name)
			if err != nil {
				return append(faults, err)
			}
			d := &control.Dialer{Addr: addr, Name: string(name), Token: token, TLS: tls, Via: via}
			err = d.Probe(ctx, func(found string) {
				if !said[found] {
					said[found] = true
					say("proxy " + addr + ": " + found)
				}
			})
			if err != nil {
				faults = append(faults, err)
				if _, refused := errors.AsType[*control.RefusedError](err); !refused {
					break // nor would another name be
				}
			}
		}
	}
	return faults
}

// Refused reports whether an error of CheckProxies is P's answer, or about P's
// certificate: trying again does not help.
func Refused(err error) bool {
	r, ok := errors.AsType[*control.RefusedError](err)
	if ok {
		return r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden
	}
	_, ok = errors.AsType[*control.VerifyError](err)
	return ok
}
