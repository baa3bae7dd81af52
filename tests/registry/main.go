// Command registry is an OCI registry on the loopback address, for tests: the reference implementation (distribution)
// with its storage in a folder.
//
// It prints "serving ADDRESS" to standard output once it serves, so that a test can leave the choice of the port to
// the system, and it exits at the end of its standard input, so that no test leaves one behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on")
	root := flag.String("root", "", "`folder` of the stored data")
	certificate := flag.String("tls-certificate", "", "PEM `file`; plain HTTP without it")
	key := flag.String("tls-key", "", "PEM `file` of the certificate's key")
	htpasswd := flag.String("htpasswd", "", "`file` of users with bcrypt passwords; everybody is admitted without it")
	tokens := flag.String("tokens", "", "`URL` of the token endpoint that clients are referred to; needs a certificate")
	flag.Parse()
	if *root == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if err := serve(*listen, *root, *certificate, *key, *htpasswd, *tokens); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func serve(listen, root, certificate, key, htpasswd, tokens string) error {
	config := &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": root},
			"delete":     configuration.Parameters{"enabled": true},
			// Uploads are not purged: no test lasts that long.
			"maintenance": configuration.Parameters{
				"uploadpurging": map[any]any{"enabled": false},
			},
		},
	}
	// Any secret will do for one process; without one it warns.
	config.HTTP.Secret = "test"
	if htpasswd != "" {
		config.Auth = configuration.Auth{"htpasswd": configuration.Parameters{"realm": "test", "path": htpasswd}}
	}
	if tokens != "" {
		config.Auth = configuration.Auth{"token": configuration.Parameters{
			"realm": tokens, "service": "test", "issuer": "test", "rootcertbundle": certificate,
		}}
	}
	logrus.SetLevel(logrus.WarnLevel)
	app := handlers.NewApp(context.Background(), config)
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: app, ReadHeaderTimeout: 10 * time.Second}
	fmt.Println("serving", listener.Addr())
	if certificate != "" {
		return server.ServeTLS(listener, certificate, key)
	}
	return server.Serve(listener)
}
