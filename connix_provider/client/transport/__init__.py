"""Move bytes with httpx: addresses, proxies, certificates, connections, bounded bodies."""
