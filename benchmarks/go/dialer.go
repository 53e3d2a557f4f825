// Go's dialer at the guard's questions: go run benchmarks/go/dialer.go PORT DIALS. In a namespace whose ephemeral range
// is small it dials a dead port, counts what it is handed joined to itself, and asks whether the port is free then.
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

func main() {
	port, _ := strconv.Atoi(os.Args[1])
	dials, _ := strconv.Atoi(os.Args[2])
	handedOut, refusals := 0, 0
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
	fmt.Printf("{\"dials\":%d,\"handedOut\":%d,\"portNotFree\":%d}\n", dials, handedOut, refusals)
}

// bindable binds plainly, without SO_REUSEADDR.
func bindable(port int) bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	return syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) == nil
}
