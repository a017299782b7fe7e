//! edgeprobe: probes HTTPS, WSS and TLS endpoints, says why a probe failed, and exposes everything to Prometheus.

pub mod config;
pub mod model;
