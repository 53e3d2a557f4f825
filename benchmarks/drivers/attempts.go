// Go's net.Dial. Arguments: port, milliseconds.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	peer := "127.0.0.1:" + os.Args[1]
	milliseconds, _ := strconv.Atoi(os.Args[2])
	started := time.Now()
	ends := started.Add(time.Duration(milliseconds) * time.Millisecond)
	count := 0
	for ; time.Now().Before(ends); count++ {
		_, err := net.Dial("tcp", peer)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			fmt.Fprintln(os.Stderr, "not refused:", err)
			os.Exit(1)
		}
	}
	fmt.Printf("{\"count\":%d,\"elapsedNs\":%d}\n", count, time.Since(started).Nanoseconds())
}
