// Reads the samples of deploy/ as their tools read them, and prints as JSON what these understand.
//
//	deploy kustomize FOLDER   builds it, and reads each resource as Kubernetes' own types, strictly
//	deploy compose FILE       validates it, with all references resolved
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// The kinds that the samples may have.
var kinds = map[string]func() any{
	"v1 ConfigMap":                  func() any { return &core.ConfigMap{} },
	"v1 Service":                    func() any { return &core.Service{} },
	"v1 ServiceAccount":             func() any { return &core.ServiceAccount{} },
	"apps/v1 Deployment":            func() any { return &apps.Deployment{} },
	"policy/v1 PodDisruptionBudget": func() any { return &policy.PodDisruptionBudget{} },
}

func kustomize(folder string) (any, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	var all []any
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			return nil, err
		}
		gvk := resource.GetGvk()
		kind := gvk.ApiVersion() + " " + gvk.Kind
		make, known := kinds[kind]
		if !known {
			return nil, fmt.Errorf("a kind that is not expected: %s", kind)
		}
		typed := make()
		if err := yaml.UnmarshalStrict(text, typed); err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind, resource.GetName(), err)
		}
		all = append(all, typed)
	}
	return all, nil
}

func compose(file string) (any, error) {
	options, err := cli.NewProjectOptions([]string{file})
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

func main() {
	commands := map[string]func(string) (any, error){"kustomize": kustomize, "compose": compose}
	if len(os.Args) != 3 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: deploy kustomize FOLDER | deploy compose FILE")
		os.Exit(2)
	}
	understood, err := commands[os.Args[1]](os.Args[2])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(understood)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
