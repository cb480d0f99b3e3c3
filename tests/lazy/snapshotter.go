// stargz-snapshotter as a daemon, made of Debian's library: its package has the client alone.
//
// Beside its own readers it gets one of the footer that zstd:chunked has today, 64 bytes: that of
// 0.14.3 knows the older one of 40 alone (containers/storage, pkg/chunked; the tables are alike).
//
//	snapshotter SOCKET ROOT
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/reference"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	stargz "github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/source"
	"github.com/containerd/stargz-snapshotter/metadata"
	"github.com/containerd/stargz-snapshotter/service/resolver"
	"github.com/containerd/stargz-snapshotter/snapshot"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
)

const footerSize = 64

var magic = []byte("GNUlInUx")

// chunked reads zstd:chunked by the footer of today.
type chunked struct {
	zstdchunked.Decompressor
}

func (*chunked) FooterSize() int64 { return footerSize }

func (*chunked) ParseFooter(footer []byte) (payload, offset, size int64, err error) {
	if !bytes.Equal(footer[footerSize-8:], magic) {
		return 0, 0, 0, fmt.Errorf("no footer of zstd:chunked")
	}
	offset = int64(binary.LittleEndian.Uint64(footer))
	size = int64(binary.LittleEndian.Uint64(footer[8:]))
	return offset - 8, offset, size, nil // before the table stands its frame's head
}

func (c *chunked) ParseTOC(r io.Reader) (*estargz.JTOC, digest.Digest, error) {
	return c.Decompressor.ParseTOC(r)
}

func readers(context.Context, source.RegistryHosts, reference.Spec, ocispec.Descriptor) []metadata.Decompressor {
	return []metadata.Decompressor{&chunked{}}
}

func serve(socket, root string) error {
	ctx := context.Background()
	hosts := resolver.RegistryHostsFromConfig(resolver.Config{})
	// Only what is read is fetched, as it is read: no guess ahead, and nothing in the background.
	wanted := config.Config{NoPrefetch: true, NoBackgroundFetch: true, DisableVerification: true}
	files, err := stargz.NewFilesystem(root+"/fs", wanted,
		stargz.WithGetSources(source.FromDefaultLabels(hosts)),
		stargz.WithAdditionalDecompressors(readers))
	if err != nil {
		return err
	}
	made, err := snapshot.NewSnapshotter(ctx, root+"/snapshots", files, snapshot.AsynchronousRemove)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshots.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(made))
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return server.Serve(listener)
}

func main() {
	log.Fatal(serve(os.Args[1], os.Args[2]))
}
