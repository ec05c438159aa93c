// Runs h2spec, the conformance suite of HTTP/2, against a port of TLS: h2spec PORT PATH REPORT. The report is JUnit's XML.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err == nil {
		_, err = h2spec.Run(&config.Config{
			Host:         "127.0.0.1",
			Port:         port,
			Path:         os.Args[2],
			Timeout:      10 * time.Second,
			MaxHeaderLen: 4000,
			JUnitReport:  os.Args[3],
			Strict:       true,
			TLS:          true,
			Insecure:     true,
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
