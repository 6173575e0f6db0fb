// Parameters arrive on standard input as one JSON object; what is printed is the result.
package main

import (
	"encoding/json"
	"log"
	"os"
	"runtime"
	"strings"
)

func main() {
	var parameters struct{ Name string }
	if err := json.NewDecoder(os.Stdin).Decode(&parameters); err != nil {
		log.Fatal(err)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]string{
		"greeting": "Hello, " + parameters.Name + "!",
		"version":  strings.TrimPrefix(runtime.Version(), "go"),
	})
}
