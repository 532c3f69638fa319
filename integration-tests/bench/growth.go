package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/integration-tests/process"
	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// growthDomain is what the origins are names in.
const growthDomain = "bench.test"

func originName(i int) string { return "o" + strconv.Itoa(i) }

// origins is the part that stands for many origins: one process with as many
// agents, each of them, as in c, with a connection and a name of its own.
func origins(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	flags := pflag.NewFlagSet("origins", pflag.ContinueOnError)
	proxy := flags.String("proxy", "", "")
	certs := flags.String("certs", "", "")
	tokenFile := flags.String("token-file", "", "")
	root := flags.String("root", "", "")
	n := flags.Int("n", 1, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*tokenFile)
	if err != nil {
		return err
	}
	tokens := strings.Split(string(text), "\n")
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	handler, err := serve.New(serve.Config{Root: *root, Logger: log})
	if err != nil {
		return err
	}
	defer handler.Close()
	var running sync.WaitGroup
	defer running.Wait()
	for i := range *n {
		a, err := agent.New(agent.Config{
			Proxies: []string{*proxy},
			Name:    originName(i),
			Load: func() (agent.Identity, error) {
				tls, err := control.ClientTLS{CAFile: filepath.Join(*certs, "ca.pem")}.Load()
				token, _, _ := strings.Cut(tokens[i/originsPerToken], " ")
				return agent.Identity{Token: token, TLS: tls}, err
			},
			// Each is in a network of its own, as they are in the world.
			DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+i>>8), byte(i), 1)}}).DialContext,
			Handler:     handler,
			Session:     spdy.Config{KeepAlive: 15 * time.Second}, // as c has it
			Logger:      log,
		})
		if err != nil {
			return err
		}
		// Ends with ctx; waited for above.
		running.Go(func() { a.Run(ctx, ctx) })
	}
	<-ctx.Done()
	return nil
}

// A curve is how p and its origins do as there are more of something.
type curve struct {
	title, about string
	of           string // what there are more of
	origin       string // what the second memory is of
	points       []point
	start        func(ctx context.Context, b *bench, n int) (*setup, []string, error) // with the hosts to ask for
	conns        func(n int) int                                                      // of the load
}

// A point is one number of a curve, with its samples in the order of growthRate and those below it.
type point struct {
	n int
	cell
}

const (
	growthRate = iota
	growthP99
	growthPublic
	growthOrigin
)

func curves() []curve {
	return []curve{
		{
			title: "Concurrent requests", of: "concurrent requests", origin: "c",
			about:  "So many keep-alive connections, each of which asks again as soon as it is answered; one origin.",
			points: steps(1, 10, 100, 1000, 10_000),
			start: func(ctx context.Context, b *bench, _ int) (*setup, []string, error) {
				s, err := b.up(ctx, yardsticks()[0], false)
				if err != nil {
					return nil, nil, err
				}
				return s, []string{s.front}, nil
			},
			conns: func(n int) int { return n },
		},
		{
			title: "Connected origins", of: "connected origins", origin: "all origins",
			about: "So many origins, each with a name and a connection of its own, and 64 keep-alive connections that ask each in turn. " +
				"The origins are agents of c's own code in one process, not as many processes.",
			points: steps(1, 10, 100, 1000),
			start:  upOrigins,
			conns:  func(int) int { return connections },
		},
	}
}

func steps(n ...int) (points []point) {
	for _, n := range n {
		points = append(points, point{n: n})
	}
	return points
}

// A many is p with many origins.
type many struct {
	setup
	n     int
	admin string
	args  []string // p's
}

// upMany starts p and n origins, and returns when p has all of them.
func upMany(ctx context.Context, b *bench, n int) (*many, error) {
	m := &many{n: n}
	tokens := filepath.Join(b.dir, "tokens")
	if err := writeTokens(tokens, n); err != nil {
		return nil, err
	}
	var controlAddr string
	if err := process.FreeAddrs(&m.front, &controlAddr, &m.admin); err != nil {
		return nil, err
	}
	m.args = []string{"--front", m.front, "--control", controlAddr, "--admin", m.admin, "--domain", growthDomain,
		"--cert", b.cert("p.pem"), "--key", b.cert("p.key"), "--token-file", tokens}
	err := m.startP(b)
	if err == nil {
		err = process.Listening(ctx, controlAddr)
	}
	if err == nil {
		err = b.run(&m.origin, "origins", b.self, "origins", "--proxy", controlAddr, "--certs", b.opts.certs, "--token-file", tokens, "--root", b.root, "--n", strconv.Itoa(n))
	}
	if err == nil {
		err = m.present(ctx)
	}
	if err != nil {
		m.stop()
		for _, p := range m.all() {
			err = fmt.Errorf("%w; %s: %s", err, p.Name, p.Last())
		}
		return nil, err
	}
	return m, nil
}

// originsPerToken is as many origins as p lets one token serve.
const originsPerToken = 1000

