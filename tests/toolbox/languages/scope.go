// Prints, for each address that it reads, what Go's net/netip says of it.
package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		address := netip.MustParseAddr(lines.Text())
		fmt.Println(address, address.IsPrivate(), address.IsMulticast(), address.IsLinkLocalUnicast(), address.IsLoopback())
	}
}
