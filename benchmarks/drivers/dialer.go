// Go's dialer for comparison with dial.ts: dials a dead port of a small ephemeral range, counts the connections that
// are joined to themselves, and checks whether the port is free afterwards. Arguments: port, milliseconds (not used), dials.
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	port, _ := strconv.Atoi(os.Args[1])
	dials, _ := strconv.Atoi(os.Args[3])
	handedOut, refusals := 0, 0
	startedAt := time.Now()
	for i := 0; i < dials; i++ {
		connection, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			if connection.LocalAddr().String() == connection.RemoteAddr().String() {
				handedOut++
			}
			connection.(*net.TCPConn).SetLinger(0)
			connection.Close()
		}
		if !bindable(port) {
			refusals++
		}
	}
	elapsed := time.Since(startedAt).Nanoseconds()
	fmt.Printf("{\"count\":%d,\"elapsedNs\":%d,", dials, elapsed)
	fmt.Printf("\"counts\":{\"handedOut\":%d,\"portNotFree\":%d}}\n", handedOut, refusals)
}

// bindable reports whether a bind without SO_REUSEADDR succeeds.
func bindable(port int) bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	return syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) == nil
}
