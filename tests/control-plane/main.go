// Command control-plane is a whole Kubernetes control plane in one program.
//
// The first argument names the component: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok (which
// simulates the kubelets) or kubectl. The remaining arguments are that component's own.
//
// One program instead of six downloads, because a machine then needs only Go and a module proxy for the end-to-end
// tests and the demo, and because the components share most of their code: six separate binaries would be four times
// the size and take twice the time to link.
// binaries would be four times the size and twice the time to link.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// component is one of the programs linked into this one.
type component struct {
	// name is the first argument that chooses it.
	name string
	// run is given the arguments as the component's own main would see them in
	// os.Args and returns the exit code, unless it exits by itself.
	run func(args []string) int
	// server distinguishes the components that serve until they are stopped from the commands that end by themselves.
	server bool
}

// components lists the possible first arguments.
var components = []component{
	{name: "etcd", run: runEtcd, server: true},
	{name: "kube-apiserver", run: runAPIServer, server: true},
	{name: "kube-controller-manager", run: runControllerManager, server: true},
	{name: "kube-scheduler", run: runScheduler, server: true},
	{name: "kwok", run: runKwok, server: true},
	{name: "kubectl", run: runKubectl},
}

func main() {
	if len(os.Args) < 2 {
		usage("which component?")
	}
	name := os.Args[1]
	i := slices.IndexFunc(components, func(c component) bool { return c.name == name })
	if i < 0 {
		usage(fmt.Sprintf("no component is called %q", name))
	}
	c := components[i]
	// The components read os.Args themselves, each in its own way; dropping our
	// own name makes the component's name their os.Args[0], as they expect.
	os.Args = os.Args[1:]
	if c.server {
		exitWithStdin(c.name)
	}
	os.Exit(c.run(os.Args))
}

// usage prints what can be run and exits with the code for a wrong command line.
func usage(problem string) {
	names := make([]string, 0, len(components))
	for _, c := range components {
		names = append(names, c.name)
	}
	fmt.Fprintf(os.Stderr, "control-plane: %s\nusage: control-plane %s [arguments]\n", problem, strings.Join(names, "|"))
	os.Exit(2)
}
