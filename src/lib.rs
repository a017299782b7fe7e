//! edgeprobe: probes HTTPS, WSS and TLS endpoints, says why a probe failed, and exposes everything to Prometheus.

pub mod model;
pub mod server;
pub mod show;
