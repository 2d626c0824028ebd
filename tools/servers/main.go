// Command ferretdb serves MongoDB's wire protocol on the loopback interface, its data in SQLite files: a stand-in for
// MongoDB where none can be had. Prints one line when it listens, and ends on SIGTERM or SIGINT.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	port := flag.Int("port", 0, "TCP port on 127.0.0.1; 0 takes a free one")
	data := flag.String("data", "", "directory of the SQLite files; made if missing")
	flag.Parse()
	if err := serve(*port, *data); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(port int, data string) error {
	sqliteURL, err := prepare(data)
	if err != nil {
		return err
	}
	// Embedded, it reports nothing to anyone.
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: fmt.Sprintf("127.0.0.1:%d", port)},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Handler:   "sqlite",
		SQLiteURL: sqliteURL,
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() { fmt.Println("ready", server.MongoDBURI()) }()
	return server.Run(ctx)
}

// prepare makes the directory and names it as SQLite wants it: a URI that ends with a slash.
func prepare(data string) (string, error) {
	if data == "" {
		return "", errors.New("-data is missing")
	}
	folder, err := filepath.Abs(data)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	directory := (&url.URL{Path: folder + "/"}).EscapedPath()
	// What was written survives the death of this process, though not of the machine, and nothing waits for the disk.
	return "file:" + directory + "?_pragma=synchronous(off)&_pragma=wal_autocheckpoint(10000)", nil
}