// writeTokens writes a token file for n origins, a line for each originsPerToken.
func writeTokens(file string, n int) error {
	var text strings.Builder
	for range n/originsPerToken + 1 {
		fmt.Fprintf(&text, "%s *\n", rand.Text())
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}

func (m *many) startP(b *bench) error {
	return b.run(&m.public, "p", filepath.Join(b.opts.bin, "p"), m.args...)
}

// present returns when p has all origins.
func (m *many) present(ctx context.Context) error {
	for i := 0; i < m.n; i += 50 {
		asked := url.Values{}
		for j := i; j < min(i+50, m.n); j++ {
			asked.Add("origin", originName(j))
		}
		err := errors.New("not asked")
		for err != nil && !errors.Is(err, process.ErrEnded) && ctx.Err() == nil {
			err = process.Poll(ctx, func() error { return isReady(ctx, "http://"+m.admin+"/readyz?"+asked.Encode()) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func upOrigins(ctx context.Context, b *bench, n int) (*setup, []string, error) {
	m, err := upMany(ctx, b, n)
	if err != nil {
		return nil, nil, err
	}
	var hosts []string
	for i := range n {
		hosts = append(hosts, originName(i)+"."+growthDomain)
	}
	return &m.setup, hosts, nil
}

func isReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("p: %s", strings.TrimSpace(string(text)))
	}
	return err
}

// grow measures the curves and writes the table and the chart.
func (b *bench) grow(ctx context.Context, stdout io.Writer) error {
	began := time.Now()
	all := curves()
	var bad []error
	for round := range b.opts.rounds {
		for i := range all {
			c := &all[i]
			for j := range c.points {
				p := &c.points[j]
				s, err := b.growthSample(ctx, c, p.n)
				if ctx.Err() != nil {
					return errors.New("interrupted; nothing was written")
				}
				if err != nil {
					fmt.Fprintf(b.log, "round %d  %d %s  FAILED: %v\n", round+1, p.n, c.of, err)
					p.samples, p.failed = append(p.samples, nil), append(p.failed, err.Error())
					bad = append(bad, fmt.Errorf("%d %s: %w", p.n, c.of, err))
					continue
				}
				fmt.Fprintf(b.log, "round %d  %d %s  %s req/s  p99 %s ms  p %s MB  %s %s MB\n", round+1, p.n, c.of,
					number(s[growthRate]), number(s[growthP99]), number(s[growthPublic]), c.origin, number(s[growthOrigin]))
				p.samples = append(p.samples, s)
			}
		}
	}
	back := comebacks()
	for round := range b.opts.rounds {
		for i := range back {
			c := &back[i]
			s, err := c.sample(ctx, b)
			if ctx.Err() != nil {
				return errors.New("interrupted; nothing was written")
			}
			if err != nil {
				fmt.Fprintf(b.log, "round %d  %d origins back  FAILED: %v\n", round+1, c.n, err)
				c.samples, c.failed = append(c.samples, nil), append(c.failed, err.Error())
				bad = append(bad, fmt.Errorf("%d origins back: %w", c.n, err))
				continue
			}
			fmt.Fprintf(b.log, "round %d  %d origins back  after %s s  CPU of p %s s, of the origins %s s  p %s KB an idle origin\n", round+1, c.n,
				number(s[comebackTook]), number(s[comebackPublic]), number(s[comebackOrigin]), number(s[comebackIdle]))
			c.samples = append(c.samples, s)
		}
	}
	text := b.growthTables(ctx, all, began, time.Since(began)) + comebackTable(back)
	if b.opts.out == "-" {
		_, err := io.WriteString(stdout, text)
		return errors.Join(append(bad, err)...)
	}
	picture := chartFile(b.opts.out)
	if err := os.WriteFile(b.opts.out, []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(picture, []byte(growthChart(all)), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s and %s are written\n", b.opts.out, picture)
	return errors.Join(bad...)
}

// chartFile is the picture's name beside the table's.
func chartFile(table string) string {
	return strings.TrimSuffix(table, filepath.Ext(table)) + ".svg"
}

func (b *bench) growthSample(ctx context.Context, c *curve, n int) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	s, hosts, err := c.start(ctx, b, n)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	j := s.get(jobSteady, smallFile, b.sizes.small)
	j.Hosts, j.Conns, j.For = hosts, c.conns(n), b.sizes.steady
	r, err := b.do(ctx, j)
	if err != nil {
		return nil, err
	}
	public, err := process.Peak(s.public)
	if err != nil {
		return nil, err
	}
	origin, err := process.Peak(s.origin)
	if err != nil {
		return nil, err
	}
	return sample{float64(r.Requests) / r.Seconds, r.P99, float64(public) / mega, float64(origin) / mega}, nil
}

func (b *bench) growthTables(ctx context.Context, all []curve, began time.Time, took time.Duration) string {
	var text strings.Builder
	text.WriteString("# How cost grows\n\n    make bench-growth\n\n")
	if b.opts.quick {
		text.WriteString("**A run with --quick: short times, not to be quoted.**\n\n")
	}
	rounds := fmt.Sprintf("Medians of %d rounds", b.opts.rounds)
	if b.opts.rounds == 1 {
		rounds = "One round"
	}
	fmt.Fprintf(&text, "%s of 1 KiB GETs through p and c, with fresh processes for each number; the load ran on the same machine. Memory is the peak of what was resident (VmHWM).\n%s, in %v.\n\n",
		rounds, began.Format("2006-01-02"), took.Round(time.Second))
	for _, line := range b.versions(ctx, &outcome{}) {
		fmt.Fprintf(&text, "* %s\n", line)
	}
	if b.opts.out != "-" {
		fmt.Fprintf(&text, "\n![the tables below as curves](%s)\n", filepath.Base(chartFile(b.opts.out)))
	}
	for _, c := range all {
		rows := [][]string{{c.of, "req/s", "p99, ms", "memory of p, MB", "memory of " + c.origin + ", MB"}}
		for _, p := range c.points {
			row := []string{thousands(int64(p.n)), "failed", "failed", "failed", "failed"}
			for i, v := range p.medians() {
				row[i+1] = number(v)
			}
			rows = append(rows, row)
		}
		fmt.Fprintf(&text, "\n## %s\n\n%s\n\n%s", c.title, c.about, table(rows))
		for _, p := range c.points {
			for _, why := range p.failed {
				fmt.Fprintf(&text, "\n%d failed in a round: %s\n", p.n, strings.ReplaceAll(why, "\n", " "))
			}
		}
	}
	return text.String()
}
