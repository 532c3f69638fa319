package handbook_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// elsewhere are the texts of log calls that are not at the call itself, by the folder of
// both. A call without a text that is not here fails the test.
var elsewhere = map[string][]string{
	// origin.LogEvents writes what EventKind.String returns.
	"../../internal/origin": {"origin dropped, it does not answer", "origin closed, its token is gone", "origin disconnected"},
	// sayFailed puts the beginning into a variable, and so does logFailure.
	"../../internal/certs":   {"no certificate: ", "certificate not renewed, the old one is shown: "},
	"../../internal/control": {"control port: TLS handshake failed", "control port: no request", "control port: the request's body did not come"},
	// Links.line passes on what its callers say.
	"../../internal/cluster/peer": {},
	// serverLog makes what begins so an error; register puts its line into a variable.
	"../../internal/proxy": {
		"http: panic serving ", "http2: panic serving ", "an origin that no visitor reaches is connected", "an origin that not every visitor reaches is connected",
	},
	// serverLog.log passes on what NATS says.
	"../../internal/cluster/bus": {},
	// Session.log passes on what its callers say.
	"../../internal/spdy": {},
}

// libraryAlone are where lines are that neither p nor c writes at these levels, but other
// programs that use the engine: by files, and what Session.serveLogged says of a visitor's
// session, which p logs for debugging.
var libraryAlone = []string{"compat_server.go", "compat.go"}

const libraryLine = "session ended"

// logged returns the messages that p and c log: with those at level WARN and ERROR alone,
// or all.
func logged(t *testing.T, all bool) (texts []text) {
	t.Helper()
	sources := slices.Concat(
		load(t, "../../cmd", func(dir string) bool { return strings.HasSuffix(dir, "cmd/a") }),
		load(t, "../../internal", func(dir string) bool {
			base := dir[strings.LastIndexByte(dir, '/')+1:]
			return slices.Contains([]string{"spdytest", "interop", "benchmark", "upgradetest", "lint", "devfiles", "testlog", "handbook", "loglimit"}, base)
		}))
	for _, s := range sources {
		s.each(func(n ast.Node) {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return
			}
			at := s.fset.Position(call.Pos())
			if slices.ContainsFunc(libraryAlone, func(f string) bool { return strings.HasSuffix(at.Filename, "spdy/"+f) }) {
				return
			}
			message := messageOf(call, all)
			if message == nil {
				return
			}
			if parts, ok := textOf(message, s.named); ok && strings.Join(parts, "") == libraryLine {
				return
			} else if ok {
				texts = append(texts, text{parts, at})
			} else {
				if _, ok := elsewhere[s.dir]; !ok {
					t.Errorf("%v: a line is logged whose text the test does not find", at)
				}
			}
		})
		for _, line := range elsewhere[s.dir] {
			found := false
			s.each(func(n ast.Node) {
				if lit, ok := n.(*ast.BasicLit); ok {
					parts, _ := textOf(lit, nil)
					found = found || len(parts) == 1 && parts[0] == line
				}
			})
			if !found {
				t.Errorf("%s says nowhere %q", s.dir, line)
			}
			parts := []string{line}
			if strings.HasSuffix(line, " ") {
				parts = append(parts, "")
			}
			texts = append(texts, text{parts: parts})
		}
	}
	return texts
}

// messageOf returns the message of a call that logs, nil if it is none, or of a lower
// level and not all are wanted.
func messageOf(call *ast.CallExpr, all bool) ast.Expr {
	name := callee(call)
	sel, _ := call.Fun.(*ast.SelectorExpr)
	if sel != nil {
		// http.Error, zap.Error and the like.
		if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "http" || x.Name == "zap" || x.Name == "slog") {
			return nil
		}
	}
	loud := name == "Warn" || name == "Error"
	if sel != nil && (loud || all && (name == "Info" || name == "Debug")) && len(call.Args) > 0 {
		return call.Args[0]
	}
	for i, arg := range call.Args {
		level := ""
		switch arg := arg.(type) {
		case *ast.SelectorExpr:
			level = arg.Sel.Name
		case *ast.Ident:
			level = arg.Name
		}
		loud := level == "LevelWarn" || level == "LevelError" || level == "level"
		if (loud || all && (level == "LevelInfo" || level == "LevelDebug")) && i+1 < len(call.Args) && callee(call) != "Enabled" && callee(call) != "NewRecord" {
			return call.Args[i+1]
		}
	}
	return nil
}

// Each line at WARN or ERROR that p or c can log stands on the page, and each line on the
// page is one that they log.
func TestEachWarningIsExplained(t *testing.T) {
	var lines []string
	for _, row := range rows(page(t, "troubleshooting"), "line") {
		if len(row) != 2 || row[1] == "" {
			t.Errorf("the row %q does not say what the line means", row)
		}
		lines = append(lines, code(row[0]))
	}
	if len(lines) < 50 {
		t.Fatalf("the page has %d lines", len(lines))
	}
	for _, said := range logged(t, false) {
		if !slices.ContainsFunc(lines, said.pattern().MatchString) {
			t.Errorf("%v: the page does not have %q", said.at, said)
		}
	}
	all := logged(t, true)
	for i, line := range lines {
		if !slices.ContainsFunc(all, func(said text) bool { return said.pattern().MatchString(line) && said.String() != "" }) && line != "certificates: MESSAGE" {
			t.Errorf("nothing logs %q, which the page has", line)
		}
		if slices.Contains(lines[:i], line) {
			t.Errorf("%q is there twice", line)
		}
	}
}

