package main

import (
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	// The same registrations as in the components' own main functions: --logging-format json, and the metrics of
	// client-go and of the version.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// runEtcd serves the store. It exits by itself when it is stopped.
func runEtcd(args []string) int {
	etcdmain.Main(args)
	return 0
}

// runAPIServer serves the Kubernetes API.
func runAPIServer([]string) int {
	return runServer(apiserver.NewAPIServerCommand())
}

// runControllerManager runs the controllers behind the built-in kinds.
func runControllerManager([]string) int {
	return runServer(controllermanager.NewControllerManagerCommand())
}

// runScheduler binds pods to nodes.
func runScheduler([]string) int {
	return runServer(scheduler.NewSchedulerCommand())
}

// runServer runs a command of Kubernetes the way its own main function does.
func runServer(command *cobra.Command) int {
	return cli.Run(command)
}

// runKubectl is the whole kubectl, plugins and kustomize included.
func runKubectl(args []string) int {
	// The level must be known before the command is built: building it already
	// reads the user's preferences and looks for plugins, and logs about both.
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(args))
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		// Prints the error as kubectl does, and exits.
		kubectlutil.CheckErr(err)
	}
	return 0
}

// fail reports an error of a component that does not report it itself.
func fail(name string, err error) int {
	_, _ = os.Stderr.WriteString("control-plane: " + name + ": " + err.Error() + "\n")
	return 1
}
