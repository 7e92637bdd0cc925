// Package queue is the collector's file_storage under its own name, which moves a damaged queue aside before it is opened.
//
// As it is, one damaged file stops the whole collector at every start: bbolt refuses it, panics in a goroutine that nobody
// recovers, or reads beyond the file's end, which Go cannot survive. So a child process opens each file first.
package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"
)

const (
	asChild = "OTELCOL_SCHEMA_CHECKS_QUEUE" // holds the file that this process, a child, is to check
	inUse   = 3                             // the child's exit code where another process holds the file
	aside   = ".damaged-"                   // and the time, behind the name of a file that was moved aside
)

func init() {
	if file, ok := os.LookupEnv(asChild); ok {
		os.Exit(report(read(file)))
	}
}

// NewFactory returns the factory of file_storage, whose extensions check their files when they start.
func NewFactory() extension.Factory {
	plain := filestorage.NewFactory()
	create := func(ctx context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
		created, err := plain.Create(ctx, set, cfg)
		if err != nil {
			return nil, err
		}
		return &checked{created.(storage.Extension), cfg.(*filestorage.Config).Directory, set.Logger}, nil
	}
	return extension.NewFactory(plain.Type(), plain.CreateDefaultConfig, create, plain.Stability())
}

type checked struct {
	storage.Extension
	directory string
	logger    *zap.Logger
}

// Start moves damaged files aside, and fails where another process has one of them open.
func (c *checked) Start(ctx context.Context, host component.Host) error {
	entries, err := os.ReadDir(c.directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || strings.Contains(entry.Name(), aside) {
			continue
		}
		if err := c.check(ctx, filepath.Join(c.directory, entry.Name())); err != nil {
			return err
		}
	}
	return c.Extension.Start(ctx, host)
}

func (c *checked) check(ctx context.Context, file string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var said bytes.Buffer
	child := exec.CommandContext(ctx, self)
	child.Env = append(os.Environ(), asChild+"="+file)
	child.Stderr = &said
	err = child.Run()
	var ended *exec.ExitError
	if err == nil {
		return nil
	} else if !errors.As(err, &ended) { // it did not run: that says nothing of the file
		return fmt.Errorf("cannot check the queue %s: %w", file, err)
	}
	if ended.ExitCode() == inUse {
		return fmt.Errorf("the queue %s is in use by another process: give each process its own directory (OTELCOL_QUEUE_DIR)", file)
	}
	moved := file + aside + time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(file, moved); err != nil {
		return fmt.Errorf("the queue %s is damaged and cannot be moved aside: %w", file, err)
	}
	reason, _, _ := strings.Cut(said.String(), "\n")
	c.logger.Error("A queue is damaged: it is moved aside, and an empty one takes its place. What it held is not sent.",
		zap.String("file", file), zap.String("moved to", moved), zap.String("reason", reason))
	return nil
}

// read opens a file as file_storage does, which follows every page, and reads every byte of what it holds.
func read(file string) error {
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{
		Timeout: time.Second, NoSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return err
	}
	return db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(_, value []byte) error {
				crc32.ChecksumIEEE(value)
				return nil
			})
		})
	})
}

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return inUse
	}
	return 1
}
