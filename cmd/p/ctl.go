package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/oneline"
)

const (
	// adminTimeout is how long the running p may take to answer.
	adminTimeout = 5 * time.Second

	// maxAnswer bounds what is read of an answer of the admin port.
	maxAnswer = 16 << 20
)

// ctl is the command that steers the running p, by the admin port that the same flags,
// environment and file name.
func (o *options) ctl() *cli.Command {
	return &cli.Command{
		Name:  "ctl",
		About: "Steers the running p by its admin port, which is found by the same flags. Changes want the token of --admin-token-file.",
		Commands: []*cli.Command{
			{
				Name: "origins", About: "Lists the origins with their states.",
				Run: func(ctx context.Context, p *cli.Process) error { return o.listOrigins(ctx, p.Stdout) },
			},
			{
				Name: "disconnect", Args: "NAME", About: "Has the sessions of an origin end in good order, so that its c connect anew; @ is the default origin.",
				Run: func(ctx context.Context, p *cli.Process) error { return o.disconnect(ctx, p) },
			},
		},
	}
}

func (o *options) listOrigins(ctx context.Context, stdout io.Writer) error {
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for page := 1; ; page++ {
		var list struct {
			Matched int
			PerPage int `json:"per_page"`
			Origins []struct {
				Name, State string
				Since       *time.Time
				Why         string
				Sessions    []struct{ Remote string }
			}
		}
		if err := o.admin(ctx, http.MethodGet, fmt.Sprintf("/api/v1/origins?page=%d", page), &list); err != nil {
			return err
		}
		for _, origin := range list.Origins {
			var remotes []string
			for _, s := range origin.Sessions {
				remotes = append(remotes, s.Remote)
			}
			since := "never here"
			if origin.Since != nil {
				since = origin.Since.Local().Format(time.DateTime)
			}
			fmt.Fprintln(table, strings.TrimRight(strings.Join([]string{
				origin.Name, origin.State, since, strings.Join(remotes, " "), origin.Why,
			}, "\t"), "\t"))
		}
		if len(list.Origins) == 0 || page*list.PerPage >= list.Matched {
			return table.Flush()
		}
	}
}

func (o *options) disconnect(ctx context.Context, p *cli.Process) error {
	if len(p.Args) != 1 {
		return cli.Usagef("ctl disconnect: give the name of one origin, @ for the default one")
	}
	var done struct{ Disconnected int }
	if err := o.admin(ctx, http.MethodPost, "/api/v1/origins/"+url.PathEscape(p.Args[0])+"/disconnect", &done); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.Stdout, "%s: %s told to end, and to connect anew\n", p.Args[0], oneline.Count(done.Disconnected, "session"))
	return err
}

// admin asks the running p, and reads its answer in JSON into to.
func (o *options) admin(ctx context.Context, method, path string, to any) error {
	target, err := o.adminURL(path)
	if err != nil {
		return err
	}
	token := ""
	if o.AdminToken != "" {
		text, err := os.ReadFile(o.AdminToken)
		if err != nil {
			return cli.Usagef("admin token file: %w; give one with --admin-token-file that can be read", err)
		}
		token = strings.TrimSpace(string(text))
	}
	resp, err := askAdmin(ctx, method, target, token)
	if err != nil {
		return fmt.Errorf("the running p is not reached: %w; does it run, and has it this --admin?", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	if resp.StatusCode != http.StatusOK {
		var said struct{ Error string }
		if json.Unmarshal(body, &said) != nil || said.Error == "" {
			said.Error, _, _ = strings.Cut(string(body), "\n")
		}
		return fmt.Errorf("%s answered %s: %.300s", target, resp.Status, said.Error)
	}
	if err := json.Unmarshal(body, to); err != nil {
		return fmt.Errorf("%s: the answer is not this p's: %w", target, err)
	}
	return nil
}

// adminURL returns where a p with the same flags answers.
func (o *options) adminURL(path string) (string, error) {
	if o.Admin == "" {
		return "", cli.Usagef("the admin port is what is asked, and --admin turns it off: name the one of the running p")
	}
	addr, err := reachable(o.Admin)
	if err != nil {
		return "", cli.Usagef("--admin %q: %w; give HOST:PORT, such as localhost:1445", o.Admin, err)
	}
	return "http://" + addr + path, nil
}

// askAdmin sends one request, with a token unless that is empty.
func askAdmin(ctx context.Context, method, url, token string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	// Not by a proxy that the environment names.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: adminTimeout}
	return client.Do(req)
}