// What P answers by itself, with what its Proxy-Status says, is what the page says.
func TestEachAnswerIsExplained(t *testing.T) {
	said := map[string][]string{} // by status and error of Proxy-Status
	for _, row := range rows(page(t, "troubleshooting"), "status") {
		if len(row) != 4 {
			t.Errorf("the row %q has not four cells", row)
			continue
		}
		key := row[0] + " " + code(row[1])
		said[key] = append(said[key], code(row[2]))
	}
	answers := answers(t)
	if len(answers) < 30 {
		t.Fatalf("the source has %d answers", len(answers))
	}
	for _, a := range answers {
		if !slices.ContainsFunc(said[a.key], a.pattern().MatchString) {
			t.Errorf("%v: the page does not have %s %q", a.at, a.key, a.text)
		}
	}
	for key, lines := range said {
		for _, line := range lines {
			if !slices.ContainsFunc(answers, func(a answer) bool { return a.key == key && a.pattern().MatchString(line) }) {
				t.Errorf("nothing answers %s %q, which the page has", key, line)
			}
		}
	}
}

// answer is one that P makes by itself.
type answer struct {
	key string // its status and the error of its Proxy-Status
	text
}

// statuses are those of net/http that package front names.
var statuses = map[string]string{
	"StatusOK": "200", "StatusBadRequest": "400", "StatusUnauthorized": "401", "StatusForbidden": "403", "StatusMethodNotAllowed": "405",
	"StatusRequestEntityTooLarge": "413", "StatusMisdirectedRequest": "421", "StatusTooManyRequests": "429",
	"StatusRequestTimeout": "408", "StatusRequestHeaderFieldsTooLarge": "431", "StatusBadGateway": "502", "StatusServiceUnavailable": "503", "StatusGatewayTimeout": "504",
}

// answers returns those that package front makes: what it puts into a failure, at once or
// by a function that is named here.
func answers(t *testing.T) (all []answer) {
	t.Helper()
	for _, s := range load(t, "../front", func(string) bool { return false }) {
		add := func(at ast.Node, status, reason string, detail ast.Expr) {
			parts, ok := textOf(detail, s.named)
			if !ok {
				t.Errorf("%v: a failure whose text the test does not find", s.fset.Position(at.Pos()))
				return
			}
			all = append(all, answer{status + " " + s.named[reason], text{parts, s.fset.Position(at.Pos())}})
		}
		for _, f := range s.files {
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				name := fn.Name.Name
				ast.Inspect(fn, func(n ast.Node) bool {
					switch n := n.(type) {
					case *ast.CallExpr:
						switch {
						case callee(n) == "tooEarly":
							add(n, "429", "reasonDenied", n.Args[len(n.Args)-2])
						case callee(n) == "badGateway" && name == "failureOf" && reasonOf(n.Args[0]) == "reasonTimeout":
							add(n, "504", "reasonTimeout", n.Args[1])
						case callee(n) == "badGateway":
							detail := n.Args[1]
							if lit, ok := detail.(*ast.BasicLit); ok && lit.Value == `"%v"` {
								detail = n.Args[2]
							}
							if id, ok := detail.(*ast.Ident); ok && id.Name == "known" {
								for _, e := range []string{"errShort", "errLong", "errChanged"} {
									add(n, "502", reasonOf(n.Args[0]), ast.NewIdent(e))
								}
								break
							}
							add(n, "502", reasonOf(n.Args[0]), detail)
						}
					case *ast.CompositeLit:
						fields := map[string]ast.Expr{}
						for _, e := range n.Elts {
							if kv, ok := e.(*ast.KeyValueExpr); ok {
								if key, ok := kv.Key.(*ast.Ident); ok {
									fields[key.Name] = kv.Value
								}
							}
						}
						status, _ := fields["status"].(*ast.SelectorExpr)
						detail := fields["detail"]
						if id, ok := n.Type.(*ast.Ident); !ok || id.Name != "failure" || detail == nil || status == nil || name == "badGateway" || name == "tooEarly" {
							break
						}
						if e, ok := detail.(*ast.CallExpr); ok && callee(e) == "Error" {
							if id, ok := e.Fun.(*ast.SelectorExpr).X.(*ast.Ident); ok && id.Name == "err" {
								detail = ast.NewIdent("errOriginFull") // place: shares.enter has no other error left there
							}
						}
						if id, ok := detail.(*ast.Ident); ok && id.Name == "detail" {
							break // assigned before, see below
						}
						add(n, statuses[status.Sel.Name], reasonOf(fields["reason"]), detail)
					case *ast.AssignStmt:
						for i, left := range n.Lhs {
							id, isIdent := left.(*ast.Ident)
							sel, isField := left.(*ast.SelectorExpr)
							if len(n.Rhs) != len(n.Lhs) || !(isIdent && id.Name == "detail" || isField && sel.Sel.Name == "detail") {
								continue
							}
							if lit, ok := n.Rhs[i].(*ast.BasicLit); ok && lit.Value == `""` {
								continue
							}
							switch {
							case name == "tooLarge":
								add(n, "431", "reasonRequest", n.Rhs[i])
							case name == "badTarget" && i == 1:
								add(n, "421", "reasonRequest", n.Rhs[i])
							case name == "badTarget":
								add(n, "400", "reasonRequest", n.Rhs[i])
							case name == "unavailable" && i == 1:
								add(n, "503", "reasonLimit", n.Rhs[i])
							case name == "unavailable":
								add(n, "503", "reasonUnavailable", n.Rhs[i])
							default:
								t.Errorf("%v: a failure's text is assigned where the test does not look", s.fset.Position(n.Pos()))
							}
						}
					}
					return true
				})
			}
		}
	}
	return all
}

// reasonOf returns the name of a reason, "" if there is none.
func reasonOf(e ast.Expr) string {
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
