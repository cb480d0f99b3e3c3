"""HTTP for everyone: sessions, retries, proxies, authorities, and a server on loopback."""
