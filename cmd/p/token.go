package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/tokenfile"
)

// token is the command that edits the token file.
func (o *options) token() *cli.Command {
	var comment string
	return &cli.Command{
		Name: "token",
		About: "Lists, adds and removes the tokens of --token-file. Names are those that a token may register: a name, @ for the default origin, * for any. " +
			"Comments and order in the file stay. The running p takes what was added when it is first used, and what was removed at SIGHUP, which is sent if --pid-file says where to.",
		Commands: []*cli.Command{
			{
				Name: "list", About: "Shows each token's fingerprint, names and comment, and never the token.",
				Run: func(_ context.Context, p *cli.Process) error { return o.listTokens(p) },
			},
			{
				Name: "add", Args: "NAME...", About: "Adds a new token, and prints it, this once.",
				Examples: []cli.Example{{Line: "p token add photos --comment 'the machine in the attic' >token", About: "the file that c --token-file takes"}},
				Flags: func(fs *cli.Flags) {
					fs.StringVar(&comment, "comment", "", "`TEXT` to stand behind it in the file, for people")
				},
				Run: func(_ context.Context, p *cli.Process) error { return o.addToken(p, comment) },
			},
			{
				Name: "remove", Args: "FINGERPRINT|NAME", About: "Removes a token, or a name from all tokens. A token without a name left goes, too.",
				Run: func(_ context.Context, p *cli.Process) error { return o.removeToken(p) },
			},
		},
	}
}

func (o *options) listTokens(p *cli.Process) error {
	o.warnOfToken(p)
	f, err := tokenfile.Read(o.Tokens.File)
	if err != nil {
		return cli.Usage(err)
	}
	return writeTokens(p.Stdout, f.Entries())
}

func writeTokens(w io.Writer, entries []tokenfile.Entry) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range entries {
		line := e.Fingerprint + "\t" + strings.Join(e.Names, " ")
		switch {
		case e.JoinBy.IsZero():
		case e.JoinBy.Before(time.Now()):
			line += ", an invitation that was not used by " + e.JoinBy.Local().Format("2006-01-02 15:04")
		default:
			line += ", an invitation to be used by " + e.JoinBy.Local().Format("2006-01-02 15:04")
		}
		if e.Comment != "" {
			line += "\t# " + e.Comment
		}
		fmt.Fprintln(table, line)
	}
	return table.Flush()
}

func (o *options) addToken(p *cli.Process, comment string) error {
	if len(p.Args) == 0 {
		return cli.Usagef("token add: give the names that the token may register, @ for the default origin, * for any")
	}
	o.warnOfToken(p)
	token := tokenfile.New()
	if err := tokenfile.Edit(o.Tokens.File, func(f *tokenfile.File) error {
		return f.Add(token, p.Args, time.Time{}, comment)
	}); err != nil {
		return cli.Usage(err)
	}
	if _, err := fmt.Fprintln(p.Stdout, token); err != nil {
		return err
	}
	o.tellRunning(p, fmt.Sprintf("token %s was added to %s for %s", tokenfile.Fingerprint(token), o.Tokens.File, strings.Join(p.Args, " ")), takesAdded)
	return nil
}

func (o *options) removeToken(p *cli.Process) error {
	if len(p.Args) != 1 || p.Args[0] == "" {
		return cli.Usagef("token remove: give one fingerprint or name; p token list shows them")
	}
	domains, err := originname.ParseDomains(o.Domains)
	if err != nil {
		return cli.Usagef("--domain %w", err)
	}
	o.warnOfToken(p)
	var was []tokenfile.Entry
	if err := tokenfile.Edit(o.Tokens.File, func(f *tokenfile.File) (err error) {
		was, err = f.Remove(p.Args[0], func(name string) bool { return sameName(domains, name, p.Args[0]) })
		if err == nil && len(f.Entries()) == 0 {
			return fmt.Errorf("token file %s is left as it is: no token would be in it, and p does not run without one; "+
				"add the next first with p token add NAME or p invite NAME --also, or stop p and remove the file", o.Tokens.File)
		}
		return err
	}); err != nil {
		return cli.Usage(err)
	}
	if err := writeTokens(p.Stdout, was); err != nil {
		return err
	}
	o.tellRunning(p, fmt.Sprintf("%s was removed from %s", p.Args[0], o.Tokens.File), "a running p lets it in until SIGHUP")
	return nil
}

// warnOfToken says that the file is not what a p in this environment reads.
func (o *options) warnOfToken(p *cli.Process) {
	if p.Token() != "" {
		p.Log.Warn("SPDY_PROXY_TOKEN is set: a p that has it too does not read the token file", "file", o.Tokens.File)
	}
}

// takesAdded is what a running p does about what was added.
const takesAdded = "a running p takes it when it is first used"

// tellRunning has the running p read its files again, if there is a file with its
// id, and says what was done, and what a running p does: takes says when.
func (o *options) tellRunning(p *cli.Process, done, takes string) {
	left := takes
	if o.pidFile != "" {
		pid, err := hangUp(o.pidFile)
		left = fmt.Sprintf("p, process %d, reads it now", pid)
		switch {
		case errors.Is(err, fs.ErrNotExist): // as before the first start
			left = fmt.Sprintf("p reads it when it starts: there is no %s of a running one", o.pidFile)
		case err != nil:
			left = fmt.Sprintf("%s: SIGHUP could not be sent: %v", takes, err)
		}
	}
	fmt.Fprintf(p.Stderr, "p: %s; %s\n", done, left)
}

// maxPIDFile is above the size in bytes of any file with a process's id.
const maxPIDFile = 32

// hangUp sends SIGHUP to the process whose id is in a file. Where that is in another
// user's folder, root reads no link and no endless file, waits for no pipe's writer, and
// asks whose the very file is that was read: by its name it may be another one by then.
func hangUp(pidFile string) (pid int, err error) {
	f, err := os.OpenFile(pidFile, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPIDFile))
	if err != nil {
		return 0, err
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s has no process's id in it", pidFile)
	}
	if err := mayHangUp(f, pid); err != nil {
		return pid, fmt.Errorf("%s names process %d, %w", pidFile, pid, err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return pid, err
	}
	defer process.Release()
	err = process.Signal(syscall.SIGHUP)
	if errors.Is(err, os.ErrProcessDone) {
		err = fmt.Errorf("%s names process %d, which has ended", pidFile, pid)
	}
	return pid, err
}
