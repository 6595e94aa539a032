// SPDX-License-Identifier: GPL-3.0-or-later

// Pods as JSON objects on standard input, one after the other; for each that the Pod Security Standard named in
// the first argument forbids, a line with its name and every reason. The judge is the API server's own.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	judge, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		panic(err)
	}
	level := api.LevelVersion{Level: api.Level(os.Args[1]), Version: api.LatestVersion()}
	for in := json.NewDecoder(os.Stdin); ; {
		var pod corev1.Pod
		if err := in.Decode(&pod); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		found := policy.AggregateCheckResults(judge.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
		if !found.Allowed {
			fmt.Printf("%s: %s\n", pod.Name, found.ForbiddenDetail())
		}
	}
}
