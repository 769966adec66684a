"""JSON-RPC to archive nodes: many requests in flight, over connections that may fail."""
