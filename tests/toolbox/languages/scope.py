"""Prints, for each address that it reads, what Python's ipaddress says of it."""
import ipaddress
import sys

for line in sys.stdin:
    address = ipaddress.ip_address(line.strip())
    print(line.strip(), address.is_private, address.is_global)
