package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa/utils"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// health prints what Flux takes each object for: by the healthCheckExprs of the Kustomizations in a
// file, or, where these have none for its kind, by kstatus.
func health(kustomizations string, objects []string) error {
	evaluators, err := healthChecks(kustomizations)
	if err != nil {
		return err
	}
	for _, file := range objects {
		object, err := readObject(file)
		if err != nil {
			return err
		}
		result, err := status.Compute(object)
		if evaluator := evaluators[object.GetKind()]; evaluator != nil {
			result, err = evaluator.Evaluate(context.Background(), object)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		fmt.Println(filepath.Base(file), result.Status)
	}
	return nil
}

func healthChecks(file string) (map[string]*cel.StatusEvaluator, error) {
	found := map[string]*cel.StatusEvaluator{}
	if file == "" {
		return found, nil // kstatus alone
	}
	reader, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	documents, err := utils.ReadObjects(reader)
	if err != nil {
		return nil, err
	}
	for _, each := range documents {
		checks, _, err := unstructured.NestedSlice(each.Object, "spec", "healthCheckExprs")
		if err != nil {
			return nil, err
		}
		for _, raw := range checks {
			var check kustomize.CustomHealthCheck
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.(map[string]any), &check); err != nil {
				return nil, err
			}
			if found[check.Kind], err = cel.NewStatusEvaluator(&check.HealthCheckExpressions); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

func readObject(file string) (*unstructured.Unstructured, error) {
	reader, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return utils.ReadObject(reader)
}
