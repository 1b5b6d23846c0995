// Command flux does what Flux does, with its own libraries, but without Git and without Kustomization
// objects in a cluster.
//
//	flux apply DIRECTORY: applies each manifest every two seconds, as kustomize-controller does, with
//	its field manager and its clean-up, and prints one line of JSON for each file and round. Each file
//	holds one object and stands for one Kustomization.
//
//	flux health KUSTOMIZATIONS OBJECT...: prints what Flux takes each object's health for.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/utils"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	every   = 2 * time.Second
	manager = "kustomize-controller"
	owners  = "kustomize.toolkit.fluxcd.io"
)

// A report says what one round did to one file. Action is Flux's own word; "configured" for content
// that was applied before means that Flux found a drift and corrected it.
type report struct {
	File    string `json:"file"`
	Content string `json:"content"`
	Action  string `json:"action,omitempty"`
	Error   string `json:"error,omitempty"`
}

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "flux:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "apply":
		return run(args[1])
	case len(args) > 2 && args[0] == "health":
		return health(args[1], args[2:])
	}
	return fmt.Errorf("unknown command: %q", args)
}

func run(directory string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	api, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	owner := ssa.Owner{Field: manager, Group: owners}
	resources := ssa.NewResourceManager(api, nil, owner)
	for tick := time.NewTicker(every); ; {
		if err := round(ctx, resources, directory); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func round(ctx context.Context, resources *ssa.ResourceManager, directory string) error {
	files, err := filepath.Glob(filepath.Join(directory, "*.yaml"))
	if err != nil {
		return err
	}
	reports := make([]report, len(files))
	var group sync.WaitGroup
	for at, file := range files {
		group.Go(func() { reports[at] = apply(ctx, resources, file) })
	}
	group.Wait()
	if ctx.Err() != nil {
		return nil // what was interrupted is no error of anybody's
	}
	for _, each := range reports {
		if err := json.NewEncoder(os.Stdout).Encode(each); err != nil {
			return err
		}
	}
	return nil
}

func apply(ctx context.Context, resources *ssa.ResourceManager, file string) report {
	name := filepath.Base(file)
	content, err := os.ReadFile(file)
	if err != nil {
		return report{File: name, Error: err.Error()}
	}
	said := report{File: name, Content: fmt.Sprintf("%08x", crc32.ChecksumIEEE(content))}
	objects, err := utils.ReadObjects(bytes.NewReader(content))
	if err != nil {
		said.Error = err.Error()
		return said
	}
	resources.SetOwnerLabels(objects, name, "flux-system")
	changes, err := resources.ApplyAllStaged(ctx, objects, options())
	if err != nil {
		said.Error = err.Error()
		return said
	}
	for _, entry := range changes.Entries {
		said.Action = entry.Action.String() // each file holds one object
	}
	return said
}

// What kustomize-controller passes for a Kustomization with default settings.
func options() ssa.ApplyOptions {
	applied := ssa.DefaultApplyOptions()
	applied.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: manager, OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{owners + "/ssa": "Merge"},
	}
	return applied
}
