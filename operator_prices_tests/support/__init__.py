"""What tests share: samples, servers, browsers."""
