"""Model handles, hosts, credentials and the transport: how a request of `wire` reaches a provider."""
