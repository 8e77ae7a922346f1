"""Answers, for each prefix that it reads, what `vipkeeper ip info` says of one, and of all what `aggregate` says."""
import ipaddress
import json
import sys

networks = [ipaddress.ip_network(line.strip(), strict=False) for line in sys.stdin]
for network in networks:
    print(json.dumps({
        "prefix": str(network),
        "mask": str(network.netmask),
        "network": str(network.network_address),
        "size": str(network.num_addresses),
        "hex": f"{int(network.network_address):#0{network.max_prefixlen // 4 + 2}x}",
        "exploded": network.network_address.exploded,
        "reverse": network.network_address.reverse_pointer,
    }))
for version in (4, 6):
    for network in ipaddress.collapse_addresses(n for n in networks if n.version == version):
        print(network)
