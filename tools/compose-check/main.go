// Command compose-check loads Compose files, the later ones merged into the first, as `docker compose config` does:
// by the loader of the Compose specification, which knows its schema. Variables come from the environment. Prints the
// services, or what is wrong.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	project, err := load(os.Environ(), os.Args[1:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s: %s\n", strings.Join(os.Args[1:], " + "), strings.Join(project.ServiceNames(), ", "))
}

// load checks the schema, the variables and whether everything that is referred to is there.
func load(environment []string, files ...string) (*types.Project, error) {
	options, err := cli.NewProjectOptions(files, cli.WithEnv(environment), cli.WithConsistency(true))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}
