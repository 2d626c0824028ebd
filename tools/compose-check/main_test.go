package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	deployment = "../../docker-compose.yml"
	openPorts  = "../../.github/compose.ports.yml"
)

var variables = []string{"CLAWBACK_ISSUER=https://issuer.example", "CLAWBACK_JWKS_URI=https://issuer.example/keys"}

func TestDeployment(t *testing.T) {
	project, err := load(variables, deployment)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"api-1", "api-2", "eventstore", "executor", "mongo", "projector"}
	if names := slices.Sorted(slices.Values(project.ServiceNames())); !slices.Equal(names, want) {
		t.Errorf("services: %v, want %v", names, want)
	}
	for service, role := range map[string]string{
		"api-1": "api", "api-2": "api", "projector": "projections", "executor": "executor",
	} {
		environment := project.Services[service].Environment
		if got := environment["ROLES"]; got == nil || *got != role {
			t.Errorf("ROLES of %s is not %s", service, role)
		}
		if got := environment["CLAWBACK_ISSUER"]; got == nil || *got != "https://issuer.example" {
			t.Errorf("%s does not know the issuer", service)
		}
	}
	executor := project.Services["executor"]
	if got := executor.GetScale(); got != 3 {
		t.Errorf("executors: %d, want 3", got)
	}
	for _, store := range []string{"eventstore", "mongo"} {
		if ports := project.Services[store].Ports; len(ports) > 0 {
			t.Errorf("%s is open to others: %v", store, ports)
		}
	}
}

func TestDeploymentWithOpenPorts(t *testing.T) {
	project, err := load(variables, deployment, openPorts)
	if err != nil {
		t.Fatal(err)
	}
	for service, port := range map[string]string{"eventstore": "2113", "mongo": "27017"} {
		ports := project.Services[service].Ports
		if len(ports) != 1 || ports[0].Published != port || ports[0].HostIP != "127.0.0.1" {
			t.Errorf("ports of %s: %v", service, ports)
		}
		if project.Services[service].Image == "" {
			t.Errorf("%s has lost its image", service)
		}
	}
}

// What is broken has to be refused, and for the right reason.
func TestBrokenFiles(t *testing.T) {
	for name, each := range map[string]struct{ change, into, says string }{
		"unknown key":       {"restart: unless-stopped", "restarts: unless-stopped", "restarts"},
		"wrong type":        {"replicas: 3", "replicas: many", "replicas"},
		"unknown service":   {"    eventstore:\n      condition", "    eventstorm:\n      condition", "eventstorm"},
		"unknown condition": {"condition: service_healthy", "condition: service_happy", "condition"},
		"unknown volume":    {"- views:/data/db", "- viewz:/data/db", "viewz"},
		"unknown anchor":    {"<<: *api", "<<: *apis", "apis"},
		"not a port":        {"127.0.0.1:8081:8080", "127.0.0.1:8081:http", "http"},
	} {
		t.Run(name, func(t *testing.T) {
			expectRefusal(t, variables, each.change, each.into, each.says)
		})
	}
	t.Run("missing variable", func(t *testing.T) {
		expectRefusal(t, variables[1:], "name: clawback", "name: clawback", "CLAWBACK_ISSUER")
	})
}

func expectRefusal(t *testing.T, environment []string, change, into, says string) {
	t.Helper()
	text, err := os.ReadFile(deployment)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), change) {
		t.Fatalf("nothing to break: %q", change)
	}
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	broken := strings.ReplaceAll(string(text), change, into)
	if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(environment, file); err == nil {
		t.Error("was accepted")
	} else if !strings.Contains(err.Error(), says) {
		t.Errorf("was refused for another reason: %v", err)
	}
}
