package admin

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The rules and the dashboard ask for metrics that there are, and for labels that these
// have.
func TestMonitoring(t *testing.T) {
	f := busy()
	f.sessions[0].RoundTrip = 1
	text := scrape(t, NewMetrics(f, f.board, "v1"))
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "alerts_week_test.yml", "dashboard.json"} {
		b, err := os.ReadFile("monitoring/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") {
			// Dashboards are imported by people, who see no line numbers.
			if err := json.Unmarshal(b, new(map[string]any)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		names := regexp.MustCompile(`\b(spdy_proxy|process|go)_[a-z_]+`).FindAllString(string(b), -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range names {
			if !regexp.MustCompile(`(?m)^` + name + `[ {]`).MatchString(text) {
				t.Errorf("%s: there is no %s", file, name)
			}
		}
		if strings.HasSuffix(file, "_test.yml") {
			continue
		}
		// What they choose by, too, or a rule with a word of the past would be silent.
		for _, chosen := range regexp.MustCompile(`(spdy_proxy_\w+)\{([^}]*)\}`).FindAllStringSubmatch(strings.ReplaceAll(string(b), `\"`, `"`), -1) {
			for _, label := range regexp.MustCompile(`(reason|state|class|direction|kind|by|status|code)=~?"([^"$]*)"`).FindAllStringSubmatch(chosen[2], -1) {
				for value := range strings.SplitSeq(label[2], "|") {
					if !regexp.MustCompile(`(?m)^` + chosen[1] + `\{[^}]*\b` + label[1] + `="` + value + `"`).MatchString(text) {
						t.Errorf("%s: there is no %s with %s=%q", file, chosen[1], label[1], value)
					}
				}
			}
		}
	}
}
